import * as z from 'zod';
import { digestSchema } from './ids.ts';

/** Who asks a registry: as `docker login` keeps it (a name and a password, or an identity token of the registry). */
export const registryCredentialsSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('password'), username: z.string().max(1024), password: z.string().max(16_384) }),
  z.strictObject({ kind: z.literal('identityToken'), token: z.string().max(16_384) }),
]);
export type RegistryCredentials = z.infer<typeof registryCredentialsSchema>;

/** One layer of an image that is being pulled. */
export const pullLayerSchema = z.strictObject({
  /** Of the blob in the registry. */
  digest: digestSchema,
  state: z.enum(['waiting', 'present', 'downloading', 'unpacking', 'done']),
  /** Of the blob, as it is compressed. */
  doneBytes: z.int().min(0),
  totalBytes: z.int().min(0),
});
export type PullLayer = z.infer<typeof pullLayerSchema>;

/** The registry that an image's name points to, as people and credential stores write it: Docker Hub is "docker.io". */
export function registryOf(reference: string): string {
  const slash = reference.indexOf('/');
  const head = reference.slice(0, Math.max(slash, 0));
  return isRegistryHost(head) ? head : DOCKER_HUB;
}

export const DOCKER_HUB = 'docker.io';

/** Whether the first part of a name is a registry's host: Docker's rule. */
export function isRegistryHost(part: string): boolean {
  return /[.:]/.test(part) || part === 'localhost' || part !== part.toLowerCase();
}
