import type { IncomingHttpHeaders } from 'node:http';
import { type Digest, StrataError } from '../../protocol/index.ts';
import { plain } from '../imageText.ts';
import { isAllowed } from './http.ts';

/** An upload that the registry has opened (distribution-spec, "Pushing a blob in chunks"). */
export interface UploadSession {
  /** Where the next request of it goes; each answer may change that. */
  readonly location: URL;
  /** What the registry has of the blob. */
  readonly offset: number;
  /** No part but the last may be smaller. */
  readonly leastChunkBytes: number;
}

/** Pure. The session after an answer to a request at `asked`; `offset` is what it says, or where it says nothing what we know. */
export function sessionAfter(headers: IncomingHttpHeaders, asked: URL, before: { offset: number; leastChunkBytes: number }): UploadSession {
  const least = Number(headers['oci-chunk-min-length'] ?? before.leastChunkBytes);
  return {
    location: locationOf(headers.location, asked),
    offset: before.offset,
    leastChunkBytes: Number.isSafeInteger(least) && least > 0 ? least : before.leastChunkBytes,
  };
}

/** Pure. Absolute or relative to what was asked; without one the upload stays where it is. */
function locationOf(location: string | undefined, asked: URL): URL {
  if (location === undefined) return asked;
  const next = URL.parse(location, asked.href);
  if (next !== null && isAllowed(asked, next)) return next;
  throw new StrataError('REGISTRY_FAILED', `${asked.host} sends an upload to where Strata does not follow: ${plain(location)}`, {
    hint: 'Where the registry stands behind a proxy that speaks https, its own address must be set to that of the proxy.',
    details: { host: asked.host },
  });
}

/** Pure. How much of a blob the registry has by its Range header: "0-99" is 100 bytes. "0-0" is what an empty upload is told as. Undefined: it does not say. */
export function receivedBytes(range: string | undefined): number | undefined {
  const last = /^(?:bytes=)?0-(\d+)$/.exec(range?.trim() ?? '')?.[1];
  if (last === undefined) return undefined;
  const end = Number(last);
  if (!Number.isSafeInteger(end)) return undefined;
  return end === 0 ? 0 : end + 1;
}

/** Pure. The location, whose query is the registry's and stays as it is, with the digest that completes an upload. */
export function completion(location: URL, digest: Digest): URL {
  const url = new URL(location);
  url.search = `${url.search === '' ? '?' : `${url.search}&`}digest=${encodeURIComponent(digest)}`;
  return url;
}

const mebibyte = 1024 * 1024;
const chunkSteps = [64, 16, 4, 1].map((size) => size * mebibyte);

/** Pure. A part that a registry may take for which this one was too large; undefined: it takes none that we may send. */
export function smallerChunk(tooLarge: number, leastChunkBytes: number): number | undefined {
  const smaller = chunkSteps.find((step) => step < tooLarge);
  return smaller === undefined || smaller < leastChunkBytes ? undefined : smaller;
}
