import { describe, expect, it } from 'vitest';
import type { Exit } from '../../helper/protocol/index.ts';
import { until, useStrata } from './support/strata.ts';

const context = useStrata();

const exitOf = async (container: string): Promise<Exit> => (await context.strata.connection.request('container.wait', { container })).exit;

/** A container whose command has got ready to take signals. */
async function ready(script: string): Promise<string> {
  const { strata } = context;
  const id = await strata.start({ command: ['sh', '-c', `${script}; touch /ready; while :; do sleep 0.05; done`] });
  await until(async () => (await strata.exec(id, ['test', '-e', '/ready'])).status === 0, 'the command to be ready');
  return id;
}

describe('why a container ended', () => {
  it('is said where somebody stopped it', async () => {
    const { strata } = context;
    const stop = async (id: string, graceMs: number) =>
      (await strata.connection.request('container.stop', { container: id, graceMs })).exit.reason;
    expect(await stop(await strata.start(), 200)).toBe('killed by SIGKILL: stopped by root, and did not end within 0.2 s of SIGTERM');
    expect(await stop(await strata.start(), 0)).toBe('killed by SIGKILL: stopped by root, with no time to end');
    expect(await stop(await ready('trap "exit 3" TERM'), 20_000)).toBe('exited with status 3: stopped by root');
  });

  it('is said where somebody sent a signal, or removed it', async () => {
    const { strata } = context;
    const killed = await strata.start();
    await strata.connection.request('container.kill', { container: killed });
    expect((await exitOf(killed)).reason).toBe('killed by SIGKILL: sent by root');
    const removed = await strata.start();
    const exit = exitOf(removed);
    await strata.remove(removed);
    expect((await exit).reason).toBe('killed by SIGKILL: removed by force by root');
  });

  it('is not put down to a signal that it took long ago', async () => {
    const { strata } = context;
    const id = await ready('trap "touch /heard" USR1; trap "exit 1" USR2');
    await strata.connection.request('container.kill', { container: id, signal: 'USR1' });
    await until(async () => (await strata.exec(id, ['test', '-e', '/heard'])).status === 0, 'the signal to be heard');
    await strata.exec(id, ['kill', '-USR2', '1']);
    expect((await exitOf(id)).reason).toBe('exited with status 1');
  });

  it('is not put down to Strata where another killed it', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { state } = await strata.find(id);
    if (state.kind === 'running') process.kill(state.pid, 'SIGKILL');
    expect((await exitOf(id)).reason).toBe('killed by SIGKILL from outside of Strata');
  });

  it('is known to the next helper', async () => {
    const { strata } = context;
    const id = await ready('trap "touch /asked; while ! test -e /go; do sleep 0.05; done; exit 7" TERM');
    const stopping = strata.connection.request('container.stop', { container: id, graceMs: 600_000 }).catch(() => {});
    await until(async () => (await strata.exec(id, ['test', '-e', '/asked'])).status === 0, 'the signal to be heard');
    await strata.helper.crash();
    await stopping;
    await strata.restart();
    await strata.exec(id, ['touch', '/go']);
    expect((await exitOf(id)).reason).toBe('exited with status 7: stopped by root');
    await strata.helper.stop();
    await strata.restart();
    const { state } = await strata.find(id);
    expect(state.kind === 'exited' && state.exit.reason).toBe('exited with status 7: stopped by root');
  });

  it('is said where its supervisor had to be killed, too', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { supervisorPid } = await strata.connection.request('container.inspect', { container: id });
    if (supervisorPid === null) throw new Error('it has no supervisor');
    process.kill(supervisorPid, 'SIGSTOP');
    await strata.connection.request('container.kill', { container: id });
    expect((await exitOf(id)).reason).toBe('killed with its supervisor, which did not answer: sent by root');
  });
});
