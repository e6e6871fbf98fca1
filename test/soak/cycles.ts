import * as fs from 'node:fs';
import { performance } from 'node:perf_hooks';
import { heldEvents } from '../../helper/events/hub.ts';
import { HelperProcess, type Place } from '../integration/support/helperProcess.ts';
import { leftovers } from '../integration/support/leaks.ts';
import { Strata } from '../integration/support/strata.ts';
import { countDescriptors, strayThings } from './cleanHost.ts';
import { namesIn } from './place.ts';
import { residentMib } from './processFigures.ts';
import { slope, type Verdict } from './verdict.ts';

interface Sample {
  readonly cycle: number;
  /** Events since the beginning. */
  readonly events: number;
  readonly residentKib: number;
  readonly descriptors: number;
  /** Of the whole host: v1's memory controller keeps a removed cgroup as long as a page is charged to it. */
  readonly memoryCgroups: number;
  readonly unreclaimableKib: number;
  /** Directories of the place that the kernel and the helper hold for containers. */
  readonly entries: number;
}

const samplesWanted = 100;
/** Until then the helper remembers more and more of ends and removals, and its heap finds its size. */
const warmUp = 3000;
/** Over fewer a slope says more of the moment at which memory was given back than of what grows. */
const leastJudged = 1000;

/** Containers come and go; of what they were nothing may stay, neither in the helper nor on the host. */
export async function soakCycles(place: Place, { count, until }: { count: number; until: number }): Promise<Verdict[]> {
  const helper = await HelperProcess.start(place, ['--log-level', 'warn']);
  const { interfaces } = leftovers(place);
  const strata = new Strata(helper, await helper.connect());
  const samples: Sample[] = [];
  const every = Math.max(1, Math.floor(count / samplesWanted));
  const start = performance.now();
  let cycle = 0;
  for (; cycle < count && performance.now() < until; cycle += 1) {
    await lives[cycle % lives.length]?.(strata);
    if (cycle % every === 0) samples.push(await take(helper, cycle));
  }
  const seconds = (performance.now() - start) / 1000;
  const containers = (await strata.connection.request('container.list', { all: true })).containers;
  // What removes itself may be at it still.
  let stray = strayThings(helper, { containers, interfaces, mostWarm: 1 });
  for (const end = performance.now() + 10_000; stray.length > 0 && performance.now() < end; ) {
    stray = await new Promise((resolve) => setTimeout(() => resolve(strayThings(helper, { containers: [], interfaces, mostWarm: 1 })), 50));
  }
  for (const line of stray) console.log(`  left: ${line}`);
  strata.connection.close();
  await helper.stop();
  return [
    { what: 'cycles', value: cycle, unit: '' },
    { what: 'a cycle', value: (seconds * 1000) / cycle, unit: 'ms' },
    ...judge(samples, stray),
  ];
}

function judge(samples: readonly Sample[], stray: readonly string[]): Verdict[] {
  const settled = settledOf(samples);
  const judged = (settled.at(-1)?.cycle ?? 0) - (settled[0]?.cycle ?? 0);
  return [
    { what: 'helper, resident at the end', value: (samples.at(-1)?.residentKib ?? Number.NaN) / 1024, unit: 'MiB', atMost: 150 },
    ...(judged < leastJudged
      ? [{ what: `growth: too few cycles to judge (${leastJudged} after ${warmUp})`, value: judged, unit: '' }]
      : growthOf(settled)),
    { what: 'left of containers that are gone', value: stray.length, unit: '', atMost: 0 },
  ];
}

/** When nothing fills any more that is bounded. */
function settledOf(samples: readonly Sample[]): Sample[] {
  return samples.filter(({ cycle, events }) => cycle >= warmUp && events >= heldEvents);
}

function growthOf(settled: readonly Sample[]): Verdict[] {
  const growth = (pick: (sample: Sample) => number): number =>
    slope(settled.map((sample) => ({ x: sample.cycle / 1000, y: pick(sample) })));
  return [
    { what: 'cycles that growth is judged by', value: (settled.at(-1)?.cycle ?? 0) - (settled[0]?.cycle ?? 0), unit: '' },
    {
      what: 'helper, growth of it over 1,000 cycles (least squares)',
      value: growth(({ residentKib }) => residentKib),
      unit: 'KiB',
      atMost: 256,
    },
    { what: 'helper, growth of descriptors', value: growth(({ descriptors }) => descriptors), unit: '', atMost: 1 },
    { what: 'directories in the place, growth', value: growth(({ entries }) => entries), unit: '', atMost: 1 },
    { what: 'host, growth of memory cgroups', value: growth(({ memoryCgroups }) => memoryCgroups), unit: '' },
    { what: 'host, growth of unreclaimable slab', value: growth(({ unreclaimableKib }) => unreclaimableKib), unit: 'KiB' },
  ];
}

async function take(helper: HelperProcess, cycle: number): Promise<Sample> {
  const { pid, place } = helper;
  const memory = /^memory\s+\d+\s+(\d+)/m.exec(fs.readFileSync('/proc/cgroups', 'utf8'))?.[1];
  const slab = /^SUnreclaim:\s+(\d+)/m.exec(fs.readFileSync('/proc/meminfo', 'utf8'))?.[1];
  return {
    cycle,
    events: await countEvents(helper),
    residentKib: residentMib(pid) * 1024,
    descriptors: countDescriptors(pid),
    memoryCgroups: Number(memory ?? Number.NaN),
    unreclaimableKib: Number(slab ?? Number.NaN),
    entries: namesIn(`${place.root}/containers`).length + namesIn(`${place.run}/containers`).length + leftovers(place).cgroups.length,
  };
}

/** By a connection that stays no subscriber. */
async function countEvents(helper: HelperProcess): Promise<number> {
  const connection = await helper.connect();
  const { seq } = await connection.request('events.subscribe', {});
  connection.close();
  return seq;
}

type Life = (strata: Strata) => Promise<unknown>;

/** From nothing to nothing, each in another way. */
const lives: readonly Life[] = [
  async (strata) => {
    const id = await strata.start();
    await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    await strata.connection.request('container.remove', { container: id });
  },
  async ({ connection }) => {
    const { id } = await connection.request('container.create', { options: { image: 'busybox', command: ['true'] } });
    await connection.request('container.start', { container: id });
    await connection.request('container.wait', { container: id });
    await connection.request('container.remove', { container: id });
  },
  (strata) => strata.run({ command: ['echo', 'out'], autoRemove: true }),
  async (strata) => {
    const id = await strata.start({ limits: { pidsMax: 50 } });
    await strata.exec(id, ['true']);
    await strata.connection.request('container.update', { container: id, limits: { pidsMax: 60 } });
    await strata.remove(id);
  },
];
