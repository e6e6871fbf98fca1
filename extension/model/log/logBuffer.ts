import type { LogLine } from './logLine.ts';

/** Few long lines are as much as many short ones: so many characters a line of the limit may have on average. */
const CHARACTERS_A_LINE = 1000;

/**
 * The last lines of a log. Each has a number that stays its own while lines before it are dropped: lines `first` to `end - 1`
 * are here.
 */
export class LogBuffer {
  #lines: LogLine[] = [];
  #first = 0;
  #characters = 0;

  get first(): number {
    return this.#first;
  }

  get end(): number {
    return this.#first + this.#lines.length;
  }

  get size(): number {
    return this.#lines.length;
  }

  at(number: number): LogLine | undefined {
    return this.#lines[number - this.#first];
  }

  /** The number of a line that another buffer had of the same log. */
  find(line: LogLine): number | undefined {
    const index = this.#lines.findIndex(
      ({ timeMs, source, text }) => timeMs === line.timeMs && source === line.source && text === line.text,
    );
    return index === -1 ? undefined : this.#first + index;
  }

  /** Lines from this number on. */
  from(number: number): readonly LogLine[] {
    return this.#lines.slice(Math.max(0, number - this.#first));
  }

  add(lines: readonly LogLine[]): void {
    for (const line of lines) {
      this.#lines.push(line);
      this.#characters += line.text.length;
    }
  }

  /** Whether it holds more than so many lines, or as much text. */
  exceeds(maxLines: number): boolean {
    return this.#lines.length > maxLines || this.#characters > maxLines * CHARACTERS_A_LINE;
  }

  /** Drops what is too much, from the front. */
  trim(maxLines: number): void {
    let drop = 0;
    while (drop < this.#lines.length - 1 && this.#isTooMuch(drop, maxLines)) {
      this.#characters -= this.#lines[drop]?.text.length ?? 0;
      drop += 1;
    }
    this.#lines.splice(0, drop);
    this.#first += drop;
  }

  #isTooMuch(dropped: number, maxLines: number): boolean {
    return this.#lines.length - dropped > maxLines || this.#characters > maxLines * CHARACTERS_A_LINE;
  }
}
