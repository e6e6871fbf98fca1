import * as z from 'zod';
import { digestSchema } from '../protocol/index.ts';
import type { RecordFormat } from '../store/record.ts';

/** A blob of the content store, as a descriptor tells of it (image-spec). */
const blobSchema = z.strictObject({ digest: digestSchema, mediaType: z.string(), sizeBytes: z.int().min(0) });
export type BlobRecord = z.infer<typeof blobSchema>;

/** An unpacked layer: what is known of it without walking it. */
const layerRecordSchema = z.strictObject({
  chainId: digestSchema,
  diffId: digestSchema,
  /** The file in the content store that it can be sent to others as; null: none is kept, the canonical tar of its directory is one. */
  blob: blobSchema.nullable(),
  sizeBytes: z.int().min(0),
  entries: z.int().min(0),
  createdAt: z.string(),
});
export type LayerRecord = z.infer<typeof layerRecordSchema>;
export const layerFormat: RecordFormat<LayerRecord> = {
  name: 'layer record',
  version: 2,
  schema: layerRecordSchema,
  // The first helpers kept no blobs.
  migrations: { 1: ({ digest: _, ...record }) => ({ ...record, blob: null }) },
};

const imageRecordSchema = z.strictObject({
  id: digestSchema,
  /** Bottom first, as in the config's diff_ids. */
  chainIds: z.array(digestSchema),
  importedAt: z.string(),
  /** As it came, byte for byte in the content store, and all that it names is here too; null for an image that was made here. */
  manifest: blobSchema.nullable(),
  /** "registry/repository@sha256:…": what registries are known to have of it, the newest last. */
  repositoryDigests: z.array(z.string()),
});
export type ImageRecord = z.infer<typeof imageRecordSchema>;
export const imageFormat: RecordFormat<ImageRecord> = {
  name: 'image record',
  version: 2,
  schema: imageRecordSchema,
  migrations: { 1: (record) => ({ ...record, manifest: null, repositoryDigests: [] }) },
};

/**
 * All names in one file, so that a name moves from one image to another in one step. `embedded` remembers which content
 * of an embedded image was imported, and as which image: one that the person removed does not come back until its content
 * changes, and what the person gave that name stays theirs. Records of the first helpers do not tell the image.
 */
const namesRecordSchema = z.strictObject({
  references: z.record(z.string(), digestSchema),
  embedded: z.record(z.string(), z.strictObject({ digest: z.string(), stamp: z.string(), image: digestSchema.optional() })),
});
export type NamesRecord = z.infer<typeof namesRecordSchema>;
export const namesFormat: RecordFormat<NamesRecord> = { name: 'table of image names', version: 1, schema: namesRecordSchema };
