import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Channel } from '../../helper/protocol/index.ts';
import { distFile } from './support/helperProcess.ts';
import { failure, streamOf, until, useStrata } from './support/strata.ts';

const context = useStrata();

const mapped = {
  uidMaps: [{ containerId: 0, hostId: 200_000, size: 65_536 }],
  gidMaps: [{ containerId: 0, hostId: 200_000, size: 65_536 }],
};
const digest = (path: string): string => createHash('sha256').update(fs.readFileSync(path)).digest('hex');

describe('a container with an init', () => {
  it('runs its command as a child of pid 1, and ends with its status', async () => {
    const { strata } = context;
    const finished = await strata.run({
      init: true,
      command: ['sh', '-c', 'cat /proc/1/comm; echo $PPID $$; cat /proc/1/cmdline | tr "\\0" " "; exit 7'],
    });
    expect(finished.stdout).toMatch(/^strata-init\n1 2\nstrata-init -- sh -c /);
    expect(finished).toMatchObject({ status: 7, exit: { code: 7, signal: null } });
    const killed = await strata.run({ init: true, command: ['sh', '-c', 'kill -USR1 $$'] });
    expect(killed.exit.code).toBe(128 + 10);
  });

  it('reaps what loses its parent', async () => {
    const { strata } = context;
    const [without, withInit] = [await strata.start(), await strata.start({ init: true })];
    const zombies = async (id: string) =>
      (await strata.exec(id, ['ps', '-o', 'stat'])).stdout.split('\n').filter((state) => state.startsWith('Z')).length;
    for (const id of [without, withInit]) await strata.exec(id, ['sh', '-c', 'for i in 1 2 3; do (sleep 0.01 &); done']);
    await until(async () => (await zombies(without)) === 3, 'what a command that is no init leaves');
    await until(async () => (await strata.exec(withInit, ['pidof', 'sleep'])).stdout.trim() === '2', 'the orphans to end');
    expect(await zombies(withInit)).toBe(0);
  });

  it('hands signals on, so that a stop need not kill', async () => {
    const { strata } = context;
    const script = 'trap "echo got it; exit 3" TERM; echo ready; while :; do sleep 0.05; done';
    const started = await strata.connection.request('container.run', {
      options: { image: 'busybox', init: true, command: ['sh', '-c', script] },
      attach: true,
    });
    let output = '';
    const closed = new Promise<void>((resolve) => {
      streamOf(strata.connection, started.stream).consume({
        data: (_channel, bytes) => {
          output += Buffer.from(bytes).toString();
        },
        closed: () => resolve(),
      });
    });
    await until(() => output.includes('ready'), 'the trap');
    const { exit } = await strata.connection.request('container.stop', { container: started.id, graceMs: 20_000 });
    expect(exit).toMatchObject({ code: 3, signal: null });
    await closed;
    expect(output).toBe('ready\ngot it\n');
    // One without a handler ends, too, which as pid 1 it would not.
    const plain = await strata.start({ init: true });
    expect((await strata.connection.request('container.stop', { container: plain, graceMs: 20_000 })).exit.code).toBe(128 + 15);
  });

  it('says at its start what is wrong with the command', async () => {
    const { strata } = context;
    const start = (command: string[]) =>
      failure(strata.connection.request('container.run', { options: { image: 'busybox', init: true, command } }));
    expect((await start(['nonsense'])).code).toBe('COMMAND_NOT_FOUND');
    expect((await start(['/etc/passwd'])).code).toBe('COMMAND_NOT_EXECUTABLE');
    const limited = await failure(
      strata.connection.request('container.run', { options: { image: 'busybox', init: true, command: ['true'], limits: { pidsMax: 1 } } }),
    );
    expect(limited.message).toContain('fork the command');
  });

  it('has the terminal, whose Ctrl-C reaches the command once', async () => {
    const { strata } = context;
    const script = 'trap "echo interrupted" INT; echo ready; until read line; do :; done; echo "line $line"';
    const started = await strata.connection.request('container.run', {
      options: { image: 'busybox', init: true, tty: true, openStdin: true, command: ['sh', '-c', script] },
      attach: true,
      size: { columns: 80, rows: 24 },
    });
    const stream = streamOf(strata.connection, started.stream);
    let screen = '';
    const closed = new Promise<void>((resolve) => {
      stream.consume({
        data: (_channel, bytes) => {
          screen += Buffer.from(bytes).toString();
        },
        closed: () => resolve(),
      });
    });
    await until(() => screen.includes('ready'), 'the command');
    await stream.write(Channel.stdin, Buffer.from('\x03'));
    await until(() => screen.includes('interrupted'), 'the interrupt');
    await stream.write(Channel.stdin, Buffer.from('text\r'));
    await closed;
    expect(screen.match(/interrupted/g)).toHaveLength(1);
  });

  it.each([
    ['of root', {}],
    ['of another user', { user: 'nobody' }],
    ['in a user namespace', { userNamespace: mapped }],
    ['with every capability', { capAdd: ['ALL'], noNewPrivileges: false, seccomp: 'unconfined' as const }],
  ])('cannot change the file that the host runs: %s', async (_name, options) => {
    const { strata } = context;
    const before = digest(distFile('strata-runtime'));
    const attack = [
      'cat /proc/1/comm',
      'for way in ">" ">>" "<>"; do eval "echo x $way /proc/1/exe" 2>/dev/null && echo "written by $way"; done',
      'dd if=/dev/zero of=/proc/1/exe bs=1 count=1 conv=notrunc 2>/dev/null && echo "written by dd"',
      'exec 9</proc/1/exe && { echo x >/proc/self/fd/9; } 2>/dev/null && echo "written by a link"',
      'mount -o remount,bind,rw /proc/1/exe 2>/dev/null && echo remounted',
      'chmod 777 /proc/1/exe 2>/dev/null && echo "mode changed"',
      'true',
    ].join('\n');
    const finished = await strata.run({ init: true, command: ['sh', '-c', attack], ...options });
    expect(finished.stdout).toBe('strata-init\n');
    expect(digest(distFile('strata-runtime'))).toBe(before);
  });

  it('finds nothing of the host in its first process', async () => {
    const { strata } = context;
    const id = await strata.start({ init: true, capAdd: ['SYS_PTRACE'], noNewPrivileges: false, seccomp: 'unconfined' });
    const { stdout } = await strata.exec(id, [
      'sh',
      '-c',
      'ls -l /proc/1/fd | grep -c -- "->"; ls -l /proc/1/fd; cat /proc/1/environ | tr "\\0" "\\n"; grep -c . /proc/1/maps',
    ]);
    expect(stdout).not.toContain(strata.place.directory);
    expect(stdout).toMatch(/^3\n/);
    expect(await strata.cli(['run', '--rm', '--init', 'busybox', 'cat', '/proc/1/comm'])).toMatchObject({
      status: 0,
      stdout: 'strata-init\n',
    });
  });

  it('ends with its supervisor', async () => {
    const { strata } = context;
    const id = await strata.start({ init: true });
    const { supervisorPid, state } = await strata.connection.request('container.inspect', { container: id });
    if (supervisorPid === null || state.kind !== 'running') throw new Error('it does not run');
    process.kill(supervisorPid, 'SIGKILL');
    const { exit } = await strata.connection.request('container.wait', { container: id });
    expect(exit.reason).toBe('its supervisor ended unexpectedly');
    await until(() => !fs.existsSync(`/proc/${state.pid}`), 'its first process to end');
  });

  it('starts again, and is taken over by the next helper', async () => {
    const { strata } = context;
    const id = await strata.start({ init: true });
    await strata.helper.crash();
    await strata.restart();
    expect((await strata.exec(id, ['cat', '/proc/1/comm'])).stdout).toBe('strata-init\n');
    await strata.connection.request('container.restart', { container: id, graceMs: 0 });
    expect((await strata.exec(id, ['cat', '/proc/1/comm'])).stdout).toBe('strata-init\n');
  });
});
