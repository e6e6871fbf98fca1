import { Channel, StrataError } from '../protocol/index.ts';
import type { WireStream } from '../wire/stream.ts';

interface Waiting {
  readonly bytes: Uint8Array;
  readonly taken: () => void;
}

/**
 * What a client sends on a stream, as it comes. The client gets new credit when a chunk was taken, so no more than one
 * window is ever held here. Ends with the `bytes` channel; an early close is an error.
 */
export async function* readUpload(stream: WireStream, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const queue: Waiting[] = [];
  let ended = false;
  let failure: StrataError | undefined;
  let wake = Promise.withResolvers<void>();
  const onAbort = (): void => {
    failure ??= new StrataError('CANCELLED', 'the request was cancelled');
    wake.resolve();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  stream.consume({
    data: async (channel, bytes) => {
      if (channel !== Channel.bytes) return;
      await new Promise<void>((taken) => {
        queue.push({ bytes, taken });
        wake.resolve();
      });
    },
    end: (channel) => {
      if (channel === Channel.bytes) ended = true;
      wake.resolve();
    },
    closed: (error) => {
      if (!ended) failure ??= error ?? new StrataError('ARCHIVE_CORRUPT', 'the upload was closed before its end');
      wake.resolve();
    },
  });
  try {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) {
        yield next.bytes;
        next.taken();
      } else if (failure !== undefined) {
        throw failure;
      } else if (ended) {
        return;
      } else {
        await wake.promise;
        wake = Promise.withResolvers();
      }
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    for (const waiting of queue) waiting.taken();
    stream.close(failure);
  }
}

/** Does with what a client sends what was asked for; the stream is closed with what went wrong. */
export async function withUpload<T>(
  stream: WireStream,
  signal: AbortSignal,
  action: (source: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  try {
    return await action(readUpload(stream, signal));
  } catch (error) {
    // Refused before a byte of it was wanted, nobody else closes it.
    stream.close(error instanceof StrataError ? error : new StrataError('INTERNAL', 'the request failed', { cause: error }));
    throw error;
  }
}
