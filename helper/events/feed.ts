import type { EventFilters, EventLine, EventPosition, EventRecord } from '../protocol/index.ts';
import { StrataError } from '../protocol/index.ts';
import { type Matches, matcher } from './filters.ts';
import type { EventHistory } from './history.ts';
import type { EventHub } from './hub.ts';

export type Since = ({ readonly kind: 'position' } & EventPosition) | { readonly kind: 'time'; readonly timeMs: number };

export interface FeedRequest {
  /** Absent: from now on. */
  readonly since?: Since | undefined;
  /** By the clock of the host; absent: until it is aborted. */
  readonly untilMs?: number | undefined;
  readonly filters?: EventFilters | undefined;
  readonly signal: AbortSignal;
}

/** Lines of one list: what a reader who does not read makes the helper hold. */
const linesAtOnce = 64;
/** What a timer can wait for at most. */
const longestWaitMs = 2 ** 31 - 1;

/**
 * Events as their readers take them: from disk what memory does not hold any more, then from memory.
 *
 * Invariant: a reader is a number and no queue, so one that is slow costs nothing. Each event comes once and in order, after it
 * was written, or could not be; in the place of those that are no longer known comes a line that says so.
 */
export class EventFeed {
  readonly #hub: EventHub;
  readonly #history: EventHistory;

  constructor({ hub, history }: { hub: EventHub; history: EventHistory }) {
    this.#hub = hub;
    this.#history = history;
  }

  /** Throws INVALID_REQUEST for a place that this helper has not come to. */
  open(request: FeedRequest): { readonly at: EventPosition; readonly lines: AsyncGenerator<EventLine[]> } {
    const { since } = request;
    if (since?.kind === 'position' && since.epoch === this.#hub.epoch && since.seq > this.#hub.seq) {
      throw new StrataError('INVALID_REQUEST', `since.seq: there is no event ${since.seq} yet; the last is ${this.#hub.seq}`, {
        details: { path: 'since.seq' },
      });
    }
    const at = this.#hub.position;
    return { at, lines: this.#lines(since ?? { kind: 'position', ...at }, request) };
  }

  async *#lines(since: Since, { untilMs, filters, signal }: FeedRequest): AsyncGenerator<EventLine[]> {
    const isWanted = matcher(filters);
    const matches: Matches = (record) => isWanted(record) && (untilMs === undefined || Date.parse(record.time) <= untilMs);
    const wake = new Wake(signal);
    const off = this.#history.onSettled(() => wake.now());
    try {
      const reading = new Reading(since, matches);
      while (!signal.aborted) {
        const next = reading.heldFrom(this.#hub);
        const held = next === undefined ? undefined : this.#hub.after(next, linesAtOnce);
        if (held === undefined) {
          yield* this.#fromDisk(reading);
          continue;
        }
        const settled = held.filter(({ record }) => record.seq <= this.#history.settledSeq);
        const lines = settled.flatMap(({ record }) => reading.take(record));
        if (lines.length > 0) yield lines;
        if (settled.length > 0) continue;
        const leftMs = untilMs === undefined ? longestWaitMs : Math.min(untilMs - Date.now(), longestWaitMs);
        // What was published before that is settled first.
        if (leftMs <= 0 && held.length === 0) return;
        await wake.wait(Math.max(leftMs, 0), held.length > 0);
      }
    } finally {
      off();
      wake.dispose();
    }
  }

  /** Up to where memory begins; what is found neither here nor there is told to be missing. */
  async *#fromDisk(reading: Reading): AsyncGenerator<EventLine[]> {
    const { epoch } = this.#hub;
    const end = this.#hub.firstHeld;
    reading.startOver();
    for await (const records of this.#history.read()) {
      const before = records.filter((record) => record.epoch !== epoch || record.seq < end);
      const lines = before.flatMap((record) => reading.take(record));
      for (let index = 0; index < lines.length; index += linesAtOnce) yield lines.slice(index, index + linesAtOnce);
      if (before.length < records.length) break;
    }
    const lines = reading.goOn(epoch, end - 1);
    if (lines.length > 0) yield lines;
  }
}

/** Where a reader is. */
class Reading {
  readonly #matches: Matches;
  readonly #sinceMs: number;
  /** Still to be passed. */
  #start: EventPosition | undefined;
  #sawEpoch = false;
  /** Last event that was passed; undefined: none yet. */
  #last: EventPosition | undefined;

  constructor(since: Since, matches: Matches) {
    this.#matches = matches;
    this.#sinceMs = since.kind === 'time' ? since.timeMs : Number.NEGATIVE_INFINITY;
    this.#start = since.kind === 'position' ? { epoch: since.epoch, seq: since.seq } : undefined;
  }

  /** The number after which it goes on in memory; undefined where it must look on disk first. */
  heldFrom({ epoch }: EventHub): number | undefined {
    const place = this.#start ?? this.#last;
    return place?.epoch === epoch ? place.seq : undefined;
  }

  /** From the oldest event that there is; what it has passed it passes again. */
  startOver(): void {
    this.#start ??= this.#last;
    this.#sawEpoch = false;
  }

  /** The lines that this next event makes. */
  take(record: EventRecord): EventLine[] {
    if (this.#start !== undefined) {
      if (!this.#isPast(this.#start, record)) return [];
      this.#last = this.#start;
      this.#start = undefined;
    }
    const isInTime = Date.parse(record.time) >= this.#sinceMs;
    // What is missing before the time that was asked for is nobody's concern.
    if (this.#last === undefined && !isInTime) return [];
    const gap = this.#gapBefore(record.seq);
    this.#last = { epoch: record.epoch, seq: record.seq };
    return isInTime && this.#matches(record) ? [...gap, record] : gap;
  }

  /** There is nothing to be found up to here any more. */
  goOn(epoch: string, seq: number): EventLine[] {
    this.#last = this.#start ?? this.#last;
    this.#start = undefined;
    const gap = this.#gapBefore(seq + 1);
    this.#last = { epoch, seq };
    return gap;
  }

  #isPast(start: EventPosition, { epoch, seq }: EventRecord): boolean {
    if (epoch === start.epoch) {
      this.#sawEpoch = true;
      return seq > start.seq;
    }
    return this.#sawEpoch || seq > start.seq;
  }

  #gapBefore(seq: number): EventLine[] {
    if (this.#last === undefined || seq === this.#last.seq + 1) return [];
    return [{ gap: { afterSeq: this.#last.seq, beforeSeq: seq } }];
  }
}

/** Something that may have to be looked at again. */
class Wake {
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => this.now();
  #next = Promise.withResolvers<void>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  now(): void {
    this.#next.resolve();
  }

  /** `soon`: it comes without fail, whatever the time. */
  async wait(timeoutMs: number, soon: boolean): Promise<void> {
    const timer = soon ? undefined : setTimeout(() => this.now(), timeoutMs);
    await this.#next.promise;
    clearTimeout(timer);
    this.#next = Promise.withResolvers();
  }

  dispose(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
  }
}
