import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/**
 * The first `mostBytes` of a file whose name or content is somebody else's. Never waits for a writer; undefined where it
 * is no regular file and one is asked for. What was opened is what is looked at: the name may be another file's by then.
 */
export async function readBounded(
  path: string,
  options: { readonly mostBytes: number; readonly flags?: number; readonly kind?: 'regular' },
): Promise<Uint8Array | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | (options.flags ?? 0));
  try {
    let expectedBytes = options.mostBytes;
    if (options.kind === 'regular') {
      const status = await file.stat();
      if (!status.isFile()) return undefined;
      expectedBytes = Math.min(status.size, options.mostBytes);
    }
    return await readUpTo(file, expectedBytes);
  } finally {
    await file.close();
  }
}

/** A file of /proc gives less than was asked for before its end. */
async function readUpTo(file: FileHandle, mostBytes: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafe(mostBytes);
  let length = 0;
  while (length < mostBytes) {
    const { bytesRead } = await file.read(buffer, length, mostBytes - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}
