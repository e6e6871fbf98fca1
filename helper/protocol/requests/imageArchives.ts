import * as z from 'zod';
import { imageReferenceSchema, streamIdSchema } from '../ids.ts';
import { imageSummarySchema } from '../model/images.ts';
import { LONG_MS, type Method, method } from './method.ts';

export const archiveFormats = ['docker-archive', 'oci-archive'] as const;

export const imageArchiveMethods = {
  'image.load': method({
    doc: 'Brings images from an archive, maybe compressed with gzip, zstd or xz: what `docker save` and `podman save` write, OCI archives; or from a directory of the host that holds an OCI image layout or an unpacked archive. All images of it with their names, or the one that `image` names. Each is seen when it is whole; of one that fails nothing is. With `progress` image.transferring events with that number tell how far it is.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      source: z.discriminatedUnion('kind', [
        /** Opened before by image.openUpload; the client has sent, or is sending, the archive on it. */
        z.strictObject({ kind: z.literal('stream'), stream: streamIdSchema }),
        z.strictObject({ kind: z.literal('directory'), path: z.string().startsWith('/').max(4096) }),
      ]),
      /** Which of several: a name of it in the archive, or the start of a digest. */
      image: imageReferenceSchema.optional(),
      /** "os/architecture[/variant]"; absent: the host's where there is a choice. */
      platform: z.string().max(64).optional(),
      progress: z.int().optional(),
    }),
    result: z.strictObject({ images: z.array(z.strictObject({ image: imageSummarySchema, references: z.array(z.string()) })) }),
  }),
  'image.save': method({
    doc: 'A stream (channel `bytes`) of images as one archive, `sizeBytes` long, a layer of several of them once. "docker-archive", where absent, is an OCI image layout with manifest.json beside it, which docker, podman, skopeo and containerd load; "oci-archive" the layout alone. An image has the names that it was asked for by; by its id it has none. Equal images and names give equal bytes.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({ images: z.array(imageReferenceSchema).min(1).max(1000), format: z.enum(archiveFormats).optional() }),
    result: z.strictObject({ stream: streamIdSchema, sizeBytes: z.int().min(0) }),
  }),
} as const satisfies Record<string, Method>;
