import * as z from 'zod';
import { imageSummarySchema } from '../model/images.ts';
import { LONG_MS, type Method, method } from './method.ts';

export const bootstrapVariants = ['minbase', 'buildd', 'standard'] as const;

export const bootstrapMethods = {
  'image.bootstrap': method({
    doc: 'Makes an image of a fresh root file system of Debian or its like, with the mmdebstrap or debootstrap of the host (FEATURE_MISSING where it has neither). With `progress` image.bootstrapping events with that number carry what the program says.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      reference: z.string().max(512),
      /** "bookworm". It becomes an argument of a program, like all below: none of them can be taken for an option. */
      suite: z.string().regex(/^[a-z][a-z0-9.+_-]{0,63}$/, { error: 'a suite is a word such as "bookworm"' }),
      /** "minbase" where absent; "standard" is what debootstrap makes by itself. */
      variant: z.enum(bootstrapVariants).optional(),
      /** Absent: the program's own. */
      mirror: z
        .string()
        .max(512)
        .regex(/^https?:\/\/[A-Za-z0-9._~:/?#@!$&()*+,;=%[\]-]+$/, {
          error: 'a mirror is an address such as "http://deb.debian.org/debian"',
        })
        .optional(),
      /** More packages. */
      include: z
        .array(z.string().regex(/^[a-z0-9][a-z0-9+.-]{1,127}$/, { error: 'a package is a word such as "ca-certificates"' }))
        .max(1000)
        .optional(),
      progress: z.int().optional(),
    }),
    result: z.strictObject({ image: imageSummarySchema }),
  }),
} as const satisfies Record<string, Method>;
