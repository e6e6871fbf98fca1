// One index in a process of its own, so that the most memory it ever had is the index's: layerIndexing.ts ADDON LAYER…
import * as fs from 'node:fs';
import { findingRules } from '../../helper/layers/findingRules.ts';
import { loadAddon } from '../../helper/native/addon.ts';

export interface Measured {
  readonly entries: number;
  readonly paths: number;
  readonly buildMs: number;
  /** Of all threads. */
  readonly buildCpuMs: number;
  readonly efficiencyMs: number;
  readonly rulesMs: number;
  readonly indexMib: number;
  /** Above what the process had before. */
  readonly peakMib: number;
}

function mostMib(): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
}

async function timed<T>(action: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now();
  const result = await action();
  return [result, performance.now() - start];
}

async function measure(addonPath: string, layers: readonly string[]): Promise<Measured> {
  const { LayerIndex } = loadAddon(addonPath);
  const index = new LayerIndex();
  const before = mostMib();
  const cpu = process.cpuUsage();
  const [built, buildMs] = await timed(() => index.build(layers));
  const { user, system } = process.cpuUsage(cpu);
  const [, efficiencyMs] = await timed(() => index.efficiency({ mostPaths: 100 }));
  const [, rulesMs] = await timed(() => index.select(findingRules.map(({ query }) => query)));
  return {
    entries: built.layers.reduce((sum, layer) => sum + layer.entries, 0),
    paths: built.paths,
    buildMs,
    buildCpuMs: (user + system) / 1000,
    efficiencyMs,
    rulesMs,
    indexMib: built.memoryBytes / 1024 ** 2,
    peakMib: mostMib() - before,
  };
}

const [addonPath = '', ...layers] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await measure(addonPath, layers)));
