import * as z from 'zod';
import { containerIdSchema, digestSchema } from '../ids.ts';
import { bytes, timestamp } from './values.ts';

/** A layer of a stack, named so that a client can ask for its files: of an image by chainId, of a container by role. */
export const layerReferenceSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('image'), chainId: digestSchema }),
  z.strictObject({ kind: z.literal('upper'), container: containerIdSchema }),
  z.strictObject({ kind: z.literal('init'), container: containerIdSchema }),
]);
export type LayerReference = z.infer<typeof layerReferenceSchema>;

/** An image's history may hold whole scripts: longer ones are cut off here, and whole in the image's config. */
export const maxCreatedByLength = 4096;

export const layerSchema = z.strictObject({
  reference: layerReferenceSchema,
  role: z.enum(['upper', 'init', 'image']),
  /** Position from the top, 0 first. */
  index: z.int(),
  diffId: digestSchema.nullable(),
  /** Sum of its files' sizes; null while not counted. */
  sizeBytes: bytes.nullable(),
  entries: z.int().nullable(),
  /** Where it has too many entries to be counted: it has more than these, and `sizeBytes` and `entries` are null. */
  moreEntriesThan: z.int().optional(),
  /** What made it, from the image's history, cut off where it is long; null where unknown. */
  createdBy: z.string().max(maxCreatedByLength).nullable(),
  createdAt: timestamp.nullable(),
  /** Directory on the host. */
  path: z.string(),
});
export type Layer = z.infer<typeof layerSchema>;

export const layerEntrySchema = z.strictObject({
  name: z.string(),
  kind: z.enum(['file', 'directory', 'symlink', 'device', 'fifo', 'socket', 'whiteout']),
  sizeBytes: bytes,
  mode: z.int(),
  uid: z.int(),
  gid: z.int(),
  mtimeMs: z.number(),
  linkTarget: z.string().optional(),
  opaque: z.boolean().optional(),
});
export type LayerEntry = z.infer<typeof layerEntrySchema>;
