import { describe, expect, it } from 'vitest';
import type { ContainerSummary, CreateOptions } from '../../helper/protocol/index.ts';
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

  it('of what removes itself is refused', async () => {
    const id = await context.strata.start({ autoRemove: true });
    const refused = await failure(context.strata.connection.request('container.restart', { container: id }));
    expect(refused).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(refused.message).toContain('is removed when it stops');
    await remove(id);
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
