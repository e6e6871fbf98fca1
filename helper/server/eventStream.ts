import type { Logger } from '../log.ts';
import { Channel, type EventLine, StrataError } from '../protocol/index.ts';
import type { WireStream } from '../wire/stream.ts';

/** Sends lines of JSON as the reader takes them, and closes the stream after the last. */
export async function sendEvents(stream: WireStream, lines: AsyncIterable<readonly EventLine[]>, log: Logger): Promise<void> {
  // Nothing comes from the client; its credit and its close do.
  stream.consume({ data: () => {} });
  try {
    for await (const some of lines) {
      await stream.write(Channel.bytes, Buffer.from(some.map((line) => `${JSON.stringify(line)}\n`).join('')));
    }
    stream.end(Channel.bytes);
    stream.close();
  } catch (error) {
    // Closed by the reader while something was on its way: that is how a reader says that it has enough.
    if (stream.signal.aborted) return;
    log.error({ err: error }, 'cannot read the events');
    stream.close(new StrataError('INTERNAL', 'the events cannot be read', { cause: error }));
  }
}
