import { Channel, type Frame, LIMITS, StrataError } from '../protocol/index.ts';
import { parseErrorPayload } from './errorPayload.ts';

/** What a stream's reader does. `data` may return a promise: credit for those bytes is given back when it resolves. */
export interface StreamConsumer {
  data(channel: Channel, bytes: Uint8Array): void | Promise<void>;
  /** The other side sends no more on this channel. */
  end?(channel: Channel): void;
  /** Called once; with the error when the stream did not end well. */
  closed?(error?: StrataError): void;
}

/** What a stream needs of its connection. */
export interface StreamLink {
  readonly send: (frame: Frame) => void;
  /** The stream is finished: its id means nothing any more. */
  readonly forget: () => void;
  /**
   * On the side that opened the stream: everything (credit, `end`, `close`) waits until the other side has begun to read
   * (its first credit), so that it cannot arrive before the answer that names the stream was looked at. Hence the other
   * side consumes even a stream that it only writes to.
   */
  readonly closesAfterCredit: boolean;
}

interface QueuedWrite {
  readonly bytes: Uint8Array;
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

interface SendSide {
  credit: number;
  queue: QueuedWrite[];
  ended: boolean;
}

const ALL_CHANNELS: readonly Channel[] = [Channel.stdin, Channel.stdout, Channel.stderr, Channel.bytes];

/**
 * One stream of a connection: up to four channels of bytes, each with its own credit.
 *
 * Invariants: no payload byte is sent without credit; nothing is sent after `close`; `closed` of the consumer comes
 * exactly once, after the last `data` was handled; every promise of `write` settles.
 */
export class WireStream {
  readonly id: number;
  readonly #link: StreamLink;
  readonly #abort = new AbortController();
  readonly #sides = new Map<Channel, SendSide>();
  #consumer: StreamConsumer | undefined;
  /** Deliveries run one after the other, so that an async consumer sees bytes in order. */
  #deliveries: Promise<void> = Promise.resolve();
  /** Bytes that the other side may still send. */
  readonly #granted = new Map<Channel, number>();
  readonly #endedEarly = new Set<Channel>();
  #closing = false;
  #peerReads: boolean;
  /** Credit granted before the peer has begun to read. */
  #heldGrants: { readonly channel: Channel; readonly bytes: number }[] = [];
  #closeError: StrataError | undefined;

  constructor(id: number, link: StreamLink) {
    this.id = id;
    this.#link = link;
    this.#peerReads = !link.closesAfterCredit;
  }

  /** Aborted when either side has closed the stream. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Resolves when the bytes were handed to the socket, which waits for the reader's credit. */
  write(channel: Channel, bytes: Uint8Array): Promise<void> {
    if (this.#closing || this.signal.aborted) return Promise.reject(this.#goneError());
    if (bytes.byteLength === 0) return Promise.resolve();
    return new Promise((done, failed) => {
      this.#side(channel).queue.push({ bytes, done, failed });
      this.#pump(channel);
    });
  }

  /** No more of this channel from this side. */
  end(channel: Channel): void {
    const side = this.#side(channel);
    if (side.ended || this.signal.aborted) return;
    side.ended = true;
    this.#pump(channel);
  }

  /** Ends the stream for good once what was written before has been sent; with an error at once. */
  close(error?: StrataError): void {
    if (this.#closing || this.signal.aborted) return;
    this.#closing = true;
    this.#closeError = error;
    this.#closeWhenFlushed();
  }

  /** Starts reading: grants the first credit. Once per stream. */
  consume(consumer: StreamConsumer): void {
    if (this.#consumer !== undefined) throw new Error(`stream ${this.id} has a consumer already`);
    this.#consumer = consumer;
    if (this.signal.aborted) {
      this.#announceClosed();
      return;
    }
    for (const channel of ALL_CHANNELS) this.#grant(channel, LIMITS.streamWindowBytes);
    for (const channel of this.#endedEarly) this.#deliver(() => consumer.end?.(channel));
    this.#endedEarly.clear();
  }

  /** The connection's side: a frame for this stream has come. */
  receive(frame: Frame): void {
    switch (frame.kind) {
      case 'credit':
        this.#side(frame.channel).credit += frame.bytes;
        if (!this.#peerReads) this.#peerBegan();
        this.#pump(frame.channel);
        return;
      case 'data': {
        if (!this.#takeGranted(frame.channel, frame.payload.byteLength)) return;
        // The bytes are copied: the socket's buffer is shared with other messages and would be kept alive as a whole.
        const bytes = Uint8Array.from(frame.payload);
        this.#deliver(async (consumer) => {
          await consumer.data(frame.channel, bytes);
          this.#grant(frame.channel, bytes.byteLength);
        });
        return;
      }
      case 'end':
        // It needs no credit, so it can come before anybody reads.
        if (this.#consumer === undefined) this.#endedEarly.add(frame.channel);
        else this.#deliver((consumer) => consumer.end?.(frame.channel));
        return;
      case 'close':
        this.finish(closeReason(frame.payload));
        return;
    }
  }

  /** Ends this side without a word to the other: it has closed, or the connection is gone. */
  finish(error?: StrataError): void {
    if (this.signal.aborted) return;
    this.#closeError ??= error;
    this.#abort.abort();
    this.#link.forget();
    for (const side of this.#sides.values()) {
      for (const write of side.queue.splice(0)) write.failed(this.#goneError());
    }
    if (this.#consumer !== undefined) this.#announceClosed();
  }

  #announceClosed(): void {
    this.#deliveries = this.#deliveries.then(() => this.#consumer?.closed?.(this.#closeError));
  }

  #deliver(step: (consumer: StreamConsumer) => void | Promise<void>): void {
    const consumer = this.#consumer;
    if (consumer === undefined) return;
    this.#deliveries = this.#deliveries
      .then(() => step(consumer))
      .catch((cause: unknown) => {
        this.close(new StrataError('INTERNAL', `the reader of stream ${this.id} failed`, { cause }));
      });
  }

  #peerBegan(): void {
    this.#peerReads = true;
    for (const { channel, bytes } of this.#heldGrants.splice(0)) this.#sendGrant(channel, bytes);
    for (const channel of this.#sides.keys()) this.#pump(channel);
  }

  /** False, and the stream is over, where the other side sends what it has no credit for: memory stays bounded. */
  #takeGranted(channel: Channel, bytes: number): boolean {
    const left = (this.#granted.get(channel) ?? 0) - bytes;
    if (left < 0) {
      this.close(new StrataError('INVALID_REQUEST', `stream ${this.id} got more bytes than it asked for`));
      return false;
    }
    this.#granted.set(channel, left);
    return true;
  }

  #grant(channel: Channel, bytes: number): void {
    this.#granted.set(channel, (this.#granted.get(channel) ?? 0) + bytes);
    if (this.#peerReads) this.#sendGrant(channel, bytes);
    else this.#heldGrants.push({ channel, bytes });
  }

  #sendGrant(channel: Channel, bytes: number): void {
    if (!this.signal.aborted) this.#link.send({ kind: 'credit', streamId: this.id, channel, bytes });
  }

  #side(channel: Channel): SendSide {
    let side = this.#sides.get(channel);
    if (side === undefined) {
      side = { credit: 0, queue: [], ended: false };
      this.#sides.set(channel, side);
    }
    return side;
  }

  #pump(channel: Channel): void {
    const side = this.#side(channel);
    while (side.credit > 0) {
      const write = side.queue[0];
      if (write === undefined) break;
      const size = Math.min(side.credit, write.bytes.byteLength, LIMITS.maxFrameBytes);
      this.#link.send({ kind: 'data', streamId: this.id, channel, payload: write.bytes.subarray(0, size) });
      side.credit -= size;
      if (size < write.bytes.byteLength) {
        side.queue[0] = { ...write, bytes: write.bytes.subarray(size) };
      } else {
        side.queue.shift();
        write.done();
      }
    }
    if (side.ended && this.#peerReads && side.queue.length === 0) {
      this.#link.send({ kind: 'end', streamId: this.id, channel });
      side.ended = false;
    }
    this.#closeWhenFlushed();
  }

  #closeWhenFlushed(): void {
    if (!this.#closing || !this.#peerReads || this.signal.aborted) return;
    const error = this.#closeError;
    const flushed = [...this.#sides.values()].every((side) => side.queue.length === 0);
    if (error === undefined && !flushed) return;
    this.#link.send({ kind: 'close', streamId: this.id, payload: encodeCloseReason(error) });
    this.finish(error);
  }

  #goneError(): StrataError {
    return this.#closeError ?? new StrataError('STREAM_NOT_FOUND', `stream ${this.id} is closed`);
  }
}

function encodeCloseReason(error: StrataError | undefined): Uint8Array {
  if (error === undefined) return new Uint8Array(0);
  return new TextEncoder().encode(JSON.stringify({ code: error.code, message: error.message, hint: error.hint, details: error.details }));
}

function closeReason(payload: Uint8Array): StrataError | undefined {
  return payload.byteLength === 0 ? undefined : parseErrorPayload(new TextDecoder().decode(payload));
}
