import { isUtf8 } from 'node:buffer';
import { Channel, type LogNotice } from '../../protocol/index.ts';
import type { LogItem } from './cursor.ts';
import { type LogChannel, type LogOutput, lineStarts } from './records.ts';

export interface LogPiece {
  readonly channel: Channel;
  readonly bytes: Uint8Array;
}

/** How a log is written to a stream. */
export interface LogEncoder {
  encode(items: readonly LogItem[]): Iterable<LogPiece>;
  /** Nothing more comes. */
  end(): Iterable<LogPiece>;
}

/** What a stream says of output that its reader does not get; undefined where that is of other streams. */
function noticeOf(item: Exclude<LogItem, LogOutput>, channels: ReadonlySet<LogChannel>): LogNotice | undefined {
  const at = { stdout: item.position[1], stderr: item.position[2] };
  if (item.kind === 'lost') return { missed: { bytes: item.bytes, reason: 'diskFull' }, at };
  const bytes = [...channels].reduce((sum, channel) => sum + item.bytes[channel], 0);
  return bytes === 0 ? undefined : { missed: { bytes, reason: item.reason }, at };
}

function noticePiece(notice: LogNotice): LogPiece {
  return { channel: Channel.bytes, bytes: Buffer.from(`${JSON.stringify(notice)}\n`) };
}

/** The bytes as they were written, each stream on its channel; notices come between on the channel `bytes`. */
export class RawEncoder implements LogEncoder {
  readonly #channels: ReadonlySet<LogChannel>;
  readonly #timestamps: LineTimestamps | undefined;

  constructor(channels: ReadonlySet<LogChannel>, timestamps: boolean) {
    this.#channels = channels;
    this.#timestamps = timestamps ? new LineTimestamps() : undefined;
  }

  /** Neighbours of one channel go out as one piece. */
  *encode(items: readonly LogItem[]): Generator<LogPiece> {
    let channel: Channel = Channel.stdout;
    let parts: Uint8Array[] = [];
    for (const item of items) {
      const piece = this.#piece(item);
      if (piece === undefined) continue;
      if (piece.channel !== channel && parts.length > 0) {
        yield { channel, bytes: Buffer.concat(parts) };
        parts = [];
      }
      channel = piece.channel;
      parts.push(piece.bytes);
    }
    if (parts.length > 0) yield { channel, bytes: Buffer.concat(parts) };
  }

  end(): Iterable<LogPiece> {
    return [];
  }

  #piece(item: LogItem): LogPiece | undefined {
    if (item.kind === 'output') {
      if (!this.#channels.has(item.channel)) return undefined;
      return { channel: item.channel, bytes: this.#timestamps === undefined ? item.payload : this.#timestamps.apply(item) };
    }
    const notice = noticeOf(item, this.#channels);
    return notice === undefined ? undefined : noticePiece(notice);
  }
}

/** RFC 3339, UTC, with nanoseconds. */
export function formatLogTime(timeNs: bigint): string {
  const seconds = timeNs / 1_000_000_000n;
  const fraction = (timeNs % 1_000_000_000n).toString().padStart(9, '0');
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

/** Puts a time before each line of one channel's records. */
export class LineTimestamps {
  readonly #atLineStart: Record<LogChannel, boolean> = { 1: true, 2: true };

  apply(record: Pick<LogOutput, 'channel' | 'payload' | 'timeNs'>): Uint8Array {
    const prefix = Buffer.from(`${formatLogTime(record.timeNs)} `);
    const parts: Uint8Array[] = [];
    let from = 0;
    for (const start of lineStarts(record, this.#atLineStart)) {
      parts.push(record.payload.subarray(from, start), prefix);
      from = start;
    }
    parts.push(record.payload.subarray(from));
    return Buffer.concat(parts);
  }
}

const newline = 0x0a;
/** Longer lines come in pieces. */
const maxLineBytes = 256 * 1024;

/** Copied, and not kept as what was read: a line of many small writes would hold a chunk of the log for each of them. */
class BegunLine {
  readonly timeNs: bigint;
  #bytes = Buffer.alloc(0);
  #size = 0;

  constructor(timeNs: bigint) {
    this.timeNs = timeNs;
  }

  get size(): number {
    return this.#size;
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size);
  }

  add(bytes: Uint8Array): void {
    const size = this.#size + bytes.byteLength;
    if (size > this.#bytes.byteLength) {
      const larger = Buffer.alloc(Math.min(maxLineBytes, Math.max(256, 2 * size)));
      this.#bytes.copy(larger);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#size);
    this.#size = size;
  }
}

/** A JSON object a line (logLineSchema), those of both streams in the order in which they were ended, on the channel `bytes`; notices as they are. */
export class JsonEncoder implements LogEncoder {
  readonly #channels: ReadonlySet<LogChannel>;
  readonly #begun = new Map<LogChannel, BegunLine>();

  constructor(channels: ReadonlySet<LogChannel>) {
    this.#channels = channels;
  }

  *encode(items: readonly LogItem[]): Generator<LogPiece> {
    const lines: string[] = [];
    for (const item of items) {
      if (item.kind === 'output') {
        if (this.#channels.has(item.channel)) this.#take(item, lines);
        continue;
      }
      const notice = noticeOf(item, this.#channels);
      if (notice === undefined) continue;
      // What was begun before it goes on with what comes after it only by chance.
      this.#endAll(lines);
      lines.push(`${JSON.stringify(notice)}\n`);
    }
    if (lines.length > 0) yield { channel: Channel.bytes, bytes: Buffer.from(lines.join('')) };
  }

  *end(): Generator<LogPiece> {
    const lines: string[] = [];
    this.#endAll(lines);
    if (lines.length > 0) yield { channel: Channel.bytes, bytes: Buffer.from(lines.join('')) };
  }

  #take({ channel, timeNs, payload }: LogOutput, lines: string[]): void {
    let rest = payload;
    while (rest.byteLength > 0) {
      const begun = this.#begun.get(channel) ?? new BegunLine(timeNs);
      const end = rest.indexOf(newline);
      const size = Math.min(end === -1 ? rest.byteLength : end, maxLineBytes - begun.size);
      begun.add(rest.subarray(0, size));
      const isEnded = size === end;
      rest = rest.subarray(isEnded ? size + 1 : size);
      if (isEnded || begun.size === maxLineBytes) {
        lines.push(jsonLine(channel, begun, isEnded));
        this.#begun.delete(channel);
      } else {
        this.#begun.set(channel, begun);
      }
    }
  }

  #endAll(lines: string[]): void {
    for (const [channel, begun] of this.#begun) lines.push(jsonLine(channel, begun, false));
    this.#begun.clear();
  }
}

function jsonLine(channel: LogChannel, { timeNs, bytes }: BegunLine, isEnded: boolean): string {
  const content = isUtf8(bytes) ? { text: bytes.toString() } : { base64: bytes.toString('base64') };
  const stream = channel === Channel.stderr ? 'stderr' : 'stdout';
  return `${JSON.stringify({ time: formatLogTime(timeNs), stream, ...content, ...(isEnded ? {} : { partial: true }) })}\n`;
}
