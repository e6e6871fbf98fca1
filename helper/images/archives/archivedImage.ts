import { type Digest, type ImageConfig, normalizeReference, StrataError } from '../../protocol/index.ts';
import { hexOf } from '../../store/layout.ts';
import { digestOf } from '../contentStore.ts';
import { plain } from '../imageText.ts';
import type { Descriptor, Platform } from '../manifest.ts';

/** An image of a layout or archive, verified up to its layers, whose digests are checked while they are unpacked. */
export interface ArchivedImage {
  /** As names are kept; none is fine. */
  readonly references: readonly string[];
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  /** Byte for byte; undefined: the archive has none. */
  readonly manifest: { readonly bytes: Uint8Array; readonly mediaType: string; readonly layers: readonly Descriptor[] } | undefined;
  /** Bottom first. */
  readonly layers: readonly ArchivedLayer[];
}

export interface ArchivedLayer {
  /** Where on the host it is. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly mediaType: string;
  /** Of the bytes as they are; undefined: nobody has said it. */
  readonly digest: Digest | undefined;
  readonly diffId: Digest;
}

/** Which of several images is meant. */
export interface Choice {
  /** A name as the archive or a person writes it, or the start of a digest. */
  readonly image: string | undefined;
  /** undefined: this host's where an index offers several, else whatever there is. */
  readonly platform: Platform | undefined;
}

/** Pure. The spelling under which a name is kept; undefined for what is no name. */
export function referenceOf(text: string): string | undefined {
  try {
    return normalizeReference(text);
  } catch (error) {
    if (error instanceof StrataError) return undefined;
    throw error;
  }
}

/** Pure. Whether one of these names, or a digest, is what was asked for. */
export function isMeant(wanted: string, names: readonly string[], digests: readonly Digest[]): boolean {
  const hex = /^(?:sha256:)?([0-9a-f]{4,64})$/.exec(wanted)?.[1];
  if (hex !== undefined && digests.some((digest) => hexOf(digest).startsWith(hex))) return true;
  const reference = referenceOf(wanted);
  return names.some((name) => name === wanted || (reference !== undefined && referenceOf(name) === reference));
}

/** For messages. */
export function titleOf({ references, configBytes }: ArchivedImage): string {
  return references[0] === undefined ? digestOf(configBytes) : `"${plain(references[0])}"`;
}
