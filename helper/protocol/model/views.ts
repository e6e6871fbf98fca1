import * as z from 'zod';
import { pathStatSchema } from '../copies.ts';
import { containerReferenceSchema, imageReferenceSchema } from '../ids.ts';

/** The lowest ones of the stack: how it was when they were all. Left out: all of them. */
const layers = z.int().min(1).max(1000).optional();

/** What the layers of a container or an image show together. Of a container that runs all of them are seen through its own mounts, volumes and tmpfs included. */
export const viewReferenceSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('container'), container: containerReferenceSchema, layers }),
  z.strictObject({ kind: z.literal('image'), image: imageReferenceSchema, layers }),
]);
export type ViewReference = z.infer<typeof viewReferenceSchema>;

/** `readOnly`, of view.stat: nothing can be written there, for it is an image, a time that is over, or on a mount that can only be read. */
export const viewEntrySchema = pathStatSchema.extend({ name: z.string() });
export type ViewEntry = z.infer<typeof viewEntrySchema>;
