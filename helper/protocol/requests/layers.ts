import * as z from 'zod';
import { containerReferenceSchema, imageReferenceSchema, streamIdSchema } from '../ids.ts';
import { layerEntrySchema, layerReferenceSchema, layerSchema } from '../model/layers.ts';
import { type Method, method, SHORT_MS } from './method.ts';

export const layerMethods = {
  'layer.stack': method({
    doc: 'The overlay stack of a container (upper, init, image layers) or an image, top first.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('container'), container: containerReferenceSchema }),
      z.strictObject({ kind: z.literal('image'), image: imageReferenceSchema }),
    ]),
    result: z.strictObject({ layers: z.array(layerSchema) }),
  }),
  'layer.list': method({
    doc: 'One directory of one layer, sorted by name.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ layer: layerReferenceSchema, path: z.string().startsWith('/').max(4096) }),
    result: z.strictObject({ entries: z.array(layerEntrySchema), truncated: z.boolean() }),
  }),
  'layer.stat': method({
    doc: 'One entry of one layer, not following a link.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ layer: layerReferenceSchema, path: z.string().startsWith('/').max(4096) }),
    result: z.strictObject({ entry: layerEntrySchema }),
  }),
  'layer.read': method({
    doc: 'A stream (channel `bytes`) of a regular file of a layer. A file can hold secrets, so this needs control.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ layer: layerReferenceSchema, path: z.string().startsWith('/').max(4096) }),
    result: z.strictObject({ stream: streamIdSchema, sizeBytes: z.int() }),
  }),
} as const satisfies Record<string, Method>;
