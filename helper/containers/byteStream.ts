import type { Channel, StrataError } from '../protocol/index.ts';

/** The stream of a connection as the domain needs it; helper/wire's WireStream is one. */
export interface ByteStream {
  readonly id: number;
  /** Aborted when either side has closed the stream. */
  readonly signal: AbortSignal;
  /** Waits for the reader; rejects when the stream is closed. */
  write(channel: Channel, bytes: Uint8Array): Promise<void>;
  end(channel: Channel): void;
  close(error?: StrataError): void;
  consume(consumer: {
    data(channel: Channel, bytes: Uint8Array): void | Promise<void>;
    end?(channel: Channel): void;
    closed?(error?: StrataError): void;
  }): void;
}
