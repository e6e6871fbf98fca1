// How long the index of a large stack of layers takes, and how much memory, beside find(1) of the same trees.
import { spawnSync } from 'node:child_process';
import * as path from 'node:path';
import { distFile } from '../integration/support/helperProcess.ts';
import type { Measured } from './layerIndexing.ts';
import { benchLayers } from './layerSet.ts';
import { row } from './rounds.ts';
import { summarize } from './statistics.ts';

/** In turn, each in a process of its own; the first round, which may have to read from the disk, does not count. */
export function compareLayerIndexes(rounds: number): void {
  const layers = benchLayers();
  const indexes: Measured[] = [];
  const floors: Record<string, number[]> = { 'find (names)': [], 'find (a stat each)': [] };
  for (let round = 0; round <= rounds; round += 1) {
    const measured = index(layers);
    const names = find(layers, []);
    // What is not asked of an entry find does not look at.
    const stats = find(layers, ['-size', '+1000k']);
    if (round === 0) continue;
    indexes.push(measured);
    floors['find (names)']?.push(names);
    floors['find (a stat each)']?.push(stats);
  }
  const [first] = indexes;
  if (first === undefined) throw new Error('nothing was measured');
  const median = (of: (one: Measured) => number): number => summarize(indexes.map(of)).median;
  console.log(`\nIndex of ${first.entries} entries in ${layers.length} layers (${first.paths} paths), ${rounds} rounds, milliseconds`);
  console.log(row(['index', median(({ buildMs }) => buildMs).toFixed(0), `cpu ${median(({ buildCpuMs }) => buildCpuMs).toFixed(0)}`]));
  console.log(row(['  efficiency and worst paths', median(({ efficiencyMs }) => efficiencyMs).toFixed(0)]));
  console.log(row(['  every rule of check', median(({ rulesMs }) => rulesMs).toFixed(0)]));
  for (const [name, times] of Object.entries(floors)) console.log(row([name, summarize(times).median.toFixed(0)]));
  console.log(row(['index, MiB', median(({ indexMib }) => indexMib).toFixed(0)]));
  console.log(row(['most memory meanwhile, MiB', median(({ peakMib }) => peakMib).toFixed(0)]));
}

function index(layers: readonly string[]): Measured {
  const script = path.join(import.meta.dirname, 'layerIndexing.ts');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, distFile('strata.node'), ...layers], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Measured; // of our own script
}

function find(layers: readonly string[], expression: readonly string[]): number {
  const start = performance.now();
  const { status } = spawnSync('find', [...layers, ...expression], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error('find failed');
  return performance.now() - start;
}
