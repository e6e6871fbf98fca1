import type { MethodResult, Params } from '../protocol/index.ts';
import { streamBytesUntil } from './streamBytes.ts';
import { type UploadWire, upload } from './upload.ts';

type LoadChoice = Omit<Params<'image.load'>, 'source'>;
type Loaded = MethodResult<'image.load'>['images'];

/** Sends an archive of images to the helper, which loads them. Throws what the source throws. */
export async function loadArchive(
  wire: UploadWire,
  source: AsyncIterable<Uint8Array>,
  choice: LoadChoice,
  signal?: AbortSignal,
): Promise<Loaded> {
  return await upload(wire, source, async (stream) => {
    const { images } = await wire.request('image.load', { ...choice, source: { kind: 'stream', stream } }, { signal });
    return images;
  });
}

/** Images as one archive, which is to be read at once; to leave its bytes ends the save. */
export async function saveImages(
  wire: UploadWire,
  params: Params<'image.save'>,
  signal?: AbortSignal,
): Promise<{ readonly sizeBytes: number; readonly bytes: AsyncGenerator<Uint8Array> }> {
  const { stream, sizeBytes } = await wire.request('image.save', params, { signal });
  return { sizeBytes, bytes: streamBytesUntil(wire.stream(stream), signal) };
}
