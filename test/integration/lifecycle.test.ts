import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Exit, StrataError } from '../../helper/protocol/index.ts';
import { collect, failure, streamOf, until, useStrata } from './support/strata.ts';

const context = useStrata();

function isAlive(pid: number): boolean {
  return fs.existsSync(`/proc/${pid}`);
}

describe('stop', () => {
  it('ends a container that listens with the stop signal alone', async () => {
    const { strata } = context;
    const id = await strata.start({ command: ['sh', '-c', 'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done'] });
    // Before its trap is set the signal would say nothing to a process 1.
    await until(async () => (await strata.cli(['logs', id])).stdout === 'ready\n', 'the trap');
    const { exit } = await strata.connection.request('container.stop', { container: id, graceMs: 20_000 });
    expect(exit).toMatchObject({ code: 7, signal: null });
    expect((await strata.connection.request('container.stop', { container: id })).exit).toEqual(exit);
  });

  it('kills one that does not when the grace time is over', async () => {
    const { strata } = context;
    const id = await strata.start({ command: ['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done'] });
    const { exit } = await strata.connection.request('container.stop', { container: id, graceMs: 200 });
    expect(exit).toMatchObject({ code: null, signal: 'SIGKILL', oomKilled: false });
  });
});

describe('a stop that nobody waits for any more', () => {
  const deaf = ['sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done'];

  it('goes on to the kill when it was cancelled', async () => {
    const { strata } = context;
    const id = await strata.start({ command: deaf });
    const abort = new AbortController();
    const stopping = failure(strata.connection.request('container.stop', { container: id, graceMs: 300 }, { signal: abort.signal }));
    abort.abort();
    expect((await stopping).code).toBe('CANCELLED');
    const { exit } = await strata.connection.request('container.wait', { container: id }, { timeoutMs: 20_000 });
    expect(exit.signal).toBe('SIGKILL');
  });

  it('goes on to the kill when the client has gone', async () => {
    const { strata } = context;
    const id = await strata.start({ command: deaf });
    const other = await strata.helper.connect();
    const stopping = failure(other.request('container.stop', { container: id, graceMs: 300 }));
    // Answered after the stop was taken up: requests of a connection begin in their order.
    await other.request('container.list', { all: true });
    other.close();
    expect((await stopping).code).toBe('CONNECTION_CLOSED');
    const { exit } = await strata.connection.request('container.wait', { container: id }, { timeoutMs: 20_000 });
    expect(exit.signal).toBe('SIGKILL');
  });
});

describe('the end of init', () => {
  it('is the end of every process of the container', async () => {
    const { strata } = context;
    const id = await strata.start({ command: ['sh', '-c', 'sleep 1001 & sleep 1002 & setsid sleep 1003 & sleep 1004; exit'] });
    const sleeping = async () => (await strata.connection.request('container.processes', { container: id })).processes;
    await until(async () => (await sleeping()).length === 5, 'five processes');
    const processes = await sleeping();
    expect(processes.find((process) => process.containerPid === 1)?.command).toMatch(/^sh -c/);
    await strata.connection.request('container.kill', { container: id });
    await strata.connection.request('container.wait', { container: id });
    expect(processes.filter(({ hostPid }) => isAlive(hostPid))).toEqual([]);
  });
});

describe('names', () => {
  it('are unique, can be changed, and find the container like its id', async () => {
    const { strata } = context;
    const id = await strata.start({ name: 'web' });
    const taken = await failure(strata.connection.request('container.create', { options: { image: 'busybox', name: 'web' } }));
    expect(taken).toMatchObject({ code: 'NAME_IN_USE' });
    expect(taken.message).toContain('web');
    await strata.connection.request('container.rename', { container: id.slice(0, 12), name: 'shop' });
    expect((await strata.connection.request('container.inspect', { container: 'shop' })).id).toBe(id);
    expect((await failure(strata.connection.request('container.inspect', { container: 'web' }))).code).toBe('CONTAINER_NOT_FOUND');
  });
});

describe('remove', () => {
  it('wants force for a running container', async () => {
    const { strata } = context;
    const id = await strata.start();
    expect((await failure(strata.connection.request('container.remove', { container: id }))).code).toBe('CONTAINER_RUNNING');
    await strata.connection.request('container.remove', { container: id, force: true });
    expect((await failure(strata.connection.request('container.inspect', { container: id }))).code).toBe('CONTAINER_NOT_FOUND');
  });

  it('during a start is a removal of what runs', async () => {
    const { strata } = context;
    const { connection } = strata;
    for (const force of [false, true]) {
      const { id } = await connection.request('container.create', { options: { image: 'busybox', command: ['sleep', '1000'] } });
      const starting = connection.request('container.start', { container: id }).catch(() => undefined);
      const waiting = connection.request('container.wait', { container: id }).catch((error: unknown) => error);
      if (force) {
        await connection.request('container.remove', { container: id, force });
        await starting;
        // It was killed, or removed before it ran.
        expect(await waiting).toSatisfy((end) => end instanceof StrataError || (end as { exit: Exit }).exit.signal === 'SIGKILL');
      } else {
        const refused = await failure(connection.request('container.remove', { container: id }));
        expect(refused.code).toBe('CONTAINER_RUNNING');
        await starting;
        expect((await strata.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
      }
    }
  });

  it('is told to who waits for the exit of a container that never runs', async () => {
    const { connection } = context.strata;
    const { id } = await connection.request('container.create', { options: { image: 'busybox', command: ['true'] } });
    const waiting = failure(connection.request('container.wait', { container: id }));
    await connection.request('container.remove', { container: id });
    expect((await waiting).code).toBe('CONTAINER_NOT_FOUND');
  });

  it('happens by itself with autoRemove', async () => {
    const { strata } = context;
    const { id } = await strata.run({ command: ['true'], autoRemove: true });
    await until(async () => {
      const { containers } = await strata.connection.request('container.list', { all: true });
      return containers.every((container) => container.id !== id);
    }, 'the container to remove itself');
    await until(() => !fs.existsSync(`${strata.place.root}/containers/${id}`), 'its directory to be gone');
    expect((await failure(strata.connection.request('container.inspect', { container: id }))).code).toBe('CONTAINER_NOT_FOUND');
  });
});

describe('events', () => {
  it('follow the snapshot in order', async () => {
    const { strata } = context;
    const seen: string[] = [];
    let last = 0;
    let ordered = true;
    const off = strata.connection.onEvent((event, params) => {
      if (!('seq' in params)) return;
      ordered &&= params.seq > last;
      last = params.seq;
      seen.push(event);
    });
    last = (await strata.connection.request('events.subscribe', {})).seq;
    const { id } = await strata.run({ command: ['true'] });
    await strata.remove(id);
    await until(() => seen.includes('container.removed'), 'the removal');
    off();
    expect(ordered).toBe(true);
    expect(seen.indexOf('container.exited')).toBeGreaterThan(seen.indexOf('container.changed'));
    expect(seen.at(-1)).toBe('container.removed');
  });
});

describe('a helper that is killed', () => {
  it('leaves containers running; the next one adopts them with their logs', async () => {
    const { strata } = context;
    const id = await strata.start({ name: 'ticker', command: ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done'] });
    const before = await strata.find(id);
    await strata.helper.crash();
    if (before.state.kind !== 'running') throw new Error('the container does not run');
    expect(isAlive(before.state.pid)).toBe(true);
    await strata.restart();
    const after = await strata.find('ticker');
    expect(after.state).toEqual(before.state);
    expect((await strata.exec(id, ['echo', 'still here'])).stdout).toBe('still here\n');
    await until(async () => (await strata.cli(['logs', id])).stdout.includes('tick 4\n'), 'some ticks');
    await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    const logs = await strata.connection.request('container.logs', { container: id });
    const ticks = (await collect(strata.connection.stream(logs.stream))).stdout.trim().split('\n');
    expect(ticks.length).toBeGreaterThan(3);
    expect(ticks).toEqual(ticks.map((_, index) => `tick ${index + 1}`));
  });

  it('does not lose an exit that happened while it was away', async () => {
    const { strata } = context;
    const gate = `${strata.place.directory}/gate`;
    const id = await strata.start({ command: ['sh', '-c', 'sleep 1; exit 42'] });
    await strata.helper.crash();
    expect(fs.existsSync(gate)).toBe(false);
    await until(() => !fs.existsSync(`${strata.place.run}/containers/${id}/control.sock`), 'the supervisor to end');
    await strata.restart();
    expect((await strata.find(id)).state).toMatchObject({ kind: 'exited', exit: { code: 42, signal: null } });
  });

  it('leaves no container half made, whenever it dies', async () => {
    const { strata } = context;
    for (let round = 0; round < 6; round += 1) {
      const run = strata.connection
        .request('container.run', { options: { image: 'busybox', command: ['sleep', '1000'] } })
        .catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, round * 4));
      await strata.helper.crash();
      await run;
      await strata.restart();
      const { containers } = await strata.connection.request('container.list', { all: true });
      expect(containers.length).toBeLessThanOrEqual(1);
      for (const container of containers) {
        expect(['created', 'running', 'exited']).toContain(container.state.kind);
        await strata.remove(container.id);
      }
    }
  });
});

describe('a supervisor that is killed', () => {
  it('takes its container with it, and the record says that nobody saw the end', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { supervisorPid, state } = await strata.connection.request('container.inspect', { container: id });
    if (supervisorPid === null || state.kind !== 'running') throw new Error('the container does not run');
    process.kill(supervisorPid, 'SIGKILL');
    const { exit } = await strata.connection.request('container.wait', { container: id });
    expect(exit).toMatchObject({ code: null, signal: null });
    await until(() => !isAlive(state.pid), 'init to be gone');
  });

  it('is noted once, and never of the next run', async () => {
    const { strata } = context;
    const id = await strata.start();
    for (let turn = 0; turn < 3; turn += 1) {
      const { supervisorPid } = await strata.connection.request('container.inspect', { container: id });
      if (supervisorPid === null) throw new Error('the container does not run');
      process.kill(supervisorPid, 'SIGKILL');
      const { exit } = await strata.connection.request('container.stop', { container: id, graceMs: 0 });
      expect(exit.code).toBeNull();
      await strata.connection.request('container.start', { container: id });
      expect((await strata.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
    }
  });
});

describe('a stopped helper', () => {
  it('leaves containers running too, without a warm sandbox', async () => {
    const { strata } = context;
    const id = await strata.start();
    await strata.helper.stop();
    expect(fs.readdirSync(`${strata.place.run}/containers`)).toEqual([id]);
    await strata.restart();
    expect((await strata.find(id)).state.kind).toBe('running');
    const started = await strata.connection.request('container.attach', { container: id });
    streamOf(strata.connection, started.stream).close();
  });
});
