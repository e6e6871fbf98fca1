// What makes something that has to go again before the next turn, compared.
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Contender } from './contenders.ts';
import type { Engine } from './engines.ts';
import { printComparison } from './rounds.ts';

/** One way to make an image, and to be without it again, which is not measured. */
export interface Bringer {
  readonly name: string;
  bring(): Promise<void> | void;
  forget(): Promise<void> | void;
}

/** ext4 does not give the inodes of what was removed to anything new for five seconds, and searches past them meanwhile. */
const recentlyDeletedMs = 5500;

/** In turn, each on a file system that was synced and without what was brought before. */
export async function compareBringers(title: string, bringers: readonly Bringer[], rounds: number): Promise<void> {
  const times = new Map<string, number[]>();
  let present = bringers;
  // The first turn, which reads the blobs into the page cache and tells what a peer cannot do at all, does not count.
  for (let round = -1; round < rounds; round += 1) {
    for (const bringer of present) {
      execFileSync('sync');
      await sleep(recentlyDeletedMs);
      const start = process.hrtime.bigint();
      try {
        await bringer.bring();
      } catch (error) {
        if (round >= 0 || bringer.name.startsWith('strata')) throw error;
        console.log(`${bringer.name} is left out: ${error instanceof Error ? error.message.slice(0, 200) : String(error)}`);
        present = present.filter((other) => other !== bringer);
        continue;
      }
      const elapsed = Number(process.hrtime.bigint() - start) / 1e6;
      await bringer.forget();
      if (round >= 0) times.set(bringer.name, [...(times.get(bringer.name) ?? []), elapsed]);
    }
  }
  const contenders: Contender[] = present.map(({ name }) => ({ name, once: () => Promise.resolve(0), close: () => {} }));
  const others = present.map(({ name }) => name).filter((name) => !name.startsWith('strata'));
  printComparison(`${title}; ${rounds} rounds, milliseconds`, contenders, times, others);
}

export function run(command: string, args: readonly string[], environment: Record<string, string> = {}): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...environment } });
}

export function callEngine({ wrapper, command, environment }: Engine, args: readonly string[]): void {
  const [program = '', ...rest] = [...wrapper, ...command, ...args];
  run(program, rest, environment);
}
