import { close, read } from 'node:fs';
import { promisify } from 'node:util';
import type { ByteStream } from '../containers/byteStream.ts';
import { fromNative } from '../native/errors.ts';
import { Channel, type StrataError } from '../protocol/index.ts';

const readChunkBytes = 128 * 1024;
const readFile = promisify(read);

/** An open file goes on the stream; both are closed at its end. */
export function sendFile(fd: number, stream: ByteStream): void {
  void send(fd, stream);
}

async function send(fd: number, stream: ByteStream): Promise<void> {
  stream.consume({ data: () => {} });
  try {
    for (;;) {
      // A chunk of its own each time: the stream may still hold the one before.
      const { bytesRead, buffer } = await readFile(fd, Buffer.allocUnsafe(readChunkBytes), 0, readChunkBytes, null);
      if (bytesRead === 0) break;
      await stream.write(Channel.bytes, buffer.subarray(0, bytesRead));
    }
    stream.end(Channel.bytes);
    stream.close();
  } catch (error) {
    if (!stream.signal.aborted) stream.close(fromNative(error, 'read the file'));
  } finally {
    close(fd, () => {});
  }
}

/** By errno, since it is a path that somebody named. */
export function pathError(error: unknown, doing: string): StrataError {
  return fromNative(error, doing, {
    ENOENT: 'PATH_NOT_FOUND',
    ENOTDIR: 'PATH_NOT_FOUND',
    ELOOP: 'PATH_NOT_FOUND',
    EXDEV: 'PATH_NOT_FOUND',
    EINVAL: 'NOT_A_FILE',
    EISDIR: 'NOT_A_FILE',
    UNSAFE_PATH: 'PATH_NOT_FOUND',
  });
}
