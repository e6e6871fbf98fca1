import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { type Config, runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });

describe('a container from create to delete', () => {
  test('waits for start, runs, is killed, and leaves nothing', async () => {
    const { runtime } = context;
    const id = runtime.create('echo started; exec sleep 1000', (config) => {
      config.annotations = { 'org.example.key': 'value' };
    });
    const created = runtime.state(id);
    expect(created).toMatchObject({ status: 'created', annotations: { 'org.example.key': 'value' } });
    expect(fs.readFileSync(path.join(runtime.directory, id, 'pid'), 'utf8')).toBe(String(created.pid));
    expect(runtime.printed(id)).toBe('');
    runtime.must('start', id);
    await until(() => runtime.printed(id) === 'started\n', 'the first line');
    expect(runtime.state(id)).toMatchObject({ status: 'running', pid: created.pid });
    expect(runtime.call(['start', id])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('cannot start an already running container') as string,
    });
    expect(runtime.call(['delete', id])).toMatchObject({ status: 1, stderr: expect.stringContaining('that is not stopped') as string });
    runtime.must('kill', id, 'KILL');
    await until(() => runtime.state(id).status === 'stopped', 'the end');
    expect(runtime.call(['kill', id, '15'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('container not running') as string,
    });
    runtime.must('delete', id);
    expect(runtime.call(['state', id])).toMatchObject({ status: 1, stderr: expect.stringContaining('does not exist') as string });
    expect(runtime.call(['delete', id]).status).toBe(1);
    expect(runtime.call(['delete', '--force', id])).toMatchObject({ status: 0, stderr: '' });
  });

  test('waits on where it can open no more files for a while', async () => {
    const { runtime } = context;
    const id = runtime.create('echo started');
    const { pid } = runtime.state(id);
    const mayOpen = (files: number): unknown => spawnSync('prlimit', ['--pid', String(pid), `--nofile=${files}:`]).status;
    expect(mayOpen(0)).toBe(0);
    // Each asks whether it waits still: it takes the first call, and cannot take the others now.
    for (let i = 0; i < 3; ++i) expect(runtime.state(id)).toMatchObject({ status: 'created', pid });
    expect(mayOpen(1024)).toBe(0);
    runtime.must('start', id);
    await until(() => runtime.printed(id) === 'started\n', 'the first line');
  });

  test('run takes over output and exit status', () => {
    const { runtime } = context;
    expect(runtime.run('echo out; echo err >&2; exit 7')).toEqual({ status: 7, stdout: 'out\n', stderr: 'err\n' });
    expect(runtime.run('kill -9 $$; sleep 5', (config) => config.linux.namespaces.splice(0, 1)).status).toBe(137);
  });

  test('what cannot start says why in the engine’s form, and is gone', () => {
    const { runtime } = context;
    const log = path.join(runtime.directory, 'log.json');
    const bundle = runtime.bundle('', (config) => {
      config.process['args'] = ['nosuch'];
    });
    expect(runtime.call(['--log', log, '--log-format', 'json', 'create', '--bundle', bundle, 'x']).status).toBe(127);
    const said = JSON.parse(fs.readFileSync(log, 'utf8')) as { level: string; msg: string; time: string }; // the known runtime's log line
    expect(said).toMatchObject({ level: 'error', msg: expect.stringContaining('executable file not found in $PATH') as string });
    expect(Date.parse(said.time)).not.toBeNaN();
    expect(runtime.run('', (config) => Object.assign(config.process, { args: ['/etc/passwd'] }))).toMatchObject({
      status: 126,
      stderr: expect.stringContaining('permission denied') as string,
    });
    // At create: engines clean up after that, but not after a start that fails.
    const refused = (change: (config: Config) => void): unknown =>
      runtime.call(['create', '--bundle', runtime.bundle('true', change), 'x']);
    expect(refused((config) => Object.assign(config.process, { args: ['/etc'] }))).toMatchObject({
      status: 126,
      stderr: expect.stringContaining('it is a directory') as string,
    });
    fs.writeFileSync(path.join(runtime.rootfs, 'bin/unready'), '#!/bin/sh\n', { mode: 0o644 });
    expect(refused((config) => Object.assign(config.process, { args: ['unready'] }))).toMatchObject({
      status: 126,
      stderr: expect.stringContaining('permission denied') as string,
    });
    expect(refused((config) => Object.assign(config.process, { cwd: '/etc/passwd/x' }))).toMatchObject({
      status: 126,
      stderr: expect.stringContaining("enter the working directory '/etc/passwd/x': not a directory") as string,
    });
    expect(runtime.call(['create', '--bundle', '/nonexistent', 'x']).stderr).toContain('no such file or directory');
  });

  test('a program that turns out not to run has run and ended, with the reason on its stderr', async () => {
    const { runtime } = context;
    fs.writeFileSync(path.join(runtime.rootfs, 'bin/garbage'), 'garbage', { mode: 0o755 });
    const end = async (change: (config: Config) => void): Promise<string> => {
      const id = runtime.start('true', change);
      await until(() => runtime.state(id).status === 'stopped', 'the end');
      return runtime.printed(id);
    };
    expect(await end((config) => Object.assign(config.process, { args: ['garbage'] }))).toContain(
      "start '/bin/garbage': exec format error",
    );
  });

  test('the working directory is entered with the rights of root and before a filter, which may refuse it', () => {
    const { runtime } = context;
    fs.mkdirSync(path.join(runtime.rootfs, 'secret'), { mode: 0o700, recursive: true });
    const out = runtime.output('id -u', (config) => {
      Object.assign(config.process, { user: { uid: 5, gid: 5 }, cwd: '/secret', noNewPrivileges: false });
      config.linux['seccomp'] = {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['getcwd', 'chdir'], action: 'SCMP_ACT_ERRNO' }],
      };
    });
    expect(out).toBe('5\n');
  });

  requires({ root: true, commands: ['python3'] })('delete --force does not wait for somebody else to reap what exec left detached', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    // The detached process becomes the child of one that never looks after its children: init cannot be gone before that one is.
    const script = `import ctypes, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
call = sys.argv[1:]
subprocess.run(call + ["exec", "--detach", "${id}", "sleep", "1000"], check=True, stdout=subprocess.DEVNULL)
subprocess.run(call + ["delete", "--force", "${id}"], check=True, timeout=5)
print(subprocess.run(call + ["state", "${id}"], capture_output=True, text=True).stderr)`;
    const ran = spawnSync('python3', ['-c', script, runtimeBinary, '--root', runtime.root], { encoding: 'utf8' });
    expect(ran).toMatchObject({ status: 0, stderr: '', stdout: expect.stringContaining('does not exist') as string });
  });

  test('an id is taken once, and is no path', () => {
    const { runtime } = context;
    const id = runtime.create('true');
    const bundle = path.join(runtime.directory, id);
    expect(runtime.call(['create', '--bundle', bundle, id])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('container with id exists') as string,
    });
    expect(runtime.state(id).status).toBe('created');
    for (const bad of ['../x', '.', '..', 'a/b', 'a b'])
      expect(runtime.call(['create', '--bundle', bundle, bad]).stderr).toContain('invalid container id');
  });

  test('delete works after a crash in the middle of create', () => {
    const { runtime } = context;
    fs.mkdirSync(path.join(runtime.root, 'half'), { recursive: true });
    expect(runtime.state('half').status).toBe('stopped');
    runtime.must('delete', 'half');
    const id = runtime.create('sleep 1000');
    fs.rmSync(path.join(runtime.root, id, 'config.json'));
    runtime.must('delete', '--force', id);
  });

  test('pause, resume and ps', () => {
    const { runtime } = context;
    const id = runtime.start('sleep 1000 & sleep 1000');
    runtime.must('pause', id);
    expect(runtime.state(id).status).toBe('paused');
    expect(runtime.call(['exec', id, 'true']).stderr).toContain('paused');
    runtime.must('resume', id);
    expect(runtime.state(id).status).toBe('running');
    const pids = JSON.parse(runtime.must('ps', '--format', 'json', id)) as number[];
    expect(pids).toContain(runtime.state(id).pid);
    expect(runtime.must('list', '--quiet')).toBe(`${id}\n`);
    expect(JSON.parse(runtime.must('list', '--format', 'json'))).toMatchObject([{ id, status: 'running' }]);
  });

  test('kill --all reaches everybody where the pid namespace is the host’s', async () => {
    const { runtime } = context;
    const id = runtime.start('sleep 1000 & exec sleep 1000', (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid');
    });
    await until(() => (JSON.parse(runtime.must('ps', '--format', 'json', id)) as number[]).length === 2, 'both processes');
    runtime.must('kill', '--all', id, 'KILL');
    await until(() => runtime.state(id).status === 'stopped', 'the end');
    runtime.must('kill', '--all', id, 'KILL');
  });
});

describe('limits', () => {
  test('are set at create and changed by update', () => {
    const { runtime } = context;
    const MIB = 1024 * 1024;
    const id = runtime.start('sleep 1000', (config) => {
      config.linux.resources = {
        ...config.linux.resources,
        memory: { limit: 64 * MIB },
        pids: { limit: 20 },
        cpu: { quota: 50_000, period: 100_000 },
      };
    });
    const read = (v1: string, v2: string): string =>
      runtime
        .directoriesOfCgroup(id)
        .flatMap((directory) => [v1, v2].map((file) => path.join(directory, file)).filter(fs.existsSync))
        .map((file) => fs.readFileSync(file, 'utf8').trim())[0] ?? '';
    expect(read('memory.limit_in_bytes', 'memory.max')).toBe(String(64 * MIB));
    expect(read('pids.max', 'pids.max')).toBe('20');
    runtime.must('update', '--memory', String(96 * MIB), '--pids-limit', '30', id);
    expect(read('memory.limit_in_bytes', 'memory.max')).toBe(String(96 * MIB));
    expect(read('pids.max', 'pids.max')).toBe('30');
    expect(
      runtime.call(['update', '--resources', '-', id], { input: JSON.stringify({ memory: { limit: 128 * MIB, swap: 256 * MIB } }) }).status,
    ).toBe(0);
    expect(read('memory.limit_in_bytes', 'memory.max')).toBe(String(128 * MIB));
    expect(JSON.parse(runtime.must('events', '--stats', id))).toMatchObject({
      type: 'stats',
      id,
      data: { memory: { usage: { limit: 128 * MIB } }, pids: { limit: 30 } },
    });
  });

  test('devices have the mode that they are for, whatever the umask of the engine', () => {
    const names = ['null', 'zero', 'full', 'random', 'urandom', 'tty'];
    const before = process.umask(0o077);
    try {
      expect(context.runtime.output(`stat -c %a ${names.map((name) => `/dev/${name}`).join(' ')}`)).toBe('666\n'.repeat(names.length));
    } finally {
      process.umask(before);
    }
  });

  test('devices are refused but for those that every container has', () => {
    const { runtime } = context;
    const out = context.runtime.output('mknod /tmp/m c 1 1; cat /tmp/m | head -c1; echo x > /dev/null && echo null', (config) => {
      config.root.readonly = false;
      Object.assign(config.process, { capabilities: { bounding: ['CAP_MKNOD'], effective: ['CAP_MKNOD'], permitted: ['CAP_MKNOD'] } });
      config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['dev'] });
    });
    expect(out).toBe('null\n');
    expect(runtime.leftovers()).toEqual([]);
  });
});
