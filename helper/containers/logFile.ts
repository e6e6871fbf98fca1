import { type FileHandle, open } from 'node:fs/promises';
import type { LogPosition } from '../protocol/index.ts';

/** Channels as the log numbers them, which are the wire's too. */
export type LogChannel = 1 | 2;

/** One write of the container: docs/supervisor.md, "The log". */
export interface LogRecord {
  readonly offset: number;
  readonly channel: LogChannel;
  readonly timeNs: bigint;
  readonly payload: Uint8Array;
}

export interface LogChunk {
  readonly records: readonly LogRecord[];
  /** Where to read on. */
  readonly next: number;
}

const headerBytes = 16;
const chunkBytes = 256 * 1024;
/** No supervisor writes a larger one: what says so is no record. */
const maxPayloadBytes = 16 * 1024 * 1024;

/** Reader of a log that may still be written to. A torn last record is not there yet. */
export class LogFile {
  readonly #file: FileHandle;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Makes the log when it is not there: the supervisor appends, whoever comes first. */
  static async open(path: string): Promise<LogFile> {
    return new LogFile(await open(path, 'a+', 0o600));
  }

  /** Opened, and looked at: where that fails it is closed again. */
  static async openAt<T>(path: string, find: (log: LogFile) => Promise<T>): Promise<{ log: LogFile; from: T }> {
    const log = await LogFile.open(path);
    try {
      return { log, from: await find(log) };
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  async size(): Promise<number> {
    return (await this.#file.stat()).size;
  }

  /** Whole records from `offset` on, about 256 KiB of them; none at the end. */
  async read(offset: number): Promise<LogChunk> {
    let bytes = await this.#bytes(offset, chunkBytes);
    const first = recordSize(bytes);
    if (first !== undefined && first > chunkBytes) bytes = await this.#bytes(offset, first);
    return parseRecords(bytes, offset);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #bytes(offset: number, size: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(size);
    let length = 0;
    while (length < size) {
      const { bytesRead } = await this.#file.read(buffer, length, size - length, offset + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  }
}

/** Pure. The whole records at the start of `bytes`, which lie at `offset` in the log. */
export function parseRecords(bytes: Buffer, offset: number): LogChunk {
  const records: LogRecord[] = [];
  let at = 0;
  for (;;) {
    const rest = bytes.subarray(at);
    const size = recordSize(rest);
    if (size === undefined || rest.byteLength < size) break;
    records.push({
      offset: offset + at,
      channel: rest.readUInt8(4) === 2 ? 2 : 1,
      timeNs: rest.readBigUInt64LE(8),
      payload: rest.subarray(headerBytes, size),
    });
    at += size;
  }
  return { records, next: offset + at };
}

function recordSize(bytes: Buffer): number | undefined {
  if (bytes.byteLength < headerBytes) return undefined;
  const payload = bytes.readUInt32LE(0);
  return payload > maxPayloadBytes ? undefined : headerBytes + payload;
}

const newline = 0x0a;

/** A chunk of the log in which a line begins, and what the lines before it left behind. */
interface LineMark {
  readonly offset: number;
  readonly linesBefore: number;
  readonly atLineStart: Readonly<Record<LogChannel, boolean>>;
}

/**
 * Where the last `lines` lines begin. Records cannot be walked backwards, so the whole log is read; what is kept is one
 * mark a chunk and not one a line, of which a container can write any number, and one chunk is read again. A line that
 * is not ended counts.
 */
export async function findTail(log: LogFile, lines: number, signal?: AbortSignal): Promise<LogPosition> {
  const marks: LineMark[] = [];
  const atLineStart: Record<LogChannel, boolean> = { 1: true, 2: true };
  let offset = 0;
  let count = 0;
  for (;;) {
    signal?.throwIfAborted();
    const chunk = await log.read(offset);
    if (chunk.records.length === 0) break;
    const mark: LineMark = { offset, linesBefore: count, atLineStart: { ...atLineStart } };
    for (const record of chunk.records) count += lineStarts(record, atLineStart).length;
    if (count > mark.linesBefore) marks.push(mark);
    offset = chunk.next;
  }
  if (lines === 0) return { offset, skip: 0 };
  const wanted = Math.max(0, count - lines);
  const mark = marks.findLast(({ linesBefore }) => linesBefore <= wanted);
  return mark === undefined ? { offset: 0, skip: 0 } : await lineAfter(log, mark, wanted - mark.linesBefore);
}

/** Where the line begins that is the `index`th from the mark on, in the mark's chunk. */
async function lineAfter(log: LogFile, mark: LineMark, index: number): Promise<LogPosition> {
  const atLineStart: Record<LogChannel, boolean> = { ...mark.atLineStart };
  let left = index;
  for (const record of (await log.read(mark.offset)).records) {
    const starts = lineStarts(record, atLineStart);
    const skip = starts[left];
    if (skip !== undefined) return { offset: record.offset, skip };
    left -= starts.length;
  }
  return { offset: mark.offset, skip: 0 };
}

/** The place `bytes` of payload after another one; the log's end where it has no more. */
export async function advance(log: LogFile, from: LogPosition, bytes: number, signal?: AbortSignal): Promise<LogPosition> {
  let left = from.skip + bytes;
  let { offset } = from;
  for (;;) {
    signal?.throwIfAborted();
    const chunk = await log.read(offset);
    if (chunk.records.length === 0) return { offset, skip: 0 };
    for (const record of chunk.records) {
      if (left < record.payload.byteLength) return { offset: record.offset, skip: left };
      left -= record.payload.byteLength;
    }
    offset = chunk.next;
  }
}

function lineStarts(record: LogRecord, atLineStart: Record<LogChannel, boolean>): number[] {
  const { payload, channel } = record;
  const found: number[] = [];
  if (payload.byteLength === 0) return found;
  if (atLineStart[channel]) found.push(0);
  for (let at = payload.indexOf(newline); at !== -1 && at + 1 < payload.byteLength; at = payload.indexOf(newline, at + 1))
    found.push(at + 1);
  atLineStart[channel] = payload.at(-1) === newline;
  return found;
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

  apply(record: LogRecord): Uint8Array {
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
