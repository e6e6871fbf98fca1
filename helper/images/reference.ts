import { DOCKER_HUB, StrataError } from '../protocol/index.ts';

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
  const [tagged = '', digest] = withoutHub(text).split('@');
  const tagAt = tagged.indexOf(':', tagged.lastIndexOf('/') + 1);
  if (digest !== undefined) return `${tagAt === -1 ? tagged : tagged.slice(0, tagAt)}@${digest}`;
  return tagAt === -1 ? `${tagged}:latest` : tagged;
}

function withoutHub(text: string): string {
  const host = [`${DOCKER_HUB}/`, `index.${DOCKER_HUB}/`].find((prefix) => text.startsWith(prefix)) ?? '';
  const path = text.slice(host.length);
  const official = /^library\/([^/]+)$/.exec(path)?.[1];
  return official ?? path;
}

export type ImageSelector = { readonly kind: 'reference'; readonly reference: string } | { readonly kind: 'id'; readonly prefix: string };

/**
 * How a person names an image: `sha256:…` is an id; a name is a name; hex digits alone may be either, a name first.
 */
export function imageSelectors(text: string): ImageSelector[] {
  const digest = /^sha256:([0-9a-f]{1,64})$/.exec(text);
  if (digest?.[1] !== undefined) return [{ kind: 'id', prefix: digest[1] }];
  const byName: ImageSelector = { kind: 'reference', reference: normalizeReference(text) };
  return /^[0-9a-f]{4,64}$/.test(text) ? [byName, { kind: 'id', prefix: text }] : [byName];
}
