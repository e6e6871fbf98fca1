import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as path from 'node:path';
import * as readline from 'node:readline';
import type { Readable, Writable } from 'node:stream';

/** test/fixtures/faults.c tells what it does. */
export function buildInjector(directory: string): string {
  const injector = path.join(directory, 'faults');
  execFileSync('gcc', ['-O1', '-o', injector, path.resolve(import.meta.dirname, '../../../fixtures/faults.c')]);
  return injector;
}

/** What is swept side by side: most of the time is the kernel's waiting. */
const workers = 4;

/**
 * Every call from number `from` on, until one run has not come to it: its number. `step` tries one call in a place, one a worker, and says whether it was
 * hit.
 */
export async function sweep<P>(
  from: number,
  makePlace: () => P | Promise<P>,
  step: (place: P, at: number) => Promise<boolean>,
): Promise<number> {
  let next = from;
  let last = Number.POSITIVE_INFINITY;
  const work = async (): Promise<void> => {
    const place = await makePlace();
    while (next < last) {
      const at = next++;
      const hit = await step(place, at).catch((error: unknown) => {
        last = 0; // the others end too, before the test does
        throw error;
      });
      if (!hit) last = Math.min(last, at);
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: workers }, work));
  for (const result of ended) if (result.status === 'rejected') throw result.reason;
  return last;
}

export interface Report {
  readonly calls: number;
  /** The call that was hit, with what it was about; '-': none. */
  readonly hit: string;
}

/** A command whose calls fail as it is told, again and again. */
export class ServedFaults {
  /** The exit status of the command itself; its descendants may go on. */
  readonly ended: Promise<number>;
  /** All of them have ended. */
  readonly over: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #control: Writable;
  #onReport: ((report: Report) => void) | undefined;
  #last: Report | undefined;

  constructor(injector: string, command: readonly string[], stderr: number) {
    this.#child = spawn(injector, ['serve', ...command], { stdio: ['pipe', 'ignore', stderr, 'pipe'] });
    const { stdin, stdio } = this.#child;
    if (stdin === null) throw new Error('the injector has no standard input');
    this.#control = stdin;
    this.over = once(this.#child, 'exit');
    const ended = Promise.withResolvers<number>();
    this.ended = ended.promise;
    const lines = readline.createInterface({ input: stdio[3] as Readable }); // a pipe, as asked for
    lines.on('line', (line) => {
      const [, first = '', rest = ''] = /^(\S+) (.*)$/.exec(line) ?? [];
      if (first === 'ended') {
        ended.resolve(Number(rest));
        return;
      }
      const report = { calls: Number(first), hit: rest };
      if (this.#onReport === undefined) this.#last = report;
      this.#onReport?.(report);
      this.#onReport = undefined;
    });
    this.#control.on('error', () => {}); // it has ended, and given its last report
  }

  /** From now on call number `at` fails with this errno, or ends who calls. 0: none. What happened since it was said last; once all have ended, the same for ever. */
  async arm(at: number, how: string): Promise<Report> {
    if (this.#last !== undefined) return this.#last;
    const report = new Promise<Report>((resolve) => {
      this.#onReport = resolve;
    });
    this.#control.write(`${at} ${how}\n`);
    return await report;
  }
}
