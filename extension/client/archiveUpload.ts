import { createReadStream } from 'node:fs';
import { type ImageSummary, StrataError } from '../../helper/protocol/index.ts';
import { upload } from '../../helper/wire/upload.ts';
import type { HelperClient } from './helperClient.ts';

/** Makes an image of an archive that goes over the wire: the user's files are read with the user's rights, not with the helper's. */
export async function importArchive(
  client: Pick<HelperClient, 'request' | 'stream'>,
  { path, ...named }: { readonly path: string; readonly reference?: string },
  signal: AbortSignal,
): Promise<ImageSummary> {
  return await upload(client, fileBytes(path, signal), async (stream) => {
    const { image } = await client.request('image.import', { source: { kind: 'stream', stream }, ...named }, { signal });
    return image;
  });
}

/** A file's content, as it is read with the user's rights. */
export async function* fileBytes(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path, { highWaterMark: 256 * 1024, signal }) as AsyncIterable<Buffer>; // no encoding is set
  } catch (error) {
    // Cancelled: the request's own answer says so.
    if (!signal.aborted) throw readFailure(path, error);
  }
}

function readFailure(path: string, cause: unknown): StrataError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code === 'EACCES' || code === 'EPERM')
    return new StrataError('PERMISSION_DENIED', `you may not read ${path}`, { hint: 'Change its permissions, or choose another.', cause });
  const why = cause instanceof Error ? cause.message : String(cause);
  return new StrataError('PATH_NOT_FOUND', `cannot read ${path}: ${why}`, { hint: 'Check the file, and choose it again.', cause });
}
