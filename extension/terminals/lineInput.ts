/** What typing does to a program that has no terminal: what is shown, what is sent, and whether that was all. */
export interface LineEffect {
  readonly echo: string;
  readonly send: string;
  readonly end: boolean;
}

const BACKSPACE = /[\b\x7f]/;
/** Cursor and function keys, which mean nothing to a program that reads lines (ECMA-48's CSI and SS3). */
const KEY_SEQUENCES = /\x1b(?:\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]|O.|.)?/g;

/**
 * The line discipline that a program without a terminal does not have (termios(3), canonical mode): Enter sends a line,
 * Backspace and Ctrl-U take back what was not sent, Ctrl-D ends the input at the beginning of a line and else sends
 * what there is, Ctrl-C drops the line.
 */
export class LineInput {
  #line: string[] = [];
  #isEnded = false;

  type(data: string): LineEffect {
    let echo = '';
    let send = '';
    const take = (end: string): void => {
      send += this.#line.join('') + end;
      this.#line = [];
    };
    for (const char of data.replaceAll('\r\n', '\r').replaceAll(KEY_SEQUENCES, '')) {
      if (this.#isEnded) break;
      if (char === '\r' || char === '\n') {
        take('\n');
        echo += '\r\n';
      } else if (BACKSPACE.test(char)) {
        if (this.#line.pop() !== undefined) echo += '\b \b';
      } else if (char === '\x15') {
        echo += '\b \b'.repeat(this.#line.length);
        this.#line = [];
      } else if (char === '\x03') {
        echo += '^C\r\n';
        this.#line = [];
      } else if (char === '\x04') {
        this.#isEnded = this.#line.length === 0;
        take('');
      } else if (char >= ' ' || char === '\t') {
        this.#line.push(char);
        echo += char;
      }
    }
    return { echo, send, end: this.#isEnded };
  }
}
