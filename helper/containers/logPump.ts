import type { Logger } from '../log.ts';
import { Channel, type LogPosition, StrataError } from '../protocol/index.ts';
import type { ByteStream } from './byteStream.ts';
import { LineTimestamps, type LogFile, type LogRecord } from './logFile.ts';

export interface LogPumpOptions {
  readonly log: LogFile;
  readonly stream: ByteStream;
  readonly from: LogPosition;
  readonly sinceMs?: number | undefined;
  readonly timestamps?: boolean | undefined;
  readonly logger: Logger;
}

/**
 * Sends a log to a stream as the reader takes it.
 *
 * Invariants: records go out once and in order; after `finish` the stream is closed when the last record was sent; the
 * file is closed when the stream is, whoever closed it.
 */
export class LogPump {
  /** Resolves when the stream is closed and nothing is under way. */
  readonly done: Promise<void>;
  readonly #options: LogPumpOptions;
  readonly #timestamps: LineTimestamps | undefined;
  #position: LogPosition;
  #finishing = false;
  #more = Promise.withResolvers<void>();

  constructor(options: LogPumpOptions) {
    this.#options = options;
    this.#position = options.from;
    this.#timestamps = options.timestamps === true ? new LineTimestamps() : undefined;
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
    const { stream, log, logger } = this.#options;
    try {
      while (!stream.signal.aborted) {
        const finishing = this.#finishing;
        const more = this.#more.promise;
        await this.#sendAll();
        if (finishing) break;
        await more;
        this.#more = Promise.withResolvers();
      }
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
      await log.close();
    }
  }

  async #sendAll(): Promise<void> {
    for (;;) {
      const chunk = await this.#options.log.read(this.#position.offset);
      if (chunk.records.length === 0) return;
      for (const { channel, bytes } of this.#batches(chunk.records)) await this.#options.stream.write(channel, bytes);
      this.#position = { offset: chunk.next, skip: 0 };
    }
  }

  /** Neighbours of one channel go out as one frame. */
  *#batches(records: readonly LogRecord[]): Generator<{ channel: Channel; bytes: Uint8Array }> {
    let channel: Channel = Channel.stdout;
    let parts: Uint8Array[] = [];
    for (const record of records) {
      const bytes = this.#content(record);
      if (bytes === undefined) continue;
      if (record.channel !== channel && parts.length > 0) {
        yield { channel, bytes: Buffer.concat(parts) };
        parts = [];
      }
      channel = record.channel;
      parts.push(bytes);
    }
    if (parts.length > 0) yield { channel, bytes: Buffer.concat(parts) };
  }

  #content(record: LogRecord): Uint8Array | undefined {
    const { sinceMs } = this.#options;
    if (sinceMs !== undefined && Number(record.timeNs / 1_000_000n) < sinceMs) return undefined;
    const skip = record.offset === this.#position.offset ? this.#position.skip : 0;
    const cut = skip === 0 ? record : { ...record, payload: record.payload.subarray(skip) };
    return this.#timestamps === undefined ? cut.payload : this.#timestamps.apply(cut);
  }
}
