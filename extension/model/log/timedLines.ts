import { StringDecoder } from 'node:string_decoder';
import type { LogLine, LogSource } from './logLine.ts';
import { readableLine } from './logText.ts';

/** "2026-11-20T17:49:51.042123456Z ": what container.logs puts before each line when it is asked for timestamps. */
const TIME_BYTES = 31;
/** Longer lines come in pieces. */
const MAX_LINE_LENGTH = 16 * 1024;
const NEWLINE = 0x0a;

/**
 * From the bytes of one channel of a log with timestamps to lines.
 *
 * Invariant: `logBytes` is how many bytes of the log itself came, without the times, whatever they were cut into: that is
 * what `resume` counts.
 */
export class TimedLines {
  readonly #source: LogSource;
  #decoder = new StringDecoder('utf8');
  /** Bytes of a time that is not whole yet; undefined within a line. */
  #time: Buffer | undefined = Buffer.alloc(0);
  #timeMs = 0;
  #text = '';
  #logBytes = 0;
  /** A stream that goes on within a line begins with a time of its own, which is none of a new line. */
  #isResumedInLine = false;

  constructor(source: LogSource) {
    this.#source = source;
  }

  get logBytes(): number {
    return this.#logBytes;
  }

  /** Of the line that is read, or the last one. */
  get timeMs(): number {
    return this.#timeMs;
  }

  push(bytes: Uint8Array): LogLine[] {
    const lines: LogLine[] = [];
    let rest = bytes;
    while (rest.byteLength > 0) rest = this.#time === undefined ? this.#takeText(rest, lines) : this.#takeTime(rest, this.#time);
    return lines;
  }

  /** Another stream begins where the one before was cut off. */
  resume(): void {
    this.#isResumedInLine = this.#time === undefined;
    this.#time = Buffer.alloc(0);
  }

  /** A last line that nothing ended. */
  end(): LogLine[] {
    const text = this.#text + this.#decoder.end();
    this.#text = '';
    this.#time = Buffer.alloc(0);
    return text === '' ? [] : [this.#line(text)];
  }

  #takeTime(bytes: Uint8Array, have: Buffer): Uint8Array {
    const missing = TIME_BYTES - have.byteLength;
    const time = Buffer.concat([have, bytes.subarray(0, missing)]);
    if (time.byteLength < TIME_BYTES) {
      this.#time = time;
      return new Uint8Array(0);
    }
    this.#time = undefined;
    if (!this.#isResumedInLine) this.#timeMs = Date.parse(`${time.toString('latin1').slice(0, 23)}Z`);
    this.#isResumedInLine = false;
    return bytes.subarray(missing);
  }

  #takeText(bytes: Uint8Array, lines: LogLine[]): Uint8Array {
    const newline = bytes.indexOf(NEWLINE);
    const end = newline === -1 ? bytes.byteLength : newline;
    this.#text += this.#decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, end));
    this.#logBytes += newline === -1 ? end : end + 1;
    while (this.#text.length > MAX_LINE_LENGTH) {
      lines.push(this.#line(this.#text.slice(0, MAX_LINE_LENGTH)));
      this.#text = this.#text.slice(MAX_LINE_LENGTH);
    }
    if (newline === -1) return new Uint8Array(0);
    lines.push(this.#line(this.#text + this.#decoder.end()));
    this.#decoder = new StringDecoder('utf8');
    this.#text = '';
    this.#time = Buffer.alloc(0);
    return bytes.subarray(newline + 1);
  }

  #line(text: string): LogLine {
    return { timeMs: this.#timeMs, source: this.#source, text: readableLine(text) };
  }
}
