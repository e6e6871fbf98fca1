import * as z from 'zod';
import { digestSchema } from './ids.ts';
import { formatBytes } from './sizes.ts';

/** One layer of an image that is being pulled, pushed or loaded. */
export const layerProgressSchema = z.strictObject({
  /** Of the blob in the registry or archive. */
  digest: digestSchema,
  /** `present`: it was there already; `mounted`: the registry had it in another repository. */
  state: z.enum(['waiting', 'present', 'mounted', 'downloading', 'unpacking', 'uploading', 'done']),
  /** Of the blob, as it is compressed. */
  doneBytes: z.int().min(0),
  totalBytes: z.int().min(0),
});
export type LayerProgress = z.infer<typeof layerProgressSchema>;

/** Pure. "2 of 5 layers, 12 MB of 60 MB": what is still wanted of an image. */
export function progressText(layers: readonly LayerProgress[]): string {
  const { doneBytes, totalBytes } = progressBytes(layers);
  const done = layers.filter(({ state }) => state === 'done' || isThere(state)).length;
  const unpacking = layers.some(({ state }) => state === 'unpacking') ? ', unpacking' : '';
  return `${done} of ${layers.length} layers, ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}${unpacking}`;
}

/** Sums over the layers that were not there. */
export function progressBytes(layers: readonly LayerProgress[]): { doneBytes: number; totalBytes: number } {
  const wanted = layers.filter(({ state }) => !isThere(state));
  const sum = (key: 'doneBytes' | 'totalBytes'): number => wanted.reduce((total, layer) => total + layer[key], 0);
  return { doneBytes: sum('doneBytes'), totalBytes: sum('totalBytes') };
}

/** Nothing had to be brought. */
function isThere(state: LayerProgress['state']): boolean {
  return state === 'present' || state === 'mounted';
}
