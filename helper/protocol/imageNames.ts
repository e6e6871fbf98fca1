import { StrataError } from './errors.ts';

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const domain = '(?:[a-zA-Z0-9-]+(?:\\.[a-zA-Z0-9-]+)*(?::[0-9]+)?)';
/** distribution-spec's names, with an optional registry in front, and tags. */
const pattern = new RegExp(
  `^(?:${domain}/)?${component}(?:/${component})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?$`,
);

/**
 * "docker.io/library/busybox" → "busybox:latest": the one spelling under which an image's name is kept and looked up, the
 * short one that Docker shows. With a digest the tag says nothing and goes.
 */
export function normalizeReference(text: string): string {
  if (text.length > 255 || !pattern.test(text)) {
    throw new StrataError('REFERENCE_INVALID', `"${text}" is no image name`, { details: { reference: text } });
  }
  const reference = withoutHub(text);
  const repository = repositoryOf(reference);
  const digest = reference.split('@')[1];
  if (digest !== undefined) return `${repository}@${digest}`;
  return reference === repository ? `${reference}:latest` : reference;
}

function withoutHub(text: string): string {
  const host = [`${DOCKER_HUB}/`, `index.${DOCKER_HUB}/`].find((prefix) => text.startsWith(prefix)) ?? '';
  const path = text.slice(host.length);
  const official = /^library\/([^/]+)$/.exec(path)?.[1];
  return official ?? path;
}

/** The registry that an image's name points to, as people and credential stores write it: Docker Hub is "docker.io". */
export function registryOf(reference: string): string {
  const slash = reference.indexOf('/');
  const head = reference.slice(0, Math.max(slash, 0));
  return isRegistryHost(head) ? head : DOCKER_HUB;
}

/** "debian" of "debian:12" and of "debian@sha256:…". */
export function repositoryOf(reference: string): string {
  const [tagged = ''] = reference.split('@');
  const tagAt = tagged.indexOf(':', tagged.lastIndexOf('/') + 1);
  return tagAt === -1 ? tagged : tagged.slice(0, tagAt);
}

export const DOCKER_HUB = 'docker.io';

/** Whether the first part of a name is a registry's host: Docker's rule. */
export function isRegistryHost(part: string): boolean {
  return /[.:]/.test(part) || part === 'localhost' || part !== part.toLowerCase();
}
