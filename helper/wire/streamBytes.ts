import { Channel, StrataError } from '../protocol/index.ts';
import type { WireStream } from './stream.ts';

/**
 * What comes on a stream of one content (channel `bytes`), as it is asked for: the other side sends no more than a window ahead.
 * Throws what the stream was closed with. To leave the loop closes the stream.
 */
export async function* streamBytes(stream: WireStream): AsyncGenerator<Uint8Array> {
  const queue: { readonly bytes: Uint8Array; readonly taken: () => void }[] = [];
  let end: { readonly error: StrataError | undefined } | undefined;
  let wake = (): void => {};
  stream.consume({
    data: (channel, bytes) => {
      if (channel !== Channel.bytes) return undefined;
      return new Promise<void>((taken) => {
        queue.push({ bytes, taken });
        wake();
      });
    },
    closed: (error) => {
      end = { error };
      wake();
    },
  });
  try {
    for (;;) {
      const next = queue.shift();
      if (next !== undefined) {
        yield next.bytes;
        next.taken();
      } else if (end !== undefined) {
        if (end.error !== undefined) throw end.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    for (const { taken } of queue) taken();
    stream.close(new StrataError('CANCELLED', 'the rest is not wanted'));
  }
}

/** The same, which ends with CANCELLED when the signal says so. */
export async function* streamBytesUntil(stream: WireStream, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const cancel = (): void => stream.close(new StrataError('CANCELLED', 'the rest was given up'));
  signal?.addEventListener('abort', cancel, { once: true });
  if (signal?.aborted === true) cancel();
  try {
    yield* streamBytes(stream);
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** Sends all of this on a stream's channel `bytes`, as fast as the other side takes it, and ends the channel. */
export async function sendBytes(stream: WireStream, source: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const bytes of source) await stream.write(Channel.bytes, bytes);
  stream.end(Channel.bytes);
}
