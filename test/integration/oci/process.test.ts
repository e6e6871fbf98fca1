import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { type Config, runtimeBinary, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });

const withUserNamespace = (config: Config): void => {
  fs.chmodSync(context.runtime.directory, 0o711);
  config.linux.namespaces.push({ type: 'user' });
  config.linux['uidMappings'] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  config.linux['gidMappings'] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
};

/** A root that the root of that namespace may write. */
function ownedRootfs(): string {
  const rootfs = fs.mkdtempSync(path.join(context.runtime.directory, 'owned-'));
  spawnSync('cp', ['-aT', context.runtime.rootfs, rootfs]);
  spawnSync('chown', ['-R', '100000:100000', rootfs]);
  return rootfs;
}

/** A call with variables of its own in the environment of the runtime; `fds` are its descriptors from 3 on. */
function callWith(env: Record<string, string>, args: readonly string[], fds: readonly number[] = []): string {
  const ran = spawnSync(runtimeBinary, ['--root', context.runtime.root, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', ...fds],
    env: { PATH: process.env['PATH'], ...env },
    encoding: 'utf8',
  });
  expect(ran).toMatchObject({ status: 0, stderr: '' });
  return ran.stdout;
}

describe('capabilities', () => {
  test('that are none are told and left out, the others are there', () => {
    const { runtime } = context;
    const names = ['CAP_CHOWN', 'CAP_OF_TOMORROW', 'CHOWN'];
    const withNames = (config: Config): void => {
      Object.assign(config.process, { capabilities: { bounding: names, effective: names, permitted: names } });
    };
    const bundle = runtime.bundle('grep CapEff /proc/self/status', withNames);
    const log = path.join(runtime.directory, 'capabilities.log');
    expect(runtime.call(['--log', log, '--log-format', 'json', 'run', '--bundle', bundle, 'x'])).toEqual({
      status: 0,
      stdout: 'CapEff:\t0000000000000001\n',
      stderr: '',
    });
    expect(JSON.parse(fs.readFileSync(log, 'utf8'))).toMatchObject({
      level: 'warning',
      msg: 'unknown capabilities are ignored: CAP_OF_TOMORROW, CHOWN',
    });
    const id = runtime.start('exec sleep 1000', withNames);
    expect(runtime.call(['exec', '--cap', 'CAP_NOT_YET', '--cap', 'CAP_KILL', id, 'grep', 'CapEff', '/proc/self/status'])).toMatchObject({
      status: 0,
      stdout: 'CapEff:\t0000000000000021\n',
      stderr: expect.stringMatching(/^[^\n]*warning: unknown capabilities are ignored: CAP_NOT_YET\n$/) as string,
    });
  });

  test('that an exec adds are not inherited by programs with capabilities of their own (CVE-2022-29162)', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000', (config) => {
      Object.assign(config.process, { capabilities: {} });
    });
    const sets = runtime.must('exec', '--cap', 'CAP_KILL', id, 'grep', 'Cap', '/proc/self/status');
    expect(sets.match(/Cap\w+:\t\w+/g)).toEqual(
      [
        'Inh:\t0000000000000000',
        'Prm:\t0000000000000020',
        'Eff:\t0000000000000020',
        'Bnd:\t0000000000000020',
        'Amb:\t0000000000000000',
      ].map((set) => `Cap${set}`),
    );
  });
});

describe('the environment', () => {
  test('has one variable of a name, the last that is given', () => {
    const { runtime } = context;
    const env = ['A=first', 'PATH=/nowhere', 'B=', 'A=second', 'PATH=/bin', 'HOME='];
    const withEnv = (config: Config): void => {
      Object.assign(config.process, { env });
    };
    // Not by way of a shell, which drops doubles itself.
    const seen = (text: string): string[] => text.split('\0').filter((entry) => entry !== '' && !/^(PWD|SHLVL|_)=/.test(entry));
    const bundle = runtime.bundle('', (config) => {
      withEnv(config);
      Object.assign(config.process, { args: ['cat', '/proc/self/environ'] });
    });
    expect(seen(runtime.must('run', '--bundle', bundle, 'x'))).toEqual(['B=', 'A=second', 'PATH=/bin', 'HOME=/root']);
    const id = runtime.start('exec sleep 1000', withEnv);
    expect(seen(runtime.must('exec', '--env', 'A=third', id, 'cat', '/proc/self/environ'))).toEqual([
      'B=',
      'PATH=/bin',
      'A=third',
      'HOME=/root',
    ]);
    expect(runtime.call(['exec', '--env', 'A', id, 'true'])).toMatchObject({
      status: 255,
      stderr: expect.stringContaining("--env must be NAME=VALUE, not 'A'") as string,
    });
  });

  test('says which descriptors are the sockets that the runtime was given (sd_listen_fds)', () => {
    const { runtime } = context;
    const file = path.join(runtime.directory, 'socket');
    fs.writeFileSync(file, 'first\n');
    const fd = fs.openSync(file, 'r');
    const script = 'cat <&3; echo $LISTEN_FDS $LISTEN_PID $$; ls /proc/self/fd | tr "\\n" " "';
    const run = (env: Record<string, string>, ...options: string[]): string => {
      const bundle = runtime.bundle(script);
      return callWith(env, ['run', ...options, '--bundle', bundle, 'x'], [fd, fd, fd]);
    };
    // ls has its own descriptor of the directory, which takes the first free number.
    expect(run({ LISTEN_FDS: '2' })).toBe('first\n2 1 1\n0 1 2 3 4 5 ');
    fs.writeFileSync(file, 'second\n');
    const again = fs.openSync(file, 'r');
    const id = runtime.start('exec sleep 1000');
    const inside = callWith({ LISTEN_FDS: '1' }, ['exec', '--preserve-fds', '1', id, 'sh', '-c', script], [again, fd, fd]);
    expect(inside).toMatch(/^second\n1 (\d+) \1\n0 1 2 3 4 5 $/);
    // Somebody else's are left alone.
    const bundle = runtime.bundle('echo "$LISTEN_FDS"; ls /proc/self/fd | tr "\\n" " "');
    expect(callWith({ LISTEN_FDS: '2', LISTEN_PID: '1' }, ['run', '--bundle', bundle, 'x'], [fd, fd])).toBe('\n0 1 2 3 ');
    fs.closeSync(fd);
    fs.closeSync(again);
    expect(callWith({ LISTEN_FDS: '40' }, ['run', '--bundle', bundle, 'x'])).toBe('\n0 1 2 3 ');
    const script40 = `export LISTEN_FDS=40 LISTEN_PID=$$; exec ${runtimeBinary} --root ${runtime.root} run --bundle ${bundle} x`;
    const missing = spawnSync('sh', ['-c', script40], { encoding: 'utf8' });
    expect(missing).toMatchObject({ status: 1, stderr: expect.stringContaining('check LISTEN_FDS') as string });
  });
});

describe('the working directory', () => {
  test('is made where it is missing, before the root becomes read-only', () => {
    const { runtime } = context;
    const at = (cwd: string, change: (config: Config) => void = () => undefined) =>
      runtime.run('pwd; stat -c "%a %u:%g" .', (config) => {
        config.root.readonly = true;
        Object.assign(config.process, { cwd, user: { uid: 7, gid: 7, umask: 0o77 } });
        change(config);
      });
    expect(at('/new/deep')).toEqual({ status: 0, stdout: '/new/deep\n755 0:0\n', stderr: '' });
    expect(fs.statSync(path.join(runtime.rootfs, 'new/deep')).mode & 0o777).toBe(0o755);
    fs.rmSync(path.join(runtime.rootfs, 'new'), { recursive: true });
    expect(at('/dev/made')).toMatchObject({ status: 0, stdout: '/dev/made\n755 0:0\n' });
    const tmpfs = { destination: '/dev/shm', type: 'tmpfs', source: 'tmpfs', options: ['ro'] };
    expect(at('/dev/shm/made', (config) => config.mounts.push(tmpfs))).toMatchObject({
      status: 126,
      stderr: expect.stringContaining("make the working directory '/dev/shm/made'") as string,
    });
    expect(at('/bin/busybox')).toMatchObject({
      status: 126,
      stderr: expect.stringContaining("enter the working directory '/bin/busybox': not a directory") as string,
    });
  });

  test('is made nowhere but in the root, whatever links an image has', () => {
    const { runtime } = context;
    const outside = path.join(runtime.directory, 'outside');
    fs.mkdirSync(outside);
    const links: Record<string, string> = { out: outside, up: `../../../../../../..${outside}`, dangling: `${outside}/nothing` };
    for (const [name, target] of Object.entries(links)) fs.symlinkSync(target, path.join(runtime.rootfs, name));
    try {
      for (const name of Object.keys(links)) {
        const ran = runtime.run('pwd', (config) => Object.assign(config.process, { cwd: `/${name}/made` }));
        expect([0, 126]).toContain(ran.status);
        if (ran.status === 0) expect(ran.stdout).toBe(`${outside}/made\n`); // a path inside
      }
      expect(fs.readdirSync(outside)).toEqual([]);
    } finally {
      for (const name of Object.keys(links)) fs.rmSync(path.join(runtime.rootfs, name));
      fs.rmSync(path.join(runtime.rootfs, outside.split('/')[1] ?? ''), { recursive: true, force: true });
    }
  });

  test('belongs to the root of the container’s user namespace', () => {
    const rootfs = ownedRootfs();
    const out = context.runtime.output('stat -c "%a %u:%g" .', (config) => {
      withUserNamespace(config);
      config.root.path = rootfs;
      Object.assign(config.process, { cwd: '/made/here' });
    });
    expect(out).toBe('755 0:0\n');
    expect(fs.statSync(path.join(rootfs, 'made/here')).uid).toBe(100_000);
  });
});

describe('hooks', () => {
  test('that name no environment have the runtime’s, in the container its process’s', () => {
    const { runtime } = context;
    const log = path.join(runtime.directory, 'environments');
    const hook = (name: string, env?: string[]) => ({
      path: '/bin/sh',
      args: ['sh', '-c', `echo "${name}:$OF_RUNTIME:$OF_PROCESS:$OWN" >> ${log}`],
      ...(env === undefined ? {} : { env }),
    });
    const bundle = runtime.bundle('cat /dev/shm/start', (config) => {
      Object.assign(config.process, { env: ['PATH=/bin', 'OF_PROCESS=p'] });
      config.hooks = {
        prestart: [hook('prestart')],
        createRuntime: [hook('createRuntime'), hook('own', ['OWN=o']), hook('empty', [])],
        createContainer: [hook('createContainer')],
        startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'echo "$OF_RUNTIME:$OF_PROCESS:$HOME" > /dev/shm/start'] }],
        poststart: [hook('poststart')],
        poststop: [hook('poststop')],
      };
    });
    expect(callWith({ OF_RUNTIME: 'r' }, ['run', '--bundle', bundle, 'x'])).toBe(':p:/root\n');
    expect(fs.readFileSync(log, 'utf8').trim().split('\n')).toEqual([
      'prestart:r::',
      'createRuntime:r::',
      'own:::o',
      'empty:::',
      'createContainer:::',
      'poststart:r::',
      'poststop:r::',
    ]);
  });
});

describe('names and devices', () => {
  test('the domain name is set in the container’s uts namespace, and by one way only', () => {
    const { runtime } = context;
    const before = fs.readFileSync('/proc/sys/kernel/domainname', 'utf8');
    const domain = (field: string | undefined, sysctl: Record<string, string>, change: (config: Config) => void = () => undefined) =>
      runtime.run('cat /proc/sys/kernel/domainname', (config) => {
        if (field !== undefined) Object.assign(config, { domainname: field });
        config.linux['sysctl'] = sysctl;
        change(config);
      });
    expect(domain('example.org', {})).toMatchObject({ status: 0, stdout: 'example.org\n' });
    expect(domain(undefined, { 'kernel.domainname': 'example.net' })).toMatchObject({ status: 0, stdout: 'example.net\n' });
    expect(domain('example.org', { 'kernel/domainname': 'example.org' })).toMatchObject({ status: 0, stdout: 'example.org\n' });
    for (const name of ['kernel.domainname', 'kernel/domainname'])
      expect(domain('example.org', { [name]: 'example.net' })).toMatchObject({
        status: 1,
        stderr: expect.stringContaining(`'${name}' conflicts with the config's own field 'domainname'`) as string,
      });
    expect(domain(undefined, { 'kernel.hostname': 'x' })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("field 'hostname'") as string,
    });
    const ofHost = (config: Config): void => {
      delete config.hostname;
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'uts');
    };
    const byPath = (config: Config): void => {
      ofHost(config);
      config.linux.namespaces.push({ type: 'uts', path: '/proc/self/ns/uts' });
    };
    for (const change of [ofHost, byPath])
      expect(domain(undefined, { 'kernel.domainname': 'example.net' }, change)).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('would change the host') as string,
      });
    expect(domain('example.org', {}, ofHost)).toMatchObject({ status: 1, stderr: expect.stringContaining('uts namespace') as string });
    expect(fs.readFileSync('/proc/sys/kernel/domainname', 'utf8')).toBe(before);
  });

  test('in a user namespace a device is the host’s where it has the numbers of the config', () => {
    const { runtime } = context;
    const node = path.join(runtime.directory, 'node');
    spawnSync('mknod', ['-m', '666', node, 'c', '1', '5']);
    const rootfs = ownedRootfs();
    const device = (major: number, minor: number, type = 'c', at = node) =>
      runtime.run(`head -c 3 ${at} | od -An -tx1`, (config) => {
        withUserNamespace(config);
        config.root.path = rootfs;
        config.linux['devices'] = [{ path: at, type, major, minor }];
      });
    expect(device(1, 5)).toMatchObject({ status: 0, stdout: expect.stringContaining('00 00 00') as string });
    expect(device(1, 8)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining(`'${node}' is the device c 1:5, not c 1:8`) as string,
    });
    expect(device(1, 5, 'b')).toMatchObject({ status: 1, stderr: expect.stringContaining('the device c 1:5, not b 1:5') as string });
    expect(device(1, 5, 'c', runtime.rootfs)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no device, not c 1:5') as string,
    });
    expect(device(1, 5, 'c', '/dev/nosuch')).toMatchObject({ status: 1, stderr: expect.stringContaining("'/dev/nosuch'") as string });
  });
});
