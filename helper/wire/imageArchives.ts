import type { MethodResult, Params } from '../protocol/index.ts';
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
