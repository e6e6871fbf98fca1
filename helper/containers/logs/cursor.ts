import type { LogLoss, LogOutput, StreamBytes } from './records.ts';
import { firstSegment, LogSegment, laterSegment, listSegments, type SegmentName } from './segments.ts';

/** Output that a reader did not get, and never will: its segment was rotated away before it was read, or is damaged. */
export interface LogGap {
  readonly kind: 'gap';
  readonly reason: 'rotated' | 'damaged';
  readonly bytes: StreamBytes;
  /** Where the log goes on. */
  readonly position: StreamBytes;
}

export type LogItem = LogOutput | (LogLoss & { readonly position: StreamBytes }) | LogGap;

/** A place in a log. */
export interface LogPlace {
  /** How much of each stream comes before it. */
  readonly position: StreamBytes;
  /** A record at or before it in a segment, and how much comes before that; absent: to be looked for. */
  readonly record?: { readonly segment: SegmentName; readonly offset: number; readonly before: StreamBytes };
}

/**
 * Reads a log on and on, from segment to segment.
 *
 * Invariants: every byte behind its place is given once and in order, or a gap says that it is gone; one file is open at most, but while
 * it goes from one to the next.
 */
export class LogCursor {
  readonly #log: string;
  #segment: LogSegment | undefined;
  /** The one behind `#segment`, which is final then and only has to be read to its end. */
  #next: LogSegment | undefined;
  #offset = 0;
  /** How much comes before `#offset`. */
  #position: Record<1 | 2, number>;
  /** Where to begin to give what is read. */
  readonly #from: StreamBytes;
  /** Segments that are known to come later. */
  #later: SegmentName[] = [];
  /** The last segment was not the neighbour of the one before it. */
  #hasSkipped = false;

  private constructor(log: string, from: StreamBytes) {
    this.#log = log;
    this.#from = from;
    this.#position = { ...from };
  }

  /** Where the place's segment is gone, what was behind it is a gap. */
  static async open(log: string, { position, record }: LogPlace): Promise<LogCursor> {
    const cursor = new LogCursor(log, position);
    if (record !== undefined) {
      cursor.#segment = await LogSegment.open(record.segment);
      if (cursor.#segment !== undefined) {
        cursor.#offset = record.offset;
        cursor.#position = { ...record.before };
      }
    }
    try {
      cursor.#later = (await listSegments(log)).filter(({ before }) => record === undefined || before > record.segment.before);
    } catch (error) {
      await cursor.close();
      throw error;
    }
    if (cursor.#segment === undefined) cursor.#hasSkipped = true;
    return cursor;
  }

  /** How much of each stream comes before what is given next, or was written before it. */
  get position(): StreamBytes {
    return this.#position;
  }

  /** What comes next, some 256 KiB of it; undefined at the end, where more may be written. */
  async next(): Promise<readonly LogItem[] | undefined> {
    for (;;) {
      const chunk = await this.#segment?.read(this.#offset);
      if (chunk !== undefined && chunk.next > this.#offset) {
        this.#offset = chunk.next;
        const items = chunk.records.flatMap((record) => this.#take(record));
        if (items.length > 0) return items;
      } else if (this.#next === undefined) {
        // Once it is there nobody writes to this one any more: it is read once again.
        this.#next = await this.#findNext();
        if (this.#next === undefined) return undefined;
      } else {
        const gap = await this.#enter(this.#next);
        if (gap !== undefined) return [gap];
      }
    }
  }

  async close(): Promise<void> {
    const open = [this.#segment, this.#next];
    this.#segment = undefined;
    this.#next = undefined;
    for (const segment of open) await segment?.close();
  }

  #take(record: LogOutput | LogLoss): LogItem[] {
    if (record.kind === 'lost') {
      const isBehind = this.#position[1] >= this.#from[1] && this.#position[2] >= this.#from[2];
      return isBehind ? [{ ...record, position: { ...this.#position } }] : [];
    }
    const { channel, payload } = record;
    const before = this.#position[channel];
    this.#position[channel] = before + payload.byteLength;
    const skip = Math.max(0, this.#from[channel] - before);
    if (skip >= payload.byteLength) return [];
    return [skip === 0 ? record : { ...record, payload: payload.subarray(skip) }];
  }

  async #findNext(): Promise<LogSegment | undefined> {
    const known = await this.#openLater();
    if (known !== undefined) return known;
    const end = this.#position[1] + this.#position[2];
    const expected = this.#segment === undefined && end === 0 ? firstSegment(this.#log) : laterSegment(this.#log, end);
    const neighbour = expected.path === this.#segment?.name.path ? undefined : await LogSegment.open(expected);
    if (neighbour !== undefined || this.#segment === undefined) return neighbour;
    // It may have come and gone.
    if (!(await this.#segment.isRemoved())) return undefined;
    const reached = this.#segment.name.before;
    this.#later = (await listSegments(this.#log)).filter(({ before }) => before > reached);
    this.#hasSkipped = true;
    return await this.#openLater();
  }

  async #openLater(): Promise<LogSegment | undefined> {
    for (let name = this.#later.shift(); name !== undefined; name = this.#later.shift()) {
      const segment = await LogSegment.open(name);
      if (segment !== undefined) return segment;
      this.#hasSkipped = true;
    }
    return undefined;
  }

  async #enter(segment: LogSegment): Promise<LogGap | undefined> {
    const left = this.#segment;
    this.#segment = segment;
    this.#next = undefined;
    this.#offset = segment.begin;
    const { before } = segment.start;
    const bytes: StreamBytes = { 1: Math.max(0, before[1] - this.#position[1]), 2: Math.max(0, before[2] - this.#position[2]) };
    const reason = this.#hasSkipped || (await left?.isRemoved()) === true ? 'rotated' : 'damaged';
    this.#position = { ...before };
    this.#hasSkipped = false;
    await left?.close();
    return bytes[1] + bytes[2] === 0 ? undefined : { kind: 'gap', reason, bytes, position: before };
  }
}
