import type { FileHandle } from 'node:fs/promises';
import type { TarMember } from './tarReader.ts';

/** Writes the content of a member to a new file, which gets the holes of a sparse one. `written` is told of each piece that came. */
export async function writeContent(
  file: FileHandle,
  { content, pieces, sizeBytes }: TarMember,
  { signal, written }: { readonly signal?: AbortSignal | undefined; readonly written?: (bytes: number) => void } = {},
): Promise<void> {
  const places = (pieces ?? [{ offset: 0, length: sizeBytes }]).values();
  let place = { offset: 0, length: 0 };
  for await (const bytes of content) {
    signal?.throwIfAborted();
    written?.(bytes.byteLength);
    for (let done = 0; done < bytes.byteLength; ) {
      while (place.length === 0) place = { ...(places.next().value ?? { offset: 0, length: bytes.byteLength }) };
      const { bytesWritten } = await file.write(bytes, done, Math.min(place.length, bytes.byteLength - done), place.offset);
      place = { offset: place.offset + bytesWritten, length: place.length - bytesWritten };
      done += bytesWritten;
    }
  }
  if (pieces !== undefined) await file.truncate(sizeBytes);
}
