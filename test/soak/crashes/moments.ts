import * as fs from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Random } from '../random.ts';
import type { OperationKind } from './ledger.ts';

/** When a crash comes: so long after an operation began, or as the runtime has told a step of it in the trace. */
export type Moment = { readonly kind: 'after'; readonly ms: number } | { readonly kind: 'step'; readonly step: string };

/** Longer than any step is waited for: it may not come this time. */
const mostMs = 400;

/**
 * How long operations take here and now, and which steps the runtime tells of them: what moments are chosen from.
 */
export class Moments {
  readonly #trace: string;
  readonly #lengths = new Map<OperationKind, number>();
  readonly #steps = new Map<OperationKind, Set<string>>();
  #from = 0;

  constructor(trace: string) {
    this.#trace = trace;
  }

  choose(kind: OperationKind, random: Random): Moment {
    const steps = [...(this.#steps.get(kind) ?? [])];
    const ms = random.next() * (this.#lengths.get(kind) ?? 10) * 1.3;
    const step = random.below(3) === 0 && steps.length > 0 ? random.pick(steps) : undefined;
    return step === undefined ? { kind: 'after', ms } : { kind: 'step', step };
  }

  /** Steps that are told from now on are the next operation's. */
  begin(): void {
    fs.writeFileSync(this.#trace, '');
    this.#from = 0;
  }

  /** The event loop goes on meanwhile: what is answered before the crash counts as told. */
  async wait(moment: Moment): Promise<void> {
    const start = performance.now();
    const file = fs.openSync(this.#trace, 'r');
    try {
      for (;;) {
        const elapsed = performance.now() - start;
        if (moment.kind === 'after' ? elapsed >= moment.ms : elapsed >= mostMs || this.#read(file).some((step) => step === moment.step))
          return;
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      fs.closeSync(file);
    }
  }

  /** After an operation that nothing befell. */
  learn(kind: OperationKind, ms: number): void {
    const before = this.#lengths.get(kind) ?? ms;
    this.#lengths.set(kind, before * 0.7 + ms * 0.3);
    const steps = this.#steps.get(kind) ?? new Set();
    const file = fs.openSync(this.#trace, 'r');
    for (const step of this.#read(file)) steps.add(step);
    fs.closeSync(file);
    this.#steps.set(kind, steps);
  }

  lengths(): string {
    return [...this.#lengths].map(([kind, ms]) => `${kind} ${ms.toFixed(1)}`).join(', ');
  }

  #read(file: number): string[] {
    const buffer = Buffer.alloc(16_384);
    const count = fs.readSync(file, buffer, 0, buffer.length, this.#from);
    this.#from += count;
    const lines = buffer.toString('utf8', 0, count).split('\n').filter(Boolean);
    return lines.map((line) => /^\S+ \S+ \S+ (.+)$/.exec(line)?.[1] ?? '').filter((step) => step !== '');
  }
}
