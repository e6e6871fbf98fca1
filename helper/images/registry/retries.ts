import { setTimeout as delay } from 'node:timers/promises';
import { cancelled } from './http.ts';
import { passingAfterMs } from './refusal.ts';

/** Of what may pass by itself, and the wait before the first of them; it doubles. */
const maxRetries = 4;
const firstWaitMs = 500;
/** A registry that wants us to wait for longer is told to the person instead. */
const longestWaitMs = 30_000;

/** When to try something again: what may pass by itself, so many times in a row, each after a longer wait. */
export class Retries {
  readonly #signal: AbortSignal;
  #count = 0;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Resolves when the next try is due; throws the error where there shall be none. `atLeastMs` undefined: a second try would not help. */
  async next(error: unknown, atLeastMs = passingAfterMs(error)): Promise<void> {
    if (atLeastMs === undefined) throw error;
    const waitMs = Math.max(firstWaitMs * 2 ** this.#count, atLeastMs);
    if (this.#count >= maxRetries || waitMs > longestWaitMs) throw error;
    this.#count += 1;
    try {
      // Not all clients at once.
      await delay(waitMs * (0.75 + Math.random() / 2), undefined, { signal: this.#signal });
    } catch {
      throw cancelled();
    }
  }

  /** There was progress. */
  reset(): void {
    this.#count = 0;
  }
}
