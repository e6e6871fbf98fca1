import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type ContainerDetails,
  type CreateOptions,
  type EventParams,
  eventRecordSchema,
  type Health,
  type HealthDetails,
} from '../../helper/protocol/index.ts';
import { withConfig } from './support/ociLayout.ts';
import { until, useStrata } from './support/strata.ts';

const context = useStrata();

type Healthcheck = NonNullable<CreateOptions['healthcheck']>;
const often = { intervalMs: 60, timeoutMs: 10_000, retries: 2 } as const;
const shell = (script: string): Healthcheck => ({ ...often, test: ['CMD-SHELL', script] });

const inspect = (id: string): Promise<ContainerDetails> => context.strata.connection.request('container.inspect', { container: id });
async function healthOf(id: string): Promise<HealthDetails> {
  const { health } = await inspect(id);
  if (health === undefined) throw new Error('its health is not checked');
  return health;
}
async function becomes(id: string, status: Health['status']): Promise<HealthDetails> {
  await until(async () => (await healthOf(id)).status === status, `the container to be ${status}`);
  return await healthOf(id);
}
/** Of the helper's and the checks' own processes that is one. */
const runs = async (id: string, command: string): Promise<boolean> =>
  (await context.strata.connection.request('container.processes', { container: id })).processes.some(
    (process) => process.command === command,
  );

describe('health checks', () => {
  it('tell whether a container is well, in lists, in events and to people', async () => {
    const { strata } = context;
    await strata.connection.request('events.subscribe', {});
    const told: string[] = [];
    strata.connection.onEvent((event, params) => {
      if (event !== 'container.changed') return;
      const { name, health } = (params as EventParams<'container.changed'>).container; // the event's own
      if (name === 'well' && health !== undefined && health.status !== told.at(-1)) told.push(health.status);
    });
    const id = await strata.start({ name: 'well', healthcheck: shell('cat /well') });
    const untouched = await strata.start({ name: 'new', healthcheck: { ...shell('true'), intervalMs: 600_000 } });
    expect((await strata.find(untouched)).health).toEqual({ status: 'starting', failingStreak: 0 });
    expect((await strata.cli(['ps', '--filter', 'name=new'])).stdout).toContain('(health: starting)');
    const unhealthy = await becomes(id, 'unhealthy');
    expect(unhealthy.failingStreak).toBeGreaterThanOrEqual(2);
    expect(unhealthy.results.at(-1)).toMatchObject({ exitCode: 1 });
    expect(unhealthy.results.at(-1)?.output).toMatch(/No such file/);
    expect((await strata.cli(['ps', '--filter', 'health=unhealthy'])).stdout).toContain('(unhealthy)');
    await strata.exec(id, ['sh', '-c', 'echo fine >/new; mv /new /well']);
    const healthy = await becomes(id, 'healthy');
    expect(healthy).toMatchObject({ failingStreak: 0 });
    expect(healthy.results.at(-1)).toMatchObject({ exitCode: 0, output: 'fine\n' });
    expect((await strata.cli(['ps'])).stdout).toMatch(/Up .* \(healthy\)/);
    await until(() => told.at(-1) === 'healthy', 'the events');
    expect(told).toEqual(['starting', 'unhealthy', 'healthy']);
    const { stdout } = await strata.cli([
      'events',
      '--since',
      '1h',
      '--until',
      'now',
      '--filter',
      'event=health_status',
      '--format',
      'json',
    ]);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => eventRecordSchema.parse(JSON.parse(line)));
    expect(lines.map(({ actor }) => [actor.name, actor.attributes['health']])).toEqual([
      ['well', 'unhealthy'],
      ['well', 'healthy'],
    ]);
    await until(async () => (await healthOf(id)).results.length === 5, 'more checks than are kept');
    expect((await inspect(id)).execSessions).toEqual([]);
    const { exit } = await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    expect(exit.signal).toBe('SIGKILL');
    expect((await strata.find(id)).health).toBeUndefined();
    expect((await healthOf(id)).status).toBe('healthy');
  });

  it('keep the beginning of what is written, and take all of it', async () => {
    const { strata } = context;
    const id = await strata.start({ healthcheck: shell('yes | head -c 500000; echo end >&2') });
    const { results } = await becomes(id, 'healthy');
    expect(results[0]?.output).toBe(`${'y\n'.repeat(2048)}…`);
  });

  it('that take too long are killed with all that they began', async () => {
    const { strata } = context;
    const healthcheck = { ...shell('sleep 4711 & sleep 4712'), timeoutMs: 300, retries: 1 };
    const id = await strata.start({ healthcheck: { ...healthcheck, intervalMs: 60_000, startIntervalMs: 50, startPeriodMs: 200 } });
    const { results } = await (async () => {
      await until(async () => (await healthOf(id)).results.length > 0, 'a check that takes too long');
      return await healthOf(id);
    })();
    expect(results[0]).toMatchObject({ exitCode: null });
    expect(results[0]?.output).toMatch(/^killed: it took longer than 0.3 s\n/);
    await until(async () => !(await runs(id, 'sleep 4711')) && !(await runs(id, 'sleep 4712')), 'the processes of the check to be gone');
    expect((await strata.find(id)).state.kind).toBe('running');
  });

  it('that cannot be run have failed', async () => {
    const { strata } = context;
    const id = await strata.start({ healthcheck: { ...often, test: ['CMD', 'nonsense'] } });
    const { results } = await becomes(id, 'unhealthy');
    expect(results[0]?.output).toContain('nonsense');
    expect(results[0]?.exitCode).toBeNull();
  });

  it('rest while the container stands still', async () => {
    const { strata } = context;
    const id = await strata.start({ healthcheck: shell('echo x >>/count') });
    await becomes(id, 'healthy');
    await strata.connection.request('container.pause', { container: id });
    const count = join((await inspect(id)).paths.upper, 'count');
    const before = await healthOf(id);
    const size = fs.statSync(count).size;
    // Another container's checks go on meanwhile: so many as this one would have had.
    const other = await strata.start({ healthcheck: shell('true') });
    await until(async () => (await healthOf(other)).results.length === 5, 'checks of another container');
    expect(fs.statSync(count).size).toBe(size);
    expect(await healthOf(id)).toEqual(before);
    await strata.connection.request('container.resume', { container: id });
    await until(() => fs.statSync(count).size > size, 'checks after it goes on');
    expect((await healthOf(id)).status).toBe('healthy');
  });

  it('are remembered and gone on with by the next helper', async () => {
    const { strata } = context;
    const hangs = await strata.start({ healthcheck: { ...shell('sleep 4713'), timeoutMs: 60_000 } });
    const id = await strata.start({ healthcheck: shell('test -e /well') });
    await becomes(id, 'unhealthy');
    await until(() => runs(hangs, 'sleep 4713'), 'a check that hangs');
    await strata.helper.crash();
    await strata.restart();
    expect((await strata.find(id)).health?.status).toBe('unhealthy');
    const { results, failingStreak } = await healthOf(id);
    expect(results.length).toBeGreaterThan(0);
    expect(failingStreak).toBeGreaterThanOrEqual(2);
    expect((await inspect(hangs)).execSessions).toEqual([]);
    await strata.exec(id, ['touch', '/well']);
    await becomes(id, 'healthy');
    // The one that nobody waits for any more has been ended; its place is taken by the next.
    await until(async () => {
      const { processes } = await strata.connection.request('container.processes', { container: hangs });
      return processes.filter(({ command }) => command === 'sleep 4713').length === 1;
    }, 'one check of that container');
    await strata.connection.request('container.restart', { container: id, graceMs: 0 });
    await becomes(id, 'healthy');
  });

  it("are the image's, unless a person says otherwise", async () => {
    const { strata } = context;
    const second = 1e9;
    const layout = withConfig(strata.place.directory, (config) => ({
      ...config,
      config: {
        Cmd: ['sleep', '1000'],
        Env: ['PATH=/bin'],
        Healthcheck: { Test: ['CMD-SHELL', 'test "$PATH" = /bin'], Interval: second / 20 },
      },
    }));
    await strata.connection.request('image.import', { source: { kind: 'ociLayout', path: layout }, reference: 'checked' });
    await becomes(await strata.start({ image: 'checked', command: undefined }), 'healthy');
    const without = (await strata.cli(['run', '-d', '--no-healthcheck', 'checked'])).stdout.trim();
    expect((await strata.find(without)).health).toBeUndefined();
    const flags = ['--health-cmd', 'exit 4', '--health-retries', '1', '--health-timeout', '5s', '--health-start-period', '0'];
    const other = (await strata.cli(['run', '-d', ...flags, '--health-start-interval', '1s', 'checked'])).stdout.trim();
    expect((await becomes(other, 'unhealthy')).results.at(-1)?.exitCode).toBe(4);
    const refused = await strata.cli(['run', '-d', '--no-healthcheck', '--health-cmd', 'true', 'checked']);
    expect(refused.stderr).toContain('exclude each other');
    expect((await strata.cli(['run', '-d', '--health-interval', 'often', 'checked'])).stderr).toContain(
      '--health-interval "often" is no time',
    );
    for (const id of [without, other]) await strata.remove(id);
  });

  it('cost many containers little', async () => {
    const { strata } = context;
    const ids = await Promise.all(Array.from({ length: 12 }, () => strata.start({ healthcheck: shell('true') })));
    await Promise.all(ids.map((id) => until(async () => (await healthOf(id)).results.length === 5, 'five checks', 200_000)));
    expect(await Promise.all(ids.map(async (id) => (await healthOf(id)).status))).toEqual(ids.map(() => 'healthy'));
  });
});
