import * as z from 'zod';
import { layerSchema } from './layers.ts';
import { bytes } from './values.ts';

/** From what is worth a look to what should not be shipped. */
export const severities = ['low', 'medium', 'high'] as const;
export const severitySchema = z.enum(severities);
export type Severity = z.infer<typeof severitySchema>;

/** A layer by what its bytes are still good for. Each inode counts once. */
export const checkedLayerSchema = layerSchema.pick({ reference: true, role: true, index: true, diffId: true, createdBy: true }).extend({
  entries: z.int(),
  whiteouts: z.int(),
  /** Directories that hide those of the same path below. */
  opaque: z.int(),
  storedBytes: bytes,
  /** Of these, what the whole stack still shows. */
  seenBytes: bytes,
  /** Stored, with all layers below. */
  cumulativeBytes: bytes,
});
export type CheckedLayer = z.infer<typeof checkedLayerSchema>;

export const wastedPathSchema = z.strictObject({
  path: z.string(),
  /** That layers store under this path and the stack does not show. */
  bytes,
  /** Those that have the path, top first. */
  layers: z.array(z.int()),
});

export const findingSchema = z.strictObject({
  rule: z.string(),
  severity: severitySchema,
  path: z.string(),
  /** Index of the layer that has it. */
  layer: z.int(),
  /** What it costs in that layer; of a directory all files below it. */
  bytes,
  /** The nearest layer above that deleted or replaced it. */
  hiddenBy: z.strictObject({ layer: z.int(), deleted: z.boolean() }).optional(),
  /** Of a symbolic link. */
  linkTarget: z.string().optional(),
  message: z.string(),
  remedy: z.string(),
});
export type Finding = z.infer<typeof findingSchema>;

export const layerCheckSchema = z.strictObject({
  layers: z.array(checkedLayerSchema),
  storedBytes: bytes,
  seenBytes: bytes,
  /** Bytes that are seen, of those that are stored: 0 to 1. */
  efficiency: z.number(),
  /** The same questions by dive's definitions, which compare sizes by path. */
  dive: z.strictObject({
    efficiency: z.number(),
    wastedBytes: bytes,
    /** Wasted bytes, of those of all layers but the lowest; a fraction, which may be more than 1. */
    userWastedPercent: z.number(),
  }),
  /** Paths with bytes that are not seen; `worst` names those with most. */
  wastedPaths: z.int(),
  worst: z.array(wastedPathSchema),
  /** Worst first; of each rule those that cost most. */
  findings: z.array(findingSchema),
  /** Each rule that something was found by. `more`: there is more than `findings` tells. */
  rules: z.array(z.strictObject({ rule: z.string(), severity: severitySchema, count: z.int(), bytes, more: z.boolean() })),
  /** What cannot be told for certain, for people. */
  limitations: z.array(z.string()),
});
export type LayerCheck = z.infer<typeof layerCheckSchema>;
