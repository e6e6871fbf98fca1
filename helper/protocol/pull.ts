import * as z from 'zod';
import { digestSchema } from './ids.ts';
import { formatBytes } from './sizes.ts';

/** Who asks a registry: as `docker login` keeps it (a name and a password, or an identity token of the registry). */
export const registryCredentialsSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('password'), username: z.string().max(1024), password: z.string().max(16_384) }),
  z.strictObject({ kind: z.literal('identityToken'), token: z.string().max(16_384) }),
]);
export type RegistryCredentials = z.infer<typeof registryCredentialsSchema>;

/** One layer of an image that is being pulled or pushed. */
export const pullLayerSchema = z.strictObject({
  /** Of the blob in the registry. */
  digest: digestSchema,
  /** `present`: it was there already; `mounted`: the registry had it in another repository. */
  state: z.enum(['waiting', 'present', 'mounted', 'downloading', 'unpacking', 'uploading', 'done']),
  /** Of the blob, as it is compressed. */
  doneBytes: z.int().min(0),
  totalBytes: z.int().min(0),
});
export type PullLayer = z.infer<typeof pullLayerSchema>;

/** Pure. "2 of 5 layers, 12 MB of 60 MB": what is still wanted of an image. */
export function pullText(layers: readonly PullLayer[]): string {
  const { doneBytes, totalBytes } = pullBytes(layers);
  const done = layers.filter(({ state }) => state === 'done' || isThere(state)).length;
  const unpacking = layers.some(({ state }) => state === 'unpacking') ? ', unpacking' : '';
  return `${done} of ${layers.length} layers, ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}${unpacking}`;
}

/** Sums over the layers that were not there. */
export function pullBytes(layers: readonly PullLayer[]): { doneBytes: number; totalBytes: number } {
  const wanted = layers.filter(({ state }) => !isThere(state));
  const sum = (key: 'doneBytes' | 'totalBytes'): number => wanted.reduce((total, layer) => total + layer[key], 0);
  return { doneBytes: sum('doneBytes'), totalBytes: sum('totalBytes') };
}

/** Nothing had to be brought. */
function isThere(state: PullLayer['state']): boolean {
  return state === 'present' || state === 'mounted';
}
