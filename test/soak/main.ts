// npm run soak [-- crashes|cycles|many|disk] [--cycles N] [--seconds N] [--seed N]: whether Strata stays whole, small and quick over crashes,
// thousands of containers and full disks. Without a name everything, in 20 minutes at most. What it chooses follows from the seed, which it prints.
import * as fs from 'node:fs';
import * as path from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { summarize } from '../bench/statistics.ts';
import { LoopStore } from '../bench/store.ts';
import type { Place } from '../integration/support/helperProcess.ts';
import { CrashMatrix } from './crashes/crashMatrix.ts';
import { soakCycles } from './cycles.ts';
import { soakMany } from './many.ts';
import { clearPlace, placeIn } from './place.ts';
import { TightDisk } from './tightDisk.ts';
import { isGood, printVerdicts, type Verdict } from './verdict.ts';

interface Bounds {
  /** How often, or how many. */
  readonly count: number;
  /** By performance.now(): what is not done by then is left. */
  readonly until: number;
  readonly seed: number;
}

interface Section {
  readonly title: string;
  readonly count: number;
  readonly seconds: number;
  readonly run: (bounds: Bounds) => Promise<Verdict[]>;
}

const sections: Readonly<Record<string, Section>> = {
  crashes: { title: 'Crashes in the midst of operations', count: 500, seconds: 330, run: soakCrashes },
  disk: { title: 'The same on a disk that is full meanwhile', count: 100, seconds: 150, run: soakDisk },
  cycles: {
    title: 'Containers that come and go',
    count: 10_000,
    seconds: 420,
    run: (bounds) => inLoopStore((place) => soakCycles(place, bounds)),
  },
  many: { title: 'Many containers at once', count: 1000, seconds: 240, run: (bounds) => inLoopStore((place) => soakMany(place, bounds)) },
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { cycles: { type: 'string' }, seconds: { type: 'string' }, seed: { type: 'string' } },
});
const names = positionals.length > 0 ? positionals : Object.keys(sections);
const seed = Number(options.seed ?? Math.floor(Math.random() * 2 ** 32));
let isAllGood = true;
for (const name of names) {
  const section = sections[name];
  if (section === undefined) throw new Error(`there is no section "${name}": ${Object.keys(sections).join(', ')}`);
  const count = Number(options.cycles ?? section.count);
  console.log(`\n${name}: ${count}, seed ${seed}`);
  const verdicts = await section.run({ count, until: performance.now() + Number(options.seconds ?? section.seconds) * 1000, seed });
  printVerdicts(section.title, verdicts);
  isAllGood &&= verdicts.every(isGood);
}
process.exitCode = isAllGood ? 0 : 1;

async function inLoopStore<T>(act: (place: Place) => Promise<T>): Promise<T> {
  using store = new LoopStore();
  const place = placeIn(store.directory, 'p');
  try {
    return await act(place);
  } finally {
    await clearPlace(place);
  }
}

async function soakCrashes(bounds: Bounds): Promise<Verdict[]> {
  return await inLoopStore(async (place) => await crash(await CrashMatrix.begin(place, { seed: bounds.seed }), bounds));
}

/** The data directory is a small ext4 of its own; the run directory is not on it, as /run is not. */
async function soakDisk(bounds: Bounds): Promise<Verdict[]> {
  return await inLoopStore(async (place) => {
    using small = new LoopStore(24);
    const root = path.join(small.directory, 'root');
    fs.mkdirSync(place.directory, { recursive: true });
    const matrix = await CrashMatrix.begin({ ...place, root }, { seed: bounds.seed, disk: new TightDisk(small.directory) });
    return await crash(matrix, bounds);
  });
}

async function crash(matrix: CrashMatrix, { count, until }: Bounds): Promise<Verdict[]> {
  let cycle = 0;
  for (let told = 0; cycle < count && performance.now() < until; cycle += 1) {
    await matrix.cycle();
    for (const problem of matrix.problems.slice(told)) console.log(`  cycle ${cycle}: ${problem}`);
    told = matrix.problems.length;
  }
  await matrix.end();
  const adoption = summarize(matrix.adoptionMs);
  return [
    { what: 'crashes', value: cycle, unit: '' },
    ...[...matrix.crashes].map(([victim, value]) => ({ what: `  of ${victim}`, value, unit: '' })),
    ...Object.entries(matrix.outcomes).map(([outcome, value]) => ({ what: `  operations ${outcome}`, value, unit: '' })),
    { what: 'ends of runs that were looked at', value: matrix.runs, unit: '' },
    { what: 'the next helper is ready after', value: adoption.median, unit: 'ms' },
    { what: 'lies, losses and leaks', value: matrix.problems.length, unit: '', atMost: 0 },
  ];
}
