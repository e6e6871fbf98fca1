import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { receiver } from './support/receiver.ts';
import { runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true, commands: ['python3'] });

const terminal = (config: { process: Record<string, unknown> }): void => {
  config.process['terminal'] = true;
};

describe('descriptors for an engine', () => {
  test('the pidfd of a container and of an exec', async () => {
    const { runtime } = context;
    const created = await receiver('pidfd', path.join(runtime.directory, 'create.sock'));
    const id = runtime.create('exec sleep 1000', undefined, ['--pidfd-socket', created.socket]);
    await created.ended;
    expect(created.stdout()).toBe(`${runtime.state(id).pid}\n`);
    runtime.must('start', id);
    const executed = await receiver('pidfd', path.join(runtime.directory, 'exec.sock'));
    const file = path.join(runtime.directory, id, 'exec.pid');
    expect(
      await runtime.callDetached(['exec', '--detach', '--pid-file', file, '--pidfd-socket', executed.socket, id, 'sleep', '900']),
    ).toBe(0);
    await executed.ended;
    expect(executed.stdout()).toBe(`${fs.readFileSync(file, 'utf8')}\n`);
    expect(runtime.call(['exec', '--pidfd-socket', '/nonexistent', id, 'true']).stderr).toContain('/nonexistent');
  });

  test('the terminal of a detached run; who stays in front needs no socket', async () => {
    const { runtime } = context;
    const console = await receiver('console', path.join(runtime.directory, 'run.sock'));
    const bundle = runtime.bundle('tty; stty size; echo done', (config) => {
      terminal(config);
      config.process['consoleSize'] = { width: 91, height: 33 };
    });
    const args = ['run', '--detach', '--console-socket', console.socket, '--bundle', bundle, path.basename(bundle)];
    expect(await runtime.callDetached(args)).toBe(0);
    await console.ended;
    expect(console.stdout()).toBe('/dev/ptmx\n/dev/pts/0\n33 91\ndone\n');
    const foreground = runtime.bundle('true', terminal);
    expect(runtime.call(['run', '--console-socket', console.socket, '--bundle', foreground, 'x']).stderr).toContain(
      'cannot use console socket',
    );
    expect(runtime.call(['run', '--detach', '--bundle', foreground, 'x']).stderr).toContain('cannot allocate tty');
    expect(runtime.call(['run', '--console-socket', '/x', '--bundle', runtime.bundle('true'), 'x']).stderr).toContain(
      'cannot use console socket',
    );
  });

  test('the output of a terminal in front has plain line feeds, as a pipe wants them', () => {
    const { runtime } = context;
    expect(runtime.output('echo one', terminal)).toBe('one\n');
    const id = runtime.start('exec sleep 1000');
    expect(runtime.must('exec', '--tty', id, 'echo', 'two')).toBe('two\n');
  });

  test('preserved ones are there by number, in run and exec, and no other', () => {
    const { runtime } = context;
    const file = path.join(runtime.directory, 'preserved');
    fs.writeFileSync(file, 'kept\n');
    const call = (args: string[]): string => {
      const fd = fs.openSync(file, 'r');
      const ran = spawnSync(runtimeBinary, ['--root', runtime.root, ...args], {
        stdio: ['ignore', 'pipe', 'pipe', fd, fd],
        encoding: 'utf8',
      });
      fs.closeSync(fd);
      expect(ran).toMatchObject({ status: 0, stderr: '' });
      return ran.stdout;
    };
    const script = 'cat <&3; ls /proc/self/fd | tr "\\n" " "';
    const bundle = runtime.bundle(script);
    // ls has its own descriptor of the directory, which takes the first free number.
    expect(call(['run', '--preserve-fds', '1', '--bundle', bundle, 'x'])).toBe('kept\n0 1 2 3 4 ');
    const id = runtime.start('exec sleep 1000');
    expect(call(['exec', '--preserve-fds', '2', id, 'sh', '-c', 'cat <&4; ls /proc/self/fd | tr "\\n" " "'])).toBe('kept\n0 1 2 3 4 5 ');
  });
});

describe('create and run', () => {
  test('--debug says who the init is, in the log where there is one', () => {
    const { runtime } = context;
    const run = (...options: string[]): string => {
      const bundle = runtime.bundle('true');
      const { status, stderr } = runtime.call(['--debug', ...options, 'run', '--bundle', bundle, path.basename(bundle)]);
      expect(status).toBe(0);
      return stderr;
    };
    expect(run()).toMatch(/init of container 'bundle-\d+' is process \d+/);
    const log = path.join(runtime.directory, 'debug.log');
    expect(run('--log', log)).toBe('');
    expect(fs.readFileSync(log, 'utf8')).toMatch(/level=debug msg="init of container/);
  });

  test('--no-pivot moves the root over the old one', () => {
    const { runtime } = context;
    const bundle = runtime.bundle(
      'cat /proc/1/cmdline | tr "\\0" " "; test -e /proc/1/root/bin/busybox && ls -d /work /boot /srv 2>/dev/null; echo end',
    );
    expect(runtime.call(['run', '--no-pivot', '--bundle', bundle, 'x'])).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^sh -c .*end\n$/s) as string,
    });
    expect(runtime.call(['run', '--no-pivot', '--bundle', bundle, 'x']).stdout).not.toMatch(/^\/(work|boot|srv)$/m);
  });

  test('--keep leaves the container for delete', () => {
    const { runtime } = context;
    const bundle = runtime.bundle('exit 3');
    expect(runtime.call(['run', '--keep', '--bundle', bundle, 'kept']).status).toBe(3);
    expect(runtime.state('kept').status).toBe('stopped');
    runtime.must('delete', 'kept');
  });
});

describe('exec', () => {
  test('--ignore-paused joins a paused container and goes on with it', async () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    runtime.must('pause', id);
    const child = spawn(runtimeBinary, ['--root', runtime.root, 'exec', '--ignore-paused', id, 'true'], { stdio: 'ignore' });
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    // It is in the cgroup and frozen there.
    await until(() => (JSON.parse(runtime.must('ps', '--format', 'json', id)) as number[]).length > 1, 'the process in the cgroup');
    expect(child.exitCode).toBe(null);
    runtime.must('resume', id);
    expect(await ended).toBe(0);
  });

  test('groups, no_new_privs, capabilities, a process from a file', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000', (config) => {
      config.process['noNewPrivileges'] = false;
    });
    const status = (...args: string[]): string =>
      runtime.must('exec', ...args, id, 'grep', '-E', '^(Groups|NoNewPrivs|CapBnd)', '/proc/self/status');
    expect(status()).toMatch(/Groups:\s*0? ?\nCapBnd:\s+0000000020000420\nNoNewPrivs:\s0/);
    expect(status('--additional-gids', '7', '-g', '8', '--no-new-privs', '--cap', 'CAP_NET_RAW')).toMatch(
      /Groups:\s*7 8 \nCapBnd:\s+0000000020002420\nNoNewPrivs:\s1/,
    );
    const file = path.join(runtime.directory, id, 'process.json');
    const process = {
      args: ['sh', '-c', 'id -u; pwd; echo $A; ulimit -n'],
      cwd: '/bin',
      user: { uid: 9, gid: 9 },
      env: ['A=b', 'PATH=/bin'],
    };
    fs.writeFileSync(file, JSON.stringify({ ...process, rlimits: [{ type: 'RLIMIT_NOFILE', soft: 77, hard: 78 }] }));
    expect(runtime.must('exec', '--process', file, id)).toBe('9\n/bin\nb\n77\n');
    expect(runtime.call(['exec', '--additional-gids', 'x', id, 'true']).stderr).toContain('--additional-gids');
  });

  test('a security label that the host cannot give is refused by name', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const has = (module: string): boolean =>
      fs.existsSync('/sys/kernel/security/lsm') && fs.readFileSync('/sys/kernel/security/lsm', 'utf8').split(',').includes(module);
    // Where the module is there, the profile is not.
    expect(runtime.call(['exec', '--apparmor', 'no-such-profile', id, 'true'])).toMatchObject({
      status: 255,
      stderr: expect.stringMatching(has('apparmor') ? /no-such-profile/ : /no-such-profile.*AppArmor is not enabled/) as string,
    });
    expect(runtime.call(['exec', '--process-label', 'a:b:c:s0', id, 'true'])).toMatchObject({
      status: 255,
      stderr: expect.stringMatching(has('selinux') ? /a:b:c:s0/ : /a:b:c:s0.*SELinux is not enabled/) as string,
    });
  });

  test('execCPUAffinity: the first cpus, then the others', () => {
    const { runtime } = context;
    const last = String(os.availableParallelism() - 1);
    const id = runtime.start('exec sleep 1000', (config) => {
      config.process['execCPUAffinity'] = { initial: '0', final: last };
    });
    expect(runtime.must('exec', id, 'grep', 'Cpus_allowed_list', '/proc/self/status')).toBe(`Cpus_allowed_list:\t${last}\n`);
    const file = path.join(runtime.directory, id, 'process.json');
    fs.writeFileSync(
      file,
      JSON.stringify({
        args: ['grep', 'Cpus_allowed_list', '/proc/self/status'],
        cwd: '/',
        env: ['PATH=/bin'],
        execCPUAffinity: { initial: '0' },
      }),
    );
    expect(runtime.must('exec', '--process', file, id)).toBe('Cpus_allowed_list:\t0\n');
    fs.writeFileSync(file, JSON.stringify({ args: ['true'], cwd: '/', execCPUAffinity: { initial: '0-' } }));
    expect(runtime.call(['exec', '--process', file, id]).stderr).toContain('execCPUAffinity.initial');
  });
});
