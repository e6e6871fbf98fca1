import type { Logger } from '../../log.ts';
import { Channel, StrataError } from '../../protocol/index.ts';
import type { ByteStream } from '../byteStream.ts';
import type { LogCursor, LogItem } from './cursor.ts';
import { type LogEncoder, RawEncoder } from './encoders.ts';
import type { LineEnd } from './lineEnd.ts';
import { wholeLog } from './places.ts';
import type { StreamBytes } from './records.ts';

export interface LogPumpOptions {
  readonly cursor: LogCursor;
  readonly stream: ByteStream;
  readonly logger: Logger;
  /** Absent: all of it, as it was written. */
  readonly encoder?: LogEncoder;
  /** Where it ends before the log does. */
  readonly end?: LineEnd;
  /** What is written behind this is not waited for, and sent only where it comes along: who writes faster than the reader takes would never let it end. */
  readonly until?: StreamBytes;
}

/**
 * Sends a log to a stream as the reader takes it.
 *
 * Invariants: output goes out once and in order; after `finish` the stream is closed when the last record was sent; the
 * files are closed when the stream is, whoever closed it.
 */
export class LogPump {
  /** Resolves when the stream is closed and nothing is under way. */
  readonly done: Promise<void>;
  readonly #options: LogPumpOptions;
  readonly #encoder: LogEncoder;
  #finishing = false;
  #more = Promise.withResolvers<void>();

  constructor(options: LogPumpOptions) {
    this.#options = options;
    this.#encoder = options.encoder ?? new RawEncoder(wholeLog.channels, false);
    options.stream.signal.addEventListener('abort', () => this.wake(), { once: true });
    this.done = this.#run();
  }

  /** More may have been written. */
  wake(): void {
    this.#more.resolve();
  }

  /** Nothing more will be written. */
  finish(): void {
    this.#finishing = true;
    this.wake();
  }

  async #run(): Promise<void> {
    const { stream, cursor, logger } = this.#options;
    try {
      while (!stream.signal.aborted) {
        const finishing = this.#finishing;
        const more = this.#more.promise;
        const isOver = await this.#sendAll();
        if (finishing || isOver) break;
        await more;
        this.#more = Promise.withResolvers();
      }
      if (!stream.signal.aborted) for (const { channel, bytes } of this.#encoder.end()) await stream.write(channel, bytes);
      stream.end(Channel.stdout);
      stream.end(Channel.stderr);
      stream.close();
    } catch (error) {
      // Closed by the reader while something was on its way: that is how a reader says that it has enough.
      if (!stream.signal.aborted) {
        logger.error({ err: error }, 'cannot read a log');
        stream.close(new StrataError('INTERNAL', 'the log cannot be read', { cause: error }));
      }
    } finally {
      await cursor.close();
    }
  }

  /** True: what was asked for ends here. */
  async #sendAll(): Promise<boolean> {
    const { cursor, stream, end, until } = this.#options;
    for (;;) {
      if (until !== undefined && cursor.position[1] >= until[1] && cursor.position[2] >= until[2]) return true;
      const items: readonly LogItem[] | undefined = await cursor.next();
      if (items === undefined) return false;
      const wanted = end === undefined ? items : end.cut(items);
      for (const { channel, bytes } of this.#encoder.encode(wanted)) await stream.write(channel, bytes);
      if (end?.isReached === true) return true;
    }
  }
}
