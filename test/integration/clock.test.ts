import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HelperProcess, makePlace } from './support/helperProcess.ts';
import { leftovers, removeCgroupParent } from './support/leaks.ts';
import { Strata, until } from './support/strata.ts';

const hour = 3600;
let strata: Strata;
let environment: NodeJS.ProcessEnv;
let setClock: (offsetSeconds: number) => void;

beforeEach(async () => {
  const place = makePlace();
  const library = path.join(place.directory, 'clock.so');
  execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-o', library, path.resolve(import.meta.dirname, '../fixtures/clock.c')]);
  const offset = path.join(place.directory, 'offset');
  setClock = (seconds) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(seconds));
    // In place: the helper has it mapped.
    const file = fs.openSync(offset, fs.existsSync(offset) ? 'r+' : 'w');
    fs.writeSync(file, bytes, 0, 8, 0);
    fs.closeSync(file);
  };
  setClock(0);
  environment = { LD_PRELOAD: library, CLOCK_OFFSET: offset };
  const helper = await HelperProcess.start(place, [], environment);
  strata = new Strata(helper, await helper.connect());
});

afterEach(async () => {
  const { connection, helper, place } = strata;
  const { containers } = await connection.request('container.list', { all: true });
  for (const { id } of containers) await strata.remove(id);
  connection.close();
  await helper.stop();
  await until(() => leftovers(place).processes.length === 0, 'the processes of the place to end');
  removeCgroupParent(place);
  fs.rmSync(place.directory, { recursive: true });
});

describe("a host's clock that is set", () => {
  it('back or forward keeps the figures coming', async () => {
    const { connection } = strata;
    await strata.start();
    let readings = 0;
    let atMs = 0;
    connection.onEvent((event, params) => {
      if (event !== 'stats.sampled' || !('samples' in params)) return;
      readings += 1;
      atMs = params.samples[0]?.atMs ?? 0;
    });
    await connection.request('stats.subscribe', { intervalMs: 200 });
    await until(() => readings >= 2, 'the first readings');
    for (const offset of [-hour, hour]) {
      setClock(offset);
      const before = readings;
      await until(() => readings >= before + 3, 'more readings', 5000);
      expect(Math.abs(atMs - (Date.now() + offset * 1000))).toBeLessThan(10_000);
    }
  });

  it('while a container is being stopped does not make its grace longer', async () => {
    const { connection } = strata;
    const id = await strata.start({ command: ['sh', '-c', 'trap "" TERM; echo deaf; while :; do sleep 0.05; done'] });
    await until(async () => (await strata.cli(['logs', id])).stdout === 'deaf\n', 'the trap');
    const stopping = connection.request('container.stop', { container: id, graceMs: 300 }, { timeoutMs: 10_000 });
    setClock(-hour);
    expect((await stopping).exit).toMatchObject({ signal: 'SIGKILL' });
  });

  it('back by a day between two helpers changes nothing of what was told', async () => {
    const ended = await strata.run({ command: ['sh', '-c', 'exit 5'] });
    const running = await strata.start({ name: 'runs' });
    const { connection: before } = strata;
    const told = (await before.request('container.list', { all: true })).containers;
    await strata.helper.crash();
    setClock(-24 * hour);
    const helper = await HelperProcess.start(strata.place, [], environment);
    strata = new Strata(helper, await helper.connect());
    const now = (await strata.connection.request('container.list', { all: true })).containers;
    expect(now.map(({ id, state }) => ({ id, state }))).toEqual(told.map(({ id, state }) => ({ id, state })));
    expect((await strata.exec(running, ['echo', 'alive'])).stdout).toBe('alive\n');
    // Younger than what was made a day later by the clock, and a name of its own all the same.
    expect(await strata.sh('echo next', { name: 'next' })).toBe('next\n');
    await strata.connection.request('container.start', { container: ended.id });
    const { exit } = await strata.connection.request('container.wait', { container: ended.id });
    expect(exit.code).toBe(5);
  });
});
