import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { inTurns } from '../../helper/containers/waiting.ts';
import { connect } from '../../helper/wire/connect.ts';
import type { Connection } from '../../helper/wire/connection.ts';
import { summarize } from '../bench/statistics.ts';
import { HelperProcess, type Place } from '../integration/support/helperProcess.ts';
import { cpuTicks, residentMib } from './processFigures.ts';
import type { Verdict } from './verdict.ts';

const askedAtOnce = 16;
const lists = 20;
/** V8 clears up some seconds after the last work; before that nothing is idle. */
const restMs = 15_000;
const idleSeconds = 20;

/** What many containers cost: a list of them, the helper while they sleep, the next helper's start. */
export async function soakMany(place: Place, { count }: { count: number }): Promise<Verdict[]> {
  const many = new Many(place, count);
  try {
    return [...(await many.measure('create', 'created')), ...(await many.measure('run', 'running'))];
  } finally {
    await many.close();
  }
}

class Many {
  readonly #place: Place;
  readonly #count: number;
  #helper: HelperProcess | undefined;

  constructor(place: Place, count: number) {
    this.#place = place;
    this.#count = count;
  }

  async measure(kind: 'create' | 'run', word: string): Promise<Verdict[]> {
    const count = this.#count;
    let { helper, connection } = await this.#next();
    const start = performance.now();
    const ids = await this.#make(connection, kind);
    const madeMs = performance.now() - start;
    await sleep(restMs);
    const idlePercent = await idle(helper.pid);
    const resident = residentMib(helper.pid);
    const listMs = await timesOfList(connection, count);
    await helper.crash();
    const crashed = performance.now();
    ({ helper, connection } = await this.#next());
    const adoptedMs = performance.now() - crashed;
    const { containers } = await connection.request('container.list', { all: true });
    const found = containers.filter(({ state }) => state.kind === word).length;
    await inTurns(ids, askedAtOnce, async (container) => {
      await connection.request('container.remove', { container, force: true });
    });
    connection.close();
    await helper.stop();
    return [
      { what: `${count} ${word}: made in`, value: madeMs / 1000, unit: 's' },
      { what: '  listed in (median of 20, round trip and parse)', value: summarize(listMs).median, unit: 'ms', atMost: 50 },
      { what: '  the first list of a client', value: listMs[0] ?? Number.NaN, unit: 'ms' },
      { what: `  helper, idle for ${idleSeconds} s`, value: idlePercent, unit: '% of a core', atMost: 1 },
      { what: '  helper, resident', value: resident, unit: 'MiB', atMost: 150 },
      { what: '  the next helper is ready after', value: adoptedMs / 1000, unit: 's', atMost: 10 },
      { what: '  and has lost', value: count - found, unit: '', atMost: 0 },
    ];
  }

  async close(): Promise<void> {
    await this.#helper?.stop();
  }

  async #next(): Promise<{ helper: HelperProcess; connection: Connection }> {
    const helper = await HelperProcess.start(this.#place, ['--log-level', 'warn']);
    this.#helper = helper;
    // Not the tests' strict connection, which parses all twice.
    const { connection } = await connect({ socketPath: this.#place.socketPath, client: { name: 'soak', version: '0' } });
    return { helper, connection };
  }

  async #make(connection: Connection, kind: 'create' | 'run'): Promise<string[]> {
    const options = { image: 'busybox', command: ['sleep', '100000'], labels: { app: 'soak' } };
    const ids: string[] = [];
    await inTurns(Array.from({ length: this.#count }), askedAtOnce, async () => {
      const made =
        kind === 'create' ? connection.request('container.create', { options }) : connection.request('container.run', { options });
      ids.push((await made).id);
    });
    return ids;
  }
}

async function timesOfList(connection: Connection, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < lists; round += 1) {
    const start = performance.now();
    const { containers } = await connection.request('container.list', { all: true });
    times.push(performance.now() - start);
    if (containers.length !== count) throw new Error(`${containers.length} containers are listed where ${count} were made`);
  }
  return times;
}

async function idle(pid: number): Promise<number> {
  const before = cpuTicks(pid);
  await sleep(idleSeconds * 1000);
  return (cpuTicks(pid) - before) / idleSeconds;
}
