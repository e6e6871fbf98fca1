import { normalizeReference, StrataError } from '../protocol/index.ts';

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

/** The name for an image that is made here. */
export function newName(text: string): string {
  const reference = normalizeReference(text);
  if (reference.includes('@')) throw new StrataError('REFERENCE_INVALID', `"${text}" names an image by its digest, and a new name cannot`);
  return reference;
}
