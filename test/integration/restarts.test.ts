import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ContainerSummary, CreateOptions } from '../../helper/protocol/index.ts';
import { leftovers } from './support/leaks.ts';
import { failure, until, useStrata } from './support/strata.ts';

const context = useStrata();

async function summary(id: string): Promise<ContainerSummary> {
  return await context.strata.connection.request('container.inspect', { container: id });
}

async function start(restartPolicy: CreateOptions['restartPolicy'], command: string[]): Promise<string> {
  return await context.strata.start({ command, restartPolicy });
}

async function remove(id: string): Promise<void> {
  await context.strata.connection.request('container.remove', { container: id, force: true });
}

function killSupervisor(id: string): void {
  const state = JSON.parse(fs.readFileSync(`${context.strata.place.run}/containers/${id}/state.json`, 'utf8')) as {
    supervisor: { pid: number };
  }; // docs/supervisor.md, "Files"
  process.kill(state.supervisor.pid, 'SIGKILL');
}

/** What a restart of the host leaves of a container that does not run: the run directory is gone, and the boot is another. */
function forgetBoot(id: string): void {
  const { root, run } = context.strata.place;
  fs.rmSync(`${run}/containers/${id}`, { recursive: true, force: true });
  const file = `${root}/containers/${id}/config.json`;
  const record = JSON.parse(fs.readFileSync(file, 'utf8')) as { startedInBoot: string }; // helper/containers/record.ts
  fs.writeFileSync(file, JSON.stringify({ ...record, startedInBoot: '00000000-0000-4000-8000-000000000000' }));
}

describe('restart', () => {
  it('is one request: stop and start', async () => {
    const { strata } = context;
    const id = await strata.start();
    const before = (await summary(id)).state;
    const { pid } = await strata.connection.request('container.restart', { container: id, graceMs: 0 });
    const { state } = await summary(id);
    expect(state).toMatchObject({ kind: 'running', pid });
    expect(state).not.toEqual(before);
    await strata.connection.request('container.kill', { container: id });
    await strata.connection.request('container.wait', { container: id });
    expect((await strata.cli(['restart', id])).status).toBe(0);
    expect((await summary(id)).state.kind).toBe('running');
    await remove(id);
  });

  it('goes on when who asked for it has gone', async () => {
    const { strata } = context;
    const id = await strata.start({ command: ['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done'] });
    const before = (await summary(id)).state;
    const other = await strata.helper.connect();
    const asked = failure(other.request('container.restart', { container: id, graceMs: 300 }));
    await other.request('container.list', { all: true });
    other.close();
    expect((await asked).code).toBe('CONNECTION_CLOSED');
    await until(async () => {
      const { state } = await summary(id);
      return state.kind === 'running' && JSON.stringify(state) !== JSON.stringify(before);
    }, 'the container to run again');
    await remove(id);
  });

  it('is over when somebody stops the container meanwhile', async () => {
    const { strata } = context;
    const id = await strata.start({
      command: ['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done'],
      restartPolicy: { name: 'always' },
    });
    const restarting = failure(strata.connection.request('container.restart', { container: id, graceMs: 500 }));
    await strata.connection.request('container.stop', { container: id, graceMs: 500 });
    const refused = await restarting;
    expect(refused.code).toBe('CANCELLED');
    expect(refused.message).toContain('was stopped by somebody else');
    expect((await summary(id)).state.kind).toBe('exited');
    await remove(id);
  });

  it('and start are ended by a stop that comes while they start the container', async () => {
    const { strata } = context;
    const id = await strata.start({ command: ['sleep', '1000'] });
    for (let round = 0; round < 6; round += 1) {
      await strata.connection.request('container.stop', { container: id, graceMs: 0 });
      const [started] = await Promise.allSettled([
        strata.connection.request('container.start', { container: id }),
        strata.connection.request('container.stop', { container: id, graceMs: 0 }),
      ]);
      // One that the stop overtook was given up.
      if (started.status === 'rejected') expect(started.reason).toMatchObject({ code: 'CANCELLED' });
      expect((await summary(id)).state.kind).toBe('exited');
    }
    await remove(id);
  });
});

describe('restart of what removes itself', () => {
  const slow = ['sh', '-c', 'echo run >> /runs; trap "sleep 1; exit 0" TERM; echo ready; while :; do sleep 0.05; done'];

  async function startSlow(): Promise<string> {
    const id = await context.strata.start({ command: slow, autoRemove: true });
    await until(async () => (await context.strata.cli(['logs', id])).stdout === 'ready\n', 'the trap');
    return id;
  }

  /** Its stop has begun. */
  async function restart(id: string): Promise<{ readonly answer: Promise<unknown> }> {
    const { place, connection } = context.strata;
    const answer = connection.request('container.restart', { container: id, graceMs: 10_000 });
    answer.catch(() => {}); // the test looks at it later, or not at all
    await until(() => fs.existsSync(`${place.root}/containers/${id}/restart.json`), 'the order');
    return { answer };
  }

  const runs = async (id: string): Promise<string> => (await context.strata.exec(id, ['cat', '/runs'])).stdout;
  const isGone = async (id: string): Promise<boolean> =>
    (await context.strata.connection.request('container.list', { all: true })).containers.every((container) => container.id !== id);

  it('keeps what it wrote, and it goes when it is stopped, or ends', async () => {
    const { strata } = context;
    const id = await strata.start({
      command: ['sh', '-c', 'echo run >> /runs; while [ ! -e /end ]; do sleep 0.05; done'],
      autoRemove: true,
    });
    for (const expected of ['run\nrun\n', 'run\nrun\nrun\n']) {
      expect((await strata.cli(['restart', '--time', '0', id])).status).toBe(0);
      expect(await runs(id)).toBe(expected);
    }
    await strata.exec(id, ['touch', '/end']);
    await until(() => isGone(id), 'its removal');
    const other = await strata.start({ autoRemove: true });
    await strata.connection.request('container.restart', { container: other, graceMs: 0 });
    await strata.connection.request('container.stop', { container: other, graceMs: 0 });
    await until(() => isGone(other), 'its removal');
  });

  it('is finished by the next helper, whether the container still ends or has ended', async () => {
    const { strata } = context;
    for (const waits of [false, true]) {
      const id = await startSlow();
      const { answer } = await restart(id);
      await strata.helper.crash();
      expect((await failure(answer)).code).toBe('CONNECTION_CLOSED');
      if (waits) await until(() => !fs.existsSync(`${strata.place.run}/containers/${id}/state.json`), 'the end of its supervisor');
      await strata.restart();
      await until(async () => {
        const { state } = await summary(id);
        return state.kind === 'running' && (await runs(id)) === 'run\nrun\n';
      }, 'the next run');
      await until(() => !fs.existsSync(`${strata.place.root}/containers/${id}/restart.json`), 'the end of the order');
      await strata.helper.crash();
      await strata.restart();
      expect(await runs(id)).toBe('run\nrun\n');
      await strata.connection.request('container.kill', { container: id });
      await until(() => isGone(id), 'its removal');
    }
  });

  it('ends with a removal where somebody stops it meanwhile, or it cannot be started', async () => {
    const { strata } = context;
    const stopped = await startSlow();
    const { answer } = await restart(stopped);
    await strata.connection.request('container.stop', { container: stopped });
    expect((await failure(answer)).code).toBe('CANCELLED');
    await until(() => isGone(stopped), 'its removal');
    const broken = await strata.start({ autoRemove: true });
    await strata.exec(broken, ['rm', '/bin/sleep']);
    const refused = await failure(strata.connection.request('container.restart', { container: broken, graceMs: 0 }));
    expect(refused.code).toBe('COMMAND_NOT_FOUND');
    await until(() => isGone(broken), 'its removal');
  });
});

describe('a restart policy', () => {
  it('on-failure:2 starts twice more, and then it has failed', async () => {
    const { strata } = context;
    const id = await start({ name: 'on-failure', maximumRetryCount: 2 }, ['sh', '-c', 'echo run; exit 3']);
    await until(async () => {
      const { state, restartCount } = await summary(id);
      return restartCount === 2 && state.kind === 'exited' && state.restartsAt === undefined;
    }, 'the last run');
    expect((await strata.cli(['logs', id])).stdout).toBe('run\nrun\nrun\n');
    // A person's start begins the count anew.
    await strata.connection.request('container.start', { container: id });
    await until(async () => (await summary(id)).restartCount === 2, 'two more restarts');
    await remove(id);
  });

  it('on-failure leaves a success alone', async () => {
    const id = await start({ name: 'on-failure' }, ['true']);
    await context.strata.connection.request('container.wait', { container: id });
    expect(await summary(id)).toMatchObject({ state: { kind: 'exited', exit: { code: 0 } }, restartCount: 0 });
    expect((await summary(id)).state).not.toHaveProperty('restartsAt');
    await remove(id);
  });

  it('says when it starts again, and a stop cancels that', async () => {
    const { strata } = context;
    const id = await start({ name: 'always' }, ['false']);
    // The waits double: some restarts on, there is time to look.
    await until(async () => {
      const { state, restartCount } = await summary(id);
      return restartCount >= 3 && state.kind === 'exited' && state.restartsAt !== undefined;
    }, 'a restart that is waited for');
    expect((await strata.cli(['ps', '--all'])).stdout).toContain('Restarting (1)');
    await strata.connection.request('container.stop', { container: id });
    const { restartCount, state } = await summary(id);
    expect(state).not.toHaveProperty('restartsAt');
    expect(state.kind).toBe('exited');
    await strata.connection.request('container.remove', { container: id }); // not running, and nothing pending that would stand in the way
    expect(restartCount).toBeGreaterThanOrEqual(3);
  });

  it('rests after a stop and a kill by a person', async () => {
    const { strata } = context;
    for (const end of ['container.stop', 'container.kill'] as const) {
      const id = await start({ name: 'always' }, ['sleep', '1000']);
      await strata.connection.request(end, end === 'container.stop' ? { container: id, graceMs: 0 } : { container: id });
      await strata.connection.request('container.wait', { container: id });
      const { state } = await summary(id);
      expect(state).toMatchObject({ kind: 'exited' });
      expect(state).not.toHaveProperty('restartsAt');
      await remove(id);
    }
  });

  it('rests after Ctrl-C in the foreground', async () => {
    const { strata } = context;
    const id = await start({ name: 'always' }, ['sh', '-c', 'trap "exit 130" INT; echo ready; while :; do sleep 0.05; done']);
    await until(async () => (await strata.cli(['logs', id])).stdout === 'ready\n', 'the trap');
    await strata.connection.request('container.kill', { container: id, signal: 'SIGINT' });
    expect((await strata.connection.request('container.wait', { container: id })).exit.code).toBe(130);
    expect((await summary(id)).state).not.toHaveProperty('restartsAt');
    await remove(id);
  });

  it('holds over the crash of the helper: always starts, unless-stopped only what nobody stopped', async () => {
    const { strata } = context;
    const stopped = await start({ name: 'unless-stopped' }, ['sleep', '1000']);
    const always = await start({ name: 'always' }, ['sleep', '1000']);
    const unstopped = await start({ name: 'unless-stopped' }, ['sh', '-c', 'sleep 0.3; exit 4']);
    for (const id of [stopped, always]) await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    await strata.helper.crash();
    await strata.restart();
    await until(async () => (await summary(always)).state.kind === 'running', 'the policy always');
    await until(async () => (await summary(unstopped)).restartCount > 0, 'the policy unless-stopped');
    expect(await summary(stopped)).toMatchObject({ state: { kind: 'exited' }, restartCount: 0 });
    for (const id of [stopped, always, unstopped]) await remove(id);
  });

  it('rests when a person stops what waits for its next start, over a crash of the helper and a restart of the host', async () => {
    const { strata } = context;
    const ids = await Promise.all((['unless-stopped', 'on-failure'] as const).map((name) => start({ name }, ['false'])));
    for (const id of ids) {
      await until(async () => {
        const { state, restartCount } = await summary(id);
        return restartCount >= 3 && state.kind === 'exited' && state.restartsAt !== undefined;
      }, 'a restart that is waited for');
      await strata.connection.request('container.stop', { container: id });
    }
    const before = await Promise.all(ids.map(summary));
    for (const hostRestarts of [false, true]) {
      await strata.helper.crash();
      if (hostRestarts) ids.forEach(forgetBoot);
      await strata.restart();
      for (const [index, id] of ids.entries()) {
        const { state, restartCount } = await summary(id);
        expect({ state, restartCount }).toEqual({ state: before[index]?.state, restartCount: before[index]?.restartCount });
        expect(state).not.toHaveProperty('restartsAt');
      }
    }
    for (const id of ids) await remove(id);
  });

  it('rests after a stop of which the helper could write nothing before it died', async () => {
    const { strata } = context;
    const id = await start({ name: 'unless-stopped' }, [
      'sh',
      '-c',
      'trap "sleep 1; exit 3" TERM; echo ready; while :; do sleep 0.05; done',
    ]);
    await until(async () => (await strata.cli(['logs', id])).stdout === 'ready\n', 'the trap');
    const { root, run } = strata.place;
    const asked = failure(strata.connection.request('container.stop', { container: id, graceMs: 10_000 }));
    await until(() => fs.existsSync(`${root}/containers/${id}/restarts.json`), 'the stop');
    // Its signal is on the way; what follows it is not seen here.
    await strata.connection.request('container.list', { all: true });
    await strata.helper.crash();
    await asked;
    fs.rmSync(`${root}/containers/${id}/restarts.json`);
    await until(() => !fs.existsSync(`${run}/containers/${id}/state.json`), 'the end of its supervisor');
    await strata.restart();
    const { state, restartCount } = await summary(id);
    expect({ state, restartCount }).toMatchObject({ state: { kind: 'exited', exit: { code: 3 } }, restartCount: 0 });
    expect(state).not.toHaveProperty('restartsAt');
    await remove(id);
  });

  it('starts after a restart of the host what ran, and of what a person had stopped what runs always', async () => {
    const { strata } = context;
    const ran = await Promise.all(
      (['always', 'unless-stopped', 'on-failure', 'no'] as const).map((name) => start({ name }, ['sleep', '1000'])),
    );
    const stopped = await Promise.all((['always', 'unless-stopped'] as const).map((name) => start({ name }, ['sleep', '1000'])));
    for (const id of stopped) await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    await strata.helper.crash();
    for (const id of ran) killSupervisor(id);
    await until(
      () => leftovers(strata.place).processes.every((line) => !ran.some((id) => line.includes(id))),
      'the end of the supervisors',
    );
    [...ran, ...stopped].forEach(forgetBoot);
    await strata.restart();
    const [always = '', unlessStopped = '', onFailure = '', no = ''] = ran;
    const [stoppedAlways = '', stoppedUnless = ''] = stopped;
    for (const id of [always, unlessStopped, onFailure, stoppedAlways])
      await until(async () => (await summary(id)).state.kind === 'running', 'a start by its policy');
    expect((await summary(no)).state).toMatchObject({ kind: 'exited', exit: { code: null, reason: 'the host restarted' } });
    expect((await summary(stoppedUnless)).state).toMatchObject({ kind: 'exited', exit: { signal: 'SIGKILL' } });
    for (const id of [...ran, ...stopped]) await remove(id);
  });

  it('can be changed, and not given to what removes itself', async () => {
    const { strata } = context;
    const id = await strata.start({ command: ['sh', '-c', 'while [ ! -e /end ]; do sleep 0.05; done; exit 1'] });
    expect((await strata.cli(['update', '--restart', 'on-failure:1', id])).status).toBe(0);
    expect((await summary(id)).restartPolicy).toEqual({ name: 'on-failure', maximumRetryCount: 1 });
    await strata.exec(id, ['touch', '/end']);
    await until(async () => (await summary(id)).restartCount === 1, 'the restart');
    await remove(id);
    const refused = await strata.cli(['run', '--rm', '--restart', 'always', 'busybox', 'true']);
    expect(refused.stderr).toContain('cannot have the restart policy always');
    expect((await strata.cli(['run', '--restart', 'sometimes', 'busybox', 'true'])).stderr).toContain('--restart "sometimes" is none of');
  });
});
