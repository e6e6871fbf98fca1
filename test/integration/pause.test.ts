import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { failure, until, useStrata } from './support/strata.ts';

const context = useStrata();

const counting = ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done'];

async function state(id: string): Promise<object> {
  return (await context.strata.connection.request('container.inspect', { container: id })).state;
}

async function lines(id: string): Promise<number> {
  return (await context.strata.cli(['logs', id])).stdout.split('\n').length;
}

describe('pause', () => {
  it('stops every process where it is, and resume lets them go on', async () => {
    const { strata } = context;
    const id = await strata.start({ command: counting });
    await until(async () => (await lines(id)) > 3, 'the first lines');
    await strata.connection.request('container.pause', { container: id });
    await strata.connection.request('container.pause', { container: id }); // may be repeated
    expect(await state(id)).toMatchObject({ kind: 'running', paused: true });
    expect((await strata.cli(['ps'])).stdout).toContain('(Paused)');
    expect((await strata.cli(['ps', '-q', '--filter', 'status=paused'])).stdout.trim()).toBe(id.slice(0, 12));
    const { processes } = await strata.connection.request('container.processes', { container: id });
    const before = processes.map(({ cpuMs }) => cpuMs);
    const stood = await lines(id);
    const refused = await failure(strata.connection.request('container.exec', { container: id, command: ['true'] }));
    expect(refused).toMatchObject({ code: 'CONTAINER_PAUSED' });
    expect(refused.message).toContain('is paused');
    const after = await strata.connection.request('container.processes', { container: id });
    expect(after.processes.map(({ cpuMs }) => cpuMs)).toEqual(before);
    expect(await lines(id)).toBe(stood);
    await strata.connection.request('container.resume', { container: id });
    await strata.connection.request('container.resume', { container: id });
    expect(await state(id)).not.toHaveProperty('paused');
    await until(async () => (await lines(id)) > stood, 'more lines');
    await strata.connection.request('container.remove', { container: id, force: true });
  });

  it('does not outlast a stop, a kill or a removal', async () => {
    const { strata } = context;
    const trap = ['sh', '-c', 'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done'];
    const ready = async (): Promise<string> => {
      const id = await strata.start({ command: trap });
      await until(async () => (await strata.cli(['logs', id])).stdout === 'ready\n', 'the trap');
      await strata.connection.request('container.pause', { container: id });
      return id;
    };
    const stopped = await ready();
    expect((await strata.connection.request('container.stop', { container: stopped, graceMs: 20_000 })).exit.code).toBe(7);
    const killed = await ready();
    await strata.connection.request('container.kill', { container: killed });
    expect((await strata.connection.request('container.wait', { container: killed })).exit.signal).toBe('SIGKILL');
    const removed = await ready();
    await strata.connection.request('container.remove', { container: removed, force: true });
    for (const id of [stopped, killed]) await strata.connection.request('container.remove', { container: id });
  });

  it('never stands in the way of an end that is asked for at the same time', async () => {
    const { strata } = context;
    for (let round = 0; round < 12; round += 1) {
      const id = await strata.start();
      const end =
        round % 2 === 0
          ? strata.connection.request('container.stop', { container: id, graceMs: 0 })
          : strata.connection.request('container.kill', { container: id });
      const [paused] = await Promise.allSettled([strata.connection.request('container.pause', { container: id }), end]);
      if (paused.status === 'rejected') expect(String(paused.reason)).toMatch(/is just ending|does not run/);
      expect((await strata.connection.request('container.wait', { container: id }, { timeoutMs: 10_000 })).exit.signal).toBe('SIGKILL');
      await strata.connection.request('container.remove', { container: id });
    }
  });

  it('waits for what begins in the container, and keeps what comes later out', async () => {
    const { strata } = context;
    for (let round = 0; round < 8; round += 1) {
      const id = await strata.start();
      const execs = [1, 2, 3].map(() => strata.exec(id, ['true']).catch(() => undefined));
      await strata.connection.request('container.pause', { container: id });
      const { exit } = await strata.connection.request('container.stop', { container: id, graceMs: 0 }, { timeoutMs: 8000 });
      expect(exit.signal).toBe('SIGKILL');
      await Promise.all(execs);
      await strata.connection.request('container.remove', { container: id });
    }
  });

  it('by somebody else is no obstacle to a stop either', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { cgroup } = await strata.connection.request('container.inspect', { container: id });
    const [file, word] =
      cgroup.mode === 'v2'
        ? [`/sys/fs/cgroup${cgroup.path}/cgroup.freeze`, '1']
        : [`/sys/fs/cgroup/freezer${cgroup.path}/freezer.state`, 'FROZEN'];
    fs.writeFileSync(file, word);
    const { exit } = await strata.connection.request('container.stop', { container: id, graceMs: 0 }, { timeoutMs: 8000 });
    expect(exit.signal).toBe('SIGKILL');
    await strata.connection.request('container.remove', { container: id });
  });

  it('is known to the next helper, and of what does not run an error', async () => {
    const { strata } = context;
    const id = await strata.start({ command: counting });
    await strata.connection.request('container.pause', { container: id });
    await strata.helper.crash();
    await strata.restart();
    expect(await state(id)).toMatchObject({ kind: 'running', paused: true });
    await strata.connection.request('container.resume', { container: id });
    await strata.connection.request('container.kill', { container: id });
    await strata.connection.request('container.wait', { container: id });
    expect((await failure(strata.connection.request('container.pause', { container: id }))).code).toBe('CONTAINER_NOT_RUNNING');
    await strata.connection.request('container.remove', { container: id });
  });
});
