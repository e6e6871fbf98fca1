import type { LogItem } from './cursor.ts';
import { millisecondsOf } from './places.ts';
import type { LogChannel } from './records.ts';

const newline = 0x0a;

/**
 * Ends a log before the first line that began after a time. Lines that were begun before are given to their ends, unless those come
 * later than a line of the other stream that is too late.
 */
export class LineEnd {
  readonly #untilMs: number;
  readonly #channels: ReadonlySet<LogChannel>;
  readonly #inLine: Record<LogChannel, boolean> = { 1: false, 2: false };
  #isReached = false;

  constructor(untilMs: number, channels: ReadonlySet<LogChannel>) {
    this.#untilMs = untilMs;
    this.#channels = channels;
  }

  get isReached(): boolean {
    return this.#isReached;
  }

  /** What comes before the end. */
  cut(items: readonly LogItem[]): readonly LogItem[] {
    const wanted: LogItem[] = [];
    for (const item of items) {
      if (this.#isReached) break;
      if (item.kind !== 'output') {
        wanted.push(item);
        continue;
      }
      const { channel, payload, timeNs } = item;
      if (!this.#channels.has(channel)) continue;
      if (millisecondsOf(timeNs) <= this.#untilMs) {
        this.#inLine[channel] = payload.at(-1) !== newline;
        wanted.push(item);
        continue;
      }
      if (!this.#inLine[channel]) {
        this.#isReached = true;
        break;
      }
      const end = payload.indexOf(newline);
      const rest = end === -1 ? payload : payload.subarray(0, end + 1);
      wanted.push({ ...item, payload: rest });
      this.#inLine[channel] = end === -1;
      this.#isReached = rest.byteLength < payload.byteLength;
    }
    return wanted;
  }
}
