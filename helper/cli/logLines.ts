import { StringDecoder } from 'node:string_decoder';

export interface LogLine {
  /** RFC 3339; absent in the pieces of a very long line but the first. */
  readonly time?: string;
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
}

/** Longer lines come in pieces. */
const maxLineLength = 1024 * 1024;

/** From the bytes of one stream of a log with timestamps to its lines. */
export class LogLines {
  readonly #stream: LogLine['stream'];
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  constructor(stream: LogLine['stream']) {
    this.#stream = stream;
  }

  push(bytes: Uint8Array): LogLine[] {
    this.#rest += this.#decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > maxLineLength) {
      lines.push(this.#rest);
      this.#rest = '';
    }
    return lines.map((line) => this.#line(line));
  }

  /** A last line without its end. */
  end(): LogLine[] {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = '';
    return rest === '' ? [] : [this.#line(rest)];
  }

  #line(line: string): LogLine {
    const parts = /^(\d{4}-\d\d-\d\dT[\d:.]+Z) ([\s\S]*)$/.exec(line);
    if (parts?.[1] === undefined) return { stream: this.#stream, text: line };
    return { time: parts[1], stream: this.#stream, text: parts[2] ?? '' };
  }
}
