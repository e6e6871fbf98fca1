import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });

describe('a container that tries to get out', () => {
  test('cannot write the runtime through /proc/self/exe (CVE-2019-5736)', () => {
    const { runtime } = context;
    const before = fs.readFileSync(runtimeBinary);
    const tried = runtime.run('', (config) => Object.assign(config.process, { args: ['/proc/self/exe', '--version'] }));
    expect(tried.stdout).toContain('strata-runtime version');
    const id = runtime.start('exec sleep 1000', (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid');
    });
    expect(
      runtime.call([
        'exec',
        id,
        'sh',
        '-c',
        'for p in /proc/[0-9]*/exe; do case $(readlink $p) in *strata-runtime*) echo x > $p;; esac; done',
      ]).stdout,
    ).toBe('');
    expect(fs.readFileSync(runtimeBinary).equals(before)).toBe(true);
  });

  test('finds no descriptor and no working directory of the host (CVE-2024-21626)', () => {
    const { runtime } = context;
    const list = 'for fd in /proc/self/fd/*; do readlink $fd; done; true';
    const id = runtime.start('exec sleep 1000');
    for (const out of [runtime.output(list), runtime.must('exec', id, 'sh', '-c', list)]) {
      for (const target of out.trim().split('\n')) expect(target).toMatch(/^(pipe:|\/dev\/null|socket:|\/proc\/)/);
    }
    for (let fd = 3; fd < 12; ++fd) {
      expect(runtime.run('pwd; ls ../../..', (config) => Object.assign(config.process, { cwd: `/proc/self/fd/${fd}` })).status).not.toBe(0);
      expect(runtime.call(['exec', '--cwd', `/proc/self/fd/${fd}`, id, 'pwd']).status).not.toBe(0);
    }
  });

  test('has a null device of its own on the streams that nobody wants', async () => {
    const { runtime } = context;
    const id = runtime.create('stat -L -c %d /proc/self/fd/0 /dev/null; exec sleep 1000'); // stdin is the host's /dev/null, as with every engine
    runtime.must('start', id);
    await until(() => runtime.printed(id).split('\n').length > 2, 'both lines');
    const ran = spawnSync(runtimeBinary, ['--root', runtime.root, 'exec', id, 'stat', '-L', '-c', '%d', '/proc/self/fd/0', '/dev/null'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
    });
    for (const printed of [runtime.printed(id), ran.stdout]) {
      const [stream, device] = printed.trim().split('\n');
      expect(stream).toBe(device);
      expect(Number(device)).not.toBe(fs.statSync('/dev/null').dev);
    }
  });

  test('cannot move /proc or what masks it with links (CVE-2019-19921, CVE-2021-30465)', () => {
    const { runtime } = context;
    const rootfs = path.join(runtime.directory, 'linked');
    fs.cpSync(runtime.rootfs, rootfs, { recursive: true, verbatimSymlinks: true });
    fs.rmSync(path.join(rootfs, 'proc'), { recursive: true });
    fs.mkdirSync(path.join(rootfs, 'elsewhere'));
    fs.symlinkSync('/elsewhere', path.join(rootfs, 'proc'));
    expect(runtime.run('true', (config) => (config.root.path = rootfs))).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('symbolic link') as string,
    });
    // A link to the host's root resolves to the container's.
    fs.symlinkSync('/../../../../../etc', path.join(rootfs, 'out'));
    fs.rmSync(path.join(rootfs, 'proc'));
    fs.mkdirSync(path.join(rootfs, 'proc'));
    const marker = path.join(runtime.directory, 'marker');
    fs.writeFileSync(marker, 'mark');
    const out = runtime.output('cat /etc/marker', (config) => {
      config.root.path = rootfs;
      config.mounts.push({ destination: '/out/marker', source: marker, options: ['bind', 'ro'] });
    });
    expect(out).toBe('mark');
    expect(fs.existsSync('/etc/marker')).toBe(false);
  });

  test('cannot bring a null device of its own to unmask files (CVE-2025-31133)', () => {
    const { runtime } = context;
    const source = path.join(runtime.directory, 'dev');
    fs.mkdirSync(source, { recursive: true });
    fs.rmSync(path.join(source, 'null'), { force: true });
    fs.symlinkSync('/proc/sys/kernel/core_pattern', path.join(source, 'null'));
    const ran = runtime.run('true', (config) => {
      config.mounts = config.mounts.filter(({ destination }) => !destination.startsWith('/dev'));
      config.mounts.push({ destination: '/dev', source, options: ['bind'] });
    });
    expect(ran).toMatchObject({ status: 1, stderr: expect.stringContaining('null device') as string });
  });

  test('has no release_agent to write, and nothing else of the host’s cgroups (CVE-2022-0492)', () => {
    const ran = context.runtime.run(
      'find /sys/fs/cgroup -name release_agent; mkdir /tmp/c; mount -t cgroup -o memory none /tmp/c || echo refused',
      (config) => {
        config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs' });
      },
    );
    expect(ran.stdout).toBe('refused\n');
  });

  test('does not see the keys of the one who started it', () => {
    const { runtime } = context;
    const session = (): string => runtime.output('cat /proc/keys | wc -l');
    expect(session().trim()).toBe('0'); // masked
  });

  test('cannot look into the joining exec (CVE-2016-9962)', () => {
    const { runtime } = context;
    const all = ['CAP_SYS_PTRACE', 'CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE'];
    // A loop that reads every other process: the descriptors and the root that it sees of an exec must be the command's own.
    const id = runtime.start(
      'while :; do for p in /proc/[0-9]*; do case $p in /proc/1) ;; *) test -e $p/root/etc/os-release && echo "the host root"; ls -l $p/fd 2>/dev/null | grep -E " /(tmp|run|work|sys)/" ;; esac; done; done > /dev/shm/seen',
      (config) => {
        Object.assign(config.process, { capabilities: { bounding: all, effective: all, permitted: all } });
      },
    );
    for (let i = 0; i < 20; ++i) runtime.must('exec', id, 'true');
    expect(runtime.must('exec', id, 'cat', '/dev/shm/seen')).toBe('');
  });

  test('gets the descriptors that are preserved, no other', () => {
    const { runtime } = context;
    const bundle = runtime.bundle('true');
    expect(runtime.call(['run', '--preserve-fds', '2', '--bundle', bundle, 'x'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--preserve-fds') as string,
    });
  });
});
