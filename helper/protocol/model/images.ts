import * as z from 'zod';
import { digestSchema } from '../ids.ts';
import { bytes, timestamp } from './values.ts';

/** Names of a platform are cut off where they are longer: an image may say anything. */
export const maxPlatformLength = 64;

export const imageSummarySchema = z.strictObject({
  /** Digest of the image's config (image-spec's ImageID). */
  id: digestSchema,
  /** Names that point to it, "busybox:latest". */
  references: z.array(z.string()),
  /** Sum of the unpacked layers. */
  sizeBytes: bytes,
  /** Of the image's config where that is a time, else when it was imported. */
  createdAt: timestamp.nullable(),
  architecture: z.string().max(maxPlatformLength),
  os: z.string().max(maxPlatformLength),
  layerCount: z.int(),
  revision: z.int(),
});
export type ImageSummary = z.infer<typeof imageSummarySchema>;

const imageHealthcheckSchema = z.looseObject({
  Test: z.array(z.string()).nullish(),
  Interval: z.number().nullish(),
  Timeout: z.number().nullish(),
  StartPeriod: z.number().nullish(),
  StartInterval: z.number().nullish(),
  Retries: z.number().nullish(),
});

/** The part of an image-spec config that Strata reads. */
export const imageConfigSchema = z.looseObject({
  created: z.string().optional(),
  architecture: z.string(),
  os: z.string(),
  config: z
    .looseObject({
      User: z.string().optional(),
      Env: z.array(z.string()).nullish(),
      Entrypoint: z.array(z.string()).nullish(),
      Cmd: z.array(z.string()).nullish(),
      WorkingDir: z.string().optional(),
      Labels: z.record(z.string(), z.string()).nullish(),
      StopSignal: z.string().optional(),
      /** Times in nanoseconds. One that is written in another way counts as none: it is no reason not to run the image. */
      Healthcheck: imageHealthcheckSchema.nullish().catch(undefined),
      Shell: z.array(z.string()).nullish().catch(undefined),
    })
    .optional(),
  rootfs: z.looseObject({ type: z.literal('layers'), diff_ids: z.array(digestSchema) }),
  history: z
    .array(
      z.looseObject({
        created: z.string().optional(),
        created_by: z.string().optional(),
        comment: z.string().optional(),
        empty_layer: z.boolean().optional(),
      }),
    )
    .optional(),
});
export type ImageConfig = z.infer<typeof imageConfigSchema>;

export const imageDetailsSchema = imageSummarySchema.extend({
  config: imageConfigSchema,
  /** Bottom first. */
  chainIds: z.array(digestSchema),
  /** Of the manifest as it came; null for an image that was made here. */
  manifest: digestSchema.nullable(),
  /** "registry/repository@sha256:…": what registries are known to have of it, the newest last. */
  repositoryDigests: z.array(z.string()),
});
export type ImageDetails = z.infer<typeof imageDetailsSchema>;

/** A step in the making of an image (image-spec's history), newest first. */
export const historyEntrySchema = z.strictObject({
  createdAt: timestamp.nullable(),
  /** Cut off where it is long; whole in the image's config. */
  createdBy: z.string().nullable(),
  comment: z.string().nullable(),
  /** The layer that it made: null where it made none (ENV, CMD and the like), or where the history does not tell of every layer. */
  layer: z.strictObject({ chainId: digestSchema, diffId: digestSchema, sizeBytes: bytes }).nullable(),
});
export type HistoryEntry = z.infer<typeof historyEntrySchema>;
