import { setTimeout as sleep } from 'node:timers/promises';
import type { Contender } from './contenders.ts';
import { pairedRatio, summarize } from './statistics.ts';

/** Each in turn, after three turns that do not count; milliseconds by name. */
export async function compareInTurn(
  contenders: readonly Contender[],
  rounds: number,
  pauseMs: number,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = -3; round < rounds; round += 1) {
    for (const contender of contenders) {
      const elapsed = await contender.once();
      if (round >= 0) times.get(contender.name)?.push(elapsed);
      await sleep(pauseMs);
    }
  }
  return times;
}

/** A row each, with the paired ratios to those of `references` that took part. */
export function printComparison(
  title: string,
  contenders: readonly Contender[],
  times: ReadonlyMap<string, readonly number[]>,
  references: readonly string[],
): void {
  const present = references.filter((name) => times.has(name));
  console.log(`\n${title}`);
  console.log(row(['', 'median', 'p5', ...present.map((name) => `to ${name.split(' ')[0]}`), 'peak KiB']));
  for (const { name, peakKib } of contenders) {
    const own = times.get(name) ?? [];
    const { median, p5 } = summarize(own);
    const ratios = present.map((other) => pairedRatio(own, times.get(other) ?? []).toFixed(3));
    console.log(row([name, median.toFixed(1), p5.toFixed(1), ...ratios, peakKib === undefined ? '-' : String(peakKib)]));
  }
}

export function row(cells: readonly string[]): string {
  return cells.map((cell, index) => (index === 0 ? cell.padEnd(28) : cell.padStart(11))).join('');
}
