import { type FileHandle, open, readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { hasCode } from '../../native/errors.ts';
import {
  headerBytes,
  type LogChunk,
  parseRecords,
  parseSegmentStart,
  recordSize,
  type SegmentStart,
  segmentStartBytes,
} from './records.ts';

/** A file of a log. */
export interface SegmentName {
  readonly path: string;
  /** How many bytes of output come before it. */
  readonly before: number;
  /** The file that the log began with. */
  readonly isFirst: boolean;
}

const chunkBytes = 256 * 1024;
const firstStart: SegmentStart = { before: { 1: 0, 2: 0 }, earliestNs: 0n, latestNs: 0n, continues: { 1: false, 2: false } };

export function firstSegment(log: string): SegmentName {
  return { path: log, before: 0, isFirst: true };
}

export function laterSegment(log: string, before: number): SegmentName {
  return { path: `${log}.${String(before).padStart(20, '0')}`, before, isFirst: false };
}

/** The segments of the log at `log`, oldest first; none where nothing was written yet. */
export async function listSegments(log: string): Promise<SegmentName[]> {
  const name = basename(log);
  let entries: string[];
  try {
    entries = await readdir(dirname(log));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
  const found = entries.flatMap((entry): SegmentName[] => {
    if (entry === name) return [firstSegment(log)];
    const digits = entry.startsWith(`${name}.`) ? entry.slice(name.length + 1) : '';
    return /^\d{20}$/.test(digits) ? [laterSegment(log, Number(digits))] : [];
  });
  return found.sort((a, b) => a.before - b.before || Number(b.isFirst) - Number(a.isFirst));
}

/** One file of a log, open. What it holds stays readable when it is removed. */
export class LogSegment {
  readonly name: SegmentName;
  readonly start: SegmentStart;
  readonly #file: FileHandle;

  private constructor(name: SegmentName, start: SegmentStart, file: FileHandle) {
    this.name = name;
    this.start = start;
    this.#file = file;
  }

  /** Undefined where it is not there, or its beginning is not: then nothing is in it, and the one before may go on. */
  static async open(name: SegmentName): Promise<LogSegment | undefined> {
    let file: FileHandle;
    try {
      file = await open(name.path, 'r');
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
    try {
      const start = name.isFirst ? firstStart : parseSegmentStart(await readBytes(file, 0, headerBytes + segmentStartBytes));
      if (start !== undefined) return new LogSegment(name, start, file);
    } catch (error) {
      await file.close();
      throw error;
    }
    await file.close();
    return undefined;
  }

  /** Where its first record of output is. */
  get begin(): number {
    return this.name.isFirst ? 0 : headerBytes + segmentStartBytes;
  }

  /** Whole records from `offset` on, about 256 KiB of them; none at the end. */
  async read(offset: number): Promise<LogChunk> {
    let bytes = await readBytes(this.#file, offset, chunkBytes);
    const first = recordSize(bytes);
    if (first !== undefined && first > chunkBytes) bytes = await readBytes(this.#file, offset, first);
    return parseRecords(bytes, offset);
  }

  /** It was rotated away. */
  async isRemoved(): Promise<boolean> {
    return (await this.#file.stat()).nlink === 0;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

async function readBytes(file: FileHandle, offset: number, size: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(size);
  let length = 0;
  while (length < size) {
    const { bytesRead } = await file.read(buffer, length, size - length, offset + length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}
