import { describe, expect, it } from 'vitest';
import { type ExecSummary, eventRecordSchema } from '../../helper/protocol/index.ts';
import { failure, streamOf, until, useStrata } from './support/strata.ts';

const context = useStrata();

const sessionsOf = async (container?: string): Promise<ExecSummary[]> =>
  (await context.strata.connection.request('exec.list', { container })).sessions;

async function detach(container: string, script: string, options: { tty?: boolean; user?: string } = {}): Promise<string> {
  const command = ['sh', '-c', script];
  return (await context.strata.connection.request('container.exec', { container, command, detach: true, ...options })).exec;
}

/** How sessions have ended so far, as everybody may know. */
async function endOf(exec: string): Promise<Readonly<Record<string, string>> | undefined> {
  const args = ['events', '--since', '1h', '--until', 'now', '--filter', 'event=exec_die', '--format', 'json'];
  const { stdout } = await context.strata.cli(args);
  const ends = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => eventRecordSchema.parse(JSON.parse(line)).actor.attributes);
  return ends.find(({ execId }) => execId === exec);
}

describe('exec sessions', () => {
  it('run detached, are listed while they run, and tell how they ended', async () => {
    const { strata } = context;
    const id = await strata.start({ name: 'sessions' });
    const exec = await detach(id, 'trap "exit 7" TERM; while :; do sleep 0.1; done', { user: 'nobody' });
    expect(await sessionsOf('sessions')).toMatchObject([
      {
        id: exec,
        container: id,
        containerName: 'sessions',
        user: 'nobody',
        tty: false,
        detached: true,
        command: ['sh', '-c', expect.any(String)],
      },
    ]);
    expect((await strata.connection.request('container.inspect', { container: id })).execSessions.map((session) => session.id)).toEqual([
      exec,
    ]);
    // The shell sets its trap after the start was answered.
    await until(async () => {
      await strata.connection.request('exec.kill', { session: exec.slice(0, 12), signal: 'TERM' }).catch(() => {});
      return (await sessionsOf(id)).length === 0;
    }, 'the end of the session');
    expect((await endOf(exec))?.['exitCode']).toMatch(/^(7|143)$/);
    expect(await sessionsOf()).toEqual([]);
    expect((await failure(strata.connection.request('exec.kill', { session: exec }))).code).toBe('EXEC_NOT_RUNNING');
    expect((await failure(strata.connection.request('exec.kill', { session: 'fedcba9876543210' }))).code).toBe('EXEC_NOT_FOUND');
    const quick = await detach(id, 'exit 3');
    await until(async () => (await endOf(quick)) !== undefined, 'the end of a session that ends by itself');
    expect(await endOf(quick)).toEqual({ execId: quick, exitCode: '3' });
  });

  it('are killed alone', async () => {
    const { strata } = context;
    const id = await strata.start();
    const [first, second] = [await detach(id, 'exec sleep 501'), await detach(id, 'exec sleep 502')];
    await strata.connection.request('exec.kill', { session: first });
    await until(async () => (await sessionsOf(id)).length === 1, 'the end of one of them');
    expect((await sessionsOf(id)).map((session) => session.id)).toEqual([second]);
    expect((await strata.find(id)).state.kind).toBe('running');
    await strata.connection.request('container.kill', { container: id });
    await until(async () => (await strata.find(id)).state.kind === 'exited', 'the end of the container');
    expect(await sessionsOf()).toEqual([]);
    expect((await failure(strata.connection.request('exec.kill', { session: second }))).code).toBe('EXEC_NOT_RUNNING');
  });

  it('with a terminal do not wait for a reader', async () => {
    const { strata } = context;
    const id = await strata.start();
    await detach(id, 'test -t 1 && yes | head -c 400000; touch /done', { tty: true });
    await until(async () => (await strata.exec(id, ['test', '-e', '/done'])).status === 0, 'all of the output to be gone');
    expect(await sessionsOf(id)).toEqual([]);
  });

  it('are known to the next helper, with who began them and when', async () => {
    const { strata } = context;
    const id = await strata.start();
    const stays = await detach(id, 'sleep 503; true', { user: 'nobody' });
    const ends = await detach(id, 'while ! test -e /end; do sleep 0.05; done');
    const attached = await strata.connection.request('container.exec', {
      container: id,
      command: ['sh', '-c', 'trap "" HUP; while :; do sleep 0.1; done'],
      tty: true,
    });
    let screen = '';
    streamOf(strata.connection, attached.stream).consume({
      data: (_channel, bytes) => {
        screen += Buffer.from(bytes).toString();
      },
    });
    expect(screen).toBe('');
    const before = await sessionsOf(id);
    expect(before.map(({ id: exec, detached }) => [exec, detached])).toEqual([
      [stays, true],
      [ends, true],
      [attached.exec, false],
    ]);
    await strata.helper.crash();
    await strata.restart();
    const after = await sessionsOf(id);
    const [first, second] = [before[0], after[0]];
    expect({ ...second, startedAt: '' }).toEqual({ ...first, startedAt: '' });
    expect(Math.abs(Date.parse(second?.startedAt ?? '') - Date.parse(first?.startedAt ?? ''))).toBeLessThan(2000);
    // One that ignores the hang-up goes on, and nobody is attached to it any more.
    expect(after.filter((session) => session.id !== attached.exec).map((session) => session.id)).toEqual([stays, ends]);
    await strata.exec(id, ['touch', '/end']);
    await until(async () => !(await sessionsOf(id)).some((session) => session.id === ends), 'the end of one that ends by itself');
    await strata.connection.request('exec.kill', { session: stays });
    await until(async () => !(await sessionsOf(id)).some((session) => session.id === stays), 'the end of one that was killed');
  });

  it('that were left go on to be listed until they end', async () => {
    const { strata } = context;
    const id = await strata.start();
    const command = ['sh', '-c', 'trap "" HUP; echo ready; while ! test -e /end; do sleep 0.05; done'];
    const { exec, stream } = await strata.connection.request('container.exec', { container: id, command, tty: true });
    const ready = new Promise<void>((resolve) => {
      streamOf(strata.connection, stream).consume({ data: () => resolve() });
    });
    await ready;
    streamOf(strata.connection, stream).close();
    await strata.exec(id, ['true']);
    expect((await sessionsOf(id)).map((session) => session.id)).toEqual([exec]);
    await strata.exec(id, ['touch', '/end']);
    await until(async () => (await sessionsOf(id)).length === 0, 'the end of the session');
    expect(await sessionsOf(id)).toEqual([]);
  });

  it('are listed and killed from the command line', async () => {
    const { strata } = context;
    const id = await strata.start({ name: 'cli-sessions' });
    const started = await strata.cli(['exec', '-d', 'cli-sessions', 'sleep', '504']);
    expect(started).toMatchObject({ status: 0, stderr: '' });
    const exec = started.stdout.trim();
    const listed = await strata.cli(['execs', 'cli-sessions']);
    expect(listed.stdout).toMatch(/EXEC ID +CONTAINER +HOST PID +USER +COMMAND +STARTED +ATTACHED\n/);
    expect(listed.stdout).toMatch(new RegExp(`${exec} +cli-sessions +\\d+ +0:0 +sleep 504 .*no`));
    expect((await strata.cli(['execs', '-q'])).stdout).toBe(`${exec}\n`);
    expect(await strata.cli(['kill-exec', exec])).toMatchObject({ status: 0, stdout: `${exec}\n` });
    await until(async () => (await sessionsOf(id)).length === 0, 'the end of the session');
    const again = await strata.cli(['kill-exec', exec]);
    expect(again.status).toBe(1);
    expect(again.stderr).toContain('has ended');
    expect((await strata.cli(['kill-exec', 'no-id'])).stderr).toContain('16 hexadecimal digits');
  });
});
