import { UsageError } from './values.ts';

/** ctrl-p ctrl-q, as Docker's. */
export const defaultDetachKeys: readonly number[] = [0x10, 0x11];

/** "ctrl-p,ctrl-q", "ctrl-],x": the bytes that such keys send. */
export function parseDetachKeys(text: string): number[] {
  return text.split(',').map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key);
    if (control?.[1] !== undefined) return control[1].toUpperCase().charCodeAt(0) - 0x40;
    if (/^[\u0020-\u007e]$/.test(key)) return key.charCodeAt(0);
    throw new UsageError(`--detach-keys "${text}": "${key}" is no key; write for instance ctrl-p,ctrl-q`);
  });
}

/** Finds a sequence of keys in what is typed. What may be its beginning is held back until the next key shows what it was. */
export class DetachKeys {
  readonly #sequence: readonly number[];
  #held: number[] = [];

  constructor(sequence: readonly number[] = defaultDetachKeys) {
    this.#sequence = sequence;
  }

  /** What goes to the container, and whether the person wants to leave. */
  push(bytes: Uint8Array): { bytes: Uint8Array; detach: boolean } {
    const out: number[] = [];
    for (const byte of bytes) {
      this.#held.push(byte);
      while (this.#held.some((held, index) => held !== this.#sequence[index])) out.push(...this.#held.splice(0, 1));
      if (this.#held.length === this.#sequence.length) return { bytes: Uint8Array.from(out), detach: true };
    }
    return { bytes: Uint8Array.from(out), detach: false };
  }
}
