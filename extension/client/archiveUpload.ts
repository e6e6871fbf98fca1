import { createReadStream } from 'node:fs';
import { Channel, type ImageSummary, StrataError } from '../../helper/protocol/index.ts';
import type { WireStream } from '../../helper/wire/stream.ts';
import type { HelperClient } from './helperClient.ts';

/** Makes an image of an archive that goes over the wire: the user's files are read with the user's rights, not with the helper's. */
export async function importArchive(
  client: Pick<HelperClient, 'request' | 'stream'>,
  { path, ...named }: { readonly path: string; readonly reference?: string },
  signal: AbortSignal,
): Promise<ImageSummary> {
  const { stream } = await client.request('image.openUpload', {});
  const upload = client.stream(stream);
  const sent = sendFile(path, upload, signal).then(
    () => undefined,
    (error: unknown) => error,
  );
  try {
    return (await client.request('image.import', { source: { kind: 'stream', stream }, ...named }, { signal })).image;
  } catch (error) {
    upload.close(new StrataError('CANCELLED', 'the upload was given up'));
    // A file that could not be read is why the import failed, and was told before it; one that is still read is not.
    throw (await Promise.race([sent, Promise.resolve(undefined)])) ?? error;
  }
}

async function sendFile(path: string, upload: WireStream, signal: AbortSignal): Promise<void> {
  upload.consume({ data: () => {} });
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024, signal }))
      await upload.write(Channel.bytes, chunk as Buffer); // no encoding is set, so chunks are Buffers
    upload.end(Channel.bytes);
  } catch (error) {
    // Cancelled here, or refused by the helper meanwhile, whose answer tells why.
    if (signal.aborted || upload.signal.aborted) return;
    const failure = readFailure(path, error);
    upload.close(failure);
    throw failure;
  }
}

function readFailure(path: string, cause: unknown): StrataError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code === 'EACCES' || code === 'EPERM')
    return new StrataError('PERMISSION_DENIED', `you may not read ${path}`, { hint: 'Change its permissions, or choose another.', cause });
  const why = cause instanceof Error ? cause.message : String(cause);
  return new StrataError('PATH_NOT_FOUND', `cannot read ${path}: ${why}`, { hint: 'Check the file, and choose it again.', cause });
}
