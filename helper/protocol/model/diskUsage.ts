import * as z from 'zod';
import { containerIdSchema, digestSchema } from '../ids.ts';
import { bytes } from './values.ts';

/** What an image takes of the disk: of its layers those that other images have, too, and those that it has alone. */
export const imageUsageSchema = z.strictObject({
  id: digestSchema,
  references: z.array(z.string()),
  sizeBytes: bytes,
  sharedBytes: bytes,
  uniqueBytes: bytes,
  /** Of its layers' blobs, as they are compressed, shared ones too. */
  blobBytes: bytes,
  /** Names of the containers that use it. */
  containers: z.array(z.string()),
});
export type ImageUsage = z.infer<typeof imageUsageSchema>;

export const containerUsageSchema = z.strictObject({
  id: containerIdSchema,
  name: z.string(),
  running: z.boolean(),
  /** Of what it changed; null where that has too many entries to count. */
  upperBytes: bytes.nullable(),
  logBytes: bytes,
});
export type ContainerUsage = z.infer<typeof containerUsageSchema>;

/** Bytes of files; those that nothing uses would be free without it. */
const usageSchema = z.strictObject({ count: z.int().min(0), sizeBytes: bytes, reclaimableBytes: bytes });
export const diskUsageSchema = z.strictObject({
  images: z.array(imageUsageSchema),
  containers: z.array(containerUsageSchema),
  /** Each layer once, however many images have it. Reclaimable: of images that no container uses. */
  layers: usageSchema,
  /** What is kept to be sent to others: layers as they came, manifests, configs. */
  blobs: usageSchema,
});
export type DiskUsage = z.infer<typeof diskUsageSchema>;
