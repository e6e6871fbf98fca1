import { execFileSync, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { beforeAll, describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { type Config, type Ran, runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });
const ptrace = ['CAP_SYS_PTRACE', 'CAP_DAC_OVERRIDE'];
const attacker = (): string => path.join(context.runtime.rootfs, 'attacker');

beforeAll(() => {
  execFileSync('gcc', ['-static', '-O1', '-o', attacker(), path.resolve(import.meta.dirname, '../../fixtures/attacker.c')]);
});

/** A root file system of an image that somebody hostile made: a copy of the plain one, changed. */
function hostileRootfs(change: (rootfs: string) => void): string {
  const { runtime } = context;
  const rootfs = fs.mkdtempSync(path.join(runtime.directory, 'image-'));
  fs.cpSync(runtime.rootfs, rootfs, { recursive: true, verbatimSymlinks: true });
  change(rootfs);
  return rootfs;
}

const withoutMountsOn = (config: Config, prefix: string): void => {
  config.mounts = config.mounts.filter(({ destination }) => !destination.startsWith(prefix));
};

function expectRefused(ran: Ran, reason: string | RegExp): void {
  expect(ran).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(reason) as string });
}

describe('a process of the container', () => {
  test('cannot write the runtime that execs, though it holds its executable until nobody runs it (CVE-2019-5736)', async () => {
    const { runtime } = context;
    // A copy: should the attack come through, nothing else is hurt.
    const binary = path.join(runtime.directory, 'runtime-copy');
    fs.copyFileSync(runtimeBinary, binary);
    const id = runtime.start('exec /attacker overwrite-runtime', (config) => {
      Object.assign(config.process, { capabilities: { bounding: ptrace, effective: ptrace, permitted: ptrace } });
    });
    await until(() => runtime.printed(id).includes('ready'), 'the attacker');
    for (let tried = 0; !runtime.printed(id).includes('refused: Read-only file system'); ++tried) {
      expect(tried).toBeLessThan(500);
      expect(spawnSync(binary, ['--root', runtime.root, 'exec', id, '/attacker', 'key', 'none']).status).toBe(0);
      expect(runtime.printed(id)).not.toContain('overwritten');
    }
    expect(fs.readFileSync(binary).equals(fs.readFileSync(runtimeBinary))).toBe(true);
  });

  test('with CAP_SYS_PTRACE finds nothing of the host in what joins it, a security label or not (CVE-2016-9962)', async () => {
    const { runtime } = context;
    const marker = path.join(runtime.directory, 'marker');
    fs.writeFileSync(marker, '');
    const id = runtime.start(`exec /attacker look-for ${marker}`, (config) => {
      Object.assign(config.process, { capabilities: { bounding: ptrace, effective: ptrace, permitted: ptrace } });
    });
    await until(() => runtime.printed(id).includes('ready'), 'the attacker');
    for (let i = 0; i < 30; ++i) {
      runtime.must('exec', '--cwd', '/proc/self', id, '/attacker', 'key', 'none');
      // Succeeds only where the host has the LSM and the profile.
      runtime.call(['exec', '--apparmor', 'unconfined', id, '/attacker', 'key', 'none']);
    }
    expect(runtime.printed(id)).toBe('ready\n');
  });

  test('with CAP_SYS_PTRACE finds nothing of the host in a container that is made in its pid namespace', async () => {
    const { runtime } = context;
    const marker = path.join(runtime.directory, 'marker');
    fs.writeFileSync(marker, '');
    const id = runtime.start(`exec /attacker look-for ${marker}`, (config) => {
      Object.assign(config.process, { capabilities: { bounding: ptrace, effective: ptrace, permitted: ptrace } });
    });
    await until(() => runtime.printed(id).includes('ready'), 'the attacker');
    for (let i = 0; i < 8; ++i) {
      const beside = runtime.output('cat /proc/self/oom_score_adj; echo $$; cut -d. -f1 /proc/uptime', (config) => {
        config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid');
        config.linux.namespaces.push({ type: 'pid', path: `/proc/${runtime.state(id).pid}/ns/pid` });
        if (i % 2 === 1) {
          config.linux.namespaces.push({ type: 'time' });
          config.linux['timeOffsets'] = { boottime: { secs: 1_000_000_000 } };
        }
        Object.assign(config.process, { oomScoreAdj: 77 });
      });
      expect(beside).toMatch(i % 2 === 1 ? /^77\n\d+\n1\d{9}\n$/ : /^77\n\d+\n\d{1,9}\n$/);
    }
    // What the new container is made of may be seen: the pid namespace is shared.
    expect(runtime.printed(id)).not.toContain(path.basename(runtime.directory));
  });

  test('with every capability finds nothing of the host in a container that is made in its pid and user namespace', async () => {
    const { runtime } = context;
    fs.chmodSync(runtime.directory, 0o711);
    const marker = path.join(runtime.directory, 'marker');
    fs.writeFileSync(marker, '');
    const all = ['CAP_SYS_PTRACE', 'CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH', 'CAP_SYS_ADMIN', 'CAP_SETUID', 'CAP_SETGID'];
    const id = runtime.start('exec sleep 1000', (config) => {
      Object.assign(config.process, { capabilities: { bounding: all, effective: all, permitted: all } });
      config.linux.namespaces.push({ type: 'user' });
      for (const kind of ['uidMappings', 'gidMappings']) config.linux[kind] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    });
    const { pid } = runtime.state(id);
    // Its init waits with the host's mounts in sight for as long as the hook takes.
    const [waits, go] = ['waits', 'go'].map((name) => path.join(runtime.directory, name));
    const bundle = runtime.bundle('id -u; echo $$', (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid');
      for (const type of ['pid', 'user']) config.linux.namespaces.push({ type, path: `/proc/${pid}/ns/${type}` });
      const script = `echo > ${waits}; until test -e ${go}; do sleep 0.05; done`;
      config.hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', script], env: ['PATH=/bin:/usr/bin'] }] };
    });
    const beside = runtime.spawn(['run', '--bundle', bundle, path.basename(bundle)]);
    await until(() => fs.existsSync(waits ?? ''), 'the hook');
    const script = `cat /proc/[0-9]*/comm; for p in /proc/[0-9]*; do for at in root cwd; do test -e $p/$at${marker} && echo "found $p/$at"; done; done; true`;
    const seen = runtime.must('exec', id, 'sh', '-c', script);
    fs.writeFileSync(go ?? '', '');
    expect(await beside.ended).toBe(0);
    expect(seen).toContain('strata-init\n');
    expect(seen).not.toContain('found');
    expect(beside.stdout()).toMatch(/^0\n\d+\n$/);
  });

  test('reaches no key of who creates, starts or execs it', () => {
    const { runtime } = context;
    const withKey = (...args: string[]): string => {
      const ran = spawnSync(attacker(), ['add-key', 'strata-test', runtimeBinary, '--root', runtime.root, ...args], { encoding: 'utf8' });
      expect(ran).toMatchObject({ status: 0 });
      return ran.stdout;
    };
    expect(
      Number(execFileSync(attacker(), ['add-key', 'strata-test', attacker(), 'key', 'strata-test'], { encoding: 'utf8' })),
    ).toBeGreaterThan(0);
    const bundle = runtime.bundle('exec /attacker key strata-test');
    expect(withKey('run', '--bundle', bundle, path.basename(bundle))).toBe('-1\n');
    const id = runtime.start('exec sleep 1000');
    expect(withKey('exec', id, '/attacker', 'key', 'strata-test')).toBe('-1\n');
  });

  test('sees nothing behind the masks, and cannot write what is read-only', () => {
    const { runtime } = context;
    const masked = ['/proc/acpi', '/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/scsi', '/proc/interrupts', '/sys/firmware'];
    const script = `for p in ${masked.join(' ')}; do test -d $p && ls -A $p || cat $p; done 2>&1 | grep -v "No such file"
      for p in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity; do echo x 2>&- > $p && echo "wrote $p"; done; true`;
    expect(runtime.run(script)).toMatchObject({ status: 0, stdout: '' });
  });
});

describe('an image', () => {
  test('does not lead a volume into /proc by a link (CVE-2019-16884), nor is a volume taken for /proc', () => {
    const { runtime } = context;
    const rootfs = hostileRootfs((root) => fs.symlinkSync('/proc', path.join(root, 'innocent')));
    const volume = path.join(runtime.directory, 'volume');
    fs.mkdirSync(path.join(volume, 'self/attr'), { recursive: true });
    const mounted = (mount: Config['mounts'][number], first = false): Ran =>
      runtime.run('cat /proc/self/attr/* /proc/sys/kernel/ostype', (config) => {
        config.root.path = rootfs;
        if (first) withoutMountsOn(config, '/proc');
        config.mounts.push(mount);
      });
    expectRefused(mounted({ destination: '/innocent/self/attr', source: volume, options: ['bind'] }), 'symbolic link');
    expectRefused(mounted({ destination: '/innocent/tty', type: 'tmpfs', source: 'tmpfs' }), 'symbolic link');
    expectRefused(mounted({ destination: '/innocent/cpuinfo', source: '/etc/hosts', options: ['bind'] }), 'symbolic link');
    expectRefused(mounted({ destination: '/proc/self/attr', source: `/proc/../${volume}/self/attr`, options: ['bind'] }), 'procfs');
    expectRefused(mounted({ destination: '/proc', source: volume, options: ['bind'] }, true), 'procfs');
    expectRefused(mounted({ destination: '/proc', type: 'tmpfs', source: 'tmpfs' }, true), 'procfs');
  });

  test('gets no sysctl and no label written into its own files (CVE-2025-52881)', () => {
    const { runtime } = context;
    const rootfs = hostileRootfs((root) => {
      fs.mkdirSync(path.join(root, 'proc/sys/net/ipv4'), { recursive: true });
      fs.writeFileSync(path.join(root, 'proc/sys/net/ipv4/ip_forward'), 'untouched');
      fs.mkdirSync(path.join(root, 'proc/self/attr'), { recursive: true });
      fs.writeFileSync(path.join(root, 'proc/self/attr/exec'), 'untouched');
    });
    const ran = (change: (config: Config) => void): Ran =>
      runtime.run('true', (config) => {
        config.root = { path: rootfs, readonly: false };
        withoutMountsOn(config, '/proc');
        change(config);
      });
    expectRefused(
      ran((config) => (config.linux['sysctl'] = { 'net.ipv4.ip_forward': '1' })),
      'no mount on /proc',
    );
    ran((config) => Object.assign(config.process, { apparmorProfile: 'some-profile' }));
    for (const file of ['sys/net/ipv4/ip_forward', 'self/attr/exec'])
      expect(fs.readFileSync(path.join(rootfs, 'proc', file), 'utf8')).toBe('untouched');
  });

  test.each([
    ['a link', (dev: string) => fs.symlinkSync('/proc/sysrq-trigger', path.join(dev, 'zero'))],
    ['a file', (dev: string) => fs.writeFileSync(path.join(dev, 'zero'), '')],
    ['another device', (dev: string) => execFileSync('mknod', [path.join(dev, 'zero'), 'c', '1', '11'])],
  ])('does not have %s taken for a device', (_name, spoil) => {
    const { runtime } = context;
    const ran = runtime.run('true', (config) => {
      config.root.path = hostileRootfs((root) => {
        fs.mkdirSync(path.join(root, 'dev'), { recursive: true });
        spoil(path.join(root, 'dev'));
      });
      withoutMountsOn(config, '/dev');
    });
    expectRefused(ran, 'another thing there than this device');
  });

  const withTerminal = (config: Config, rootfs: string): void => {
    config.root.path = rootfs;
    withoutMountsOn(config, '/dev');
    config.mounts.push({ destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666'] });
    Object.assign(config.process, { terminal: true });
  };

  test('has the terminal bound to no place of its choice (CVE-2025-52565)', () => {
    const { runtime } = context;
    const inDev = (spoil: (dev: string) => void): string =>
      hostileRootfs((root) => {
        fs.mkdirSync(path.join(root, 'dev/pts'), { recursive: true });
        spoil(path.join(root, 'dev'));
      });
    const linked = inDev((dev) => fs.symlinkSync('/proc/self/attr/exec', path.join(dev, 'console')));
    expectRefused(
      runtime.run('tty', (config) => withTerminal(config, linked)),
      /console.*symbolic link/,
    );
    // The same image is fine where /dev is the container's own.
    expect(
      runtime.run('test -c /dev/console && tty', (config) => {
        config.root.path = linked;
        Object.assign(config.process, { terminal: true });
      }),
    ).toMatchObject({ status: 0, stdout: expect.stringContaining('/dev/pts/0') as string });
    for (const make of [
      (file: string) => fs.writeFileSync(file, ''),
      (file: string) => execFileSync('mknod', [file, 'c', '1', '11']),
      (file: string) => fs.symlinkSync('/proc/sysrq-trigger', file),
    ]) {
      const multiplexer = inDev((dev) => make(path.join(dev, 'pts/ptmx')));
      const ran = runtime.run('tty', (config) => {
        withTerminal(config, multiplexer);
        withoutMountsOn(config, '/dev/pts');
      });
      expectRefused(ran, 'ptmx');
    }
  });
});

describe('two containers that share a volume', () => {
  test('do not get a mount out of the root by exchanging a directory with a link (CVE-2021-30465)', async () => {
    const { runtime } = context;
    const volume = path.join(runtime.directory, 'shared');
    const host = path.join(runtime.directory, 'host-place');
    fs.mkdirSync(path.join(volume, 'a'), { recursive: true });
    fs.mkdirSync(host);
    fs.symlinkSync(`/../../../../../../../..${host}`, path.join(volume, 'b'));
    const racer = spawn(attacker(), ['swap', path.join(volume, 'a'), path.join(volume, 'b')], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => racer.stdout.once('data', resolve));
    try {
      let done = 0;
      for (let i = 0; i < 60; ++i) {
        const ran = runtime.run('true', (config) => {
          config.mounts.push({ destination: '/vol', source: volume, options: ['bind'] });
          config.mounts.push({ destination: '/vol/a/made/here', type: 'tmpfs', source: 'tmpfs' });
        });
        done += ran.status === 0 ? 1 : 0;
        expect(fs.readdirSync(host)).toEqual([]);
      }
      expect(done).toBeGreaterThan(0);
    } finally {
      racer.kill('SIGKILL');
      await new Promise((resolve) => racer.once('exit', resolve));
    }
  });
});

describe('what a config says', () => {
  test('is taken as it is: no option, variable or path is more than one', () => {
    const { runtime } = context;
    const source = path.join(runtime.directory, 'a,upperdir=b:c\\d\nrw');
    fs.mkdirSync(source);
    fs.writeFileSync(path.join(source, 'file'), 'text');
    const inside = runtime.run('cat /v/file; touch /v/file 2>/dev/null || echo read-only; env | sort; id -u', (config) => {
      config.mounts.push({ destination: '/v', source, options: ['bind', 'ro'] });
      Object.assign(config.process, { env: ['PATH=/bin', 'LD_PRELOAD=/x', 'A=1\nB=2', 'HOME=/'], user: { uid: 0, gid: 0 } });
    });
    expect(inside).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('textread-only\nA=1\nB=2\nHOME=/\nLD_PRELOAD=/x\n') as string,
    });
    const nul: ((config: Config) => void)[] = [
      (config) => config.mounts.push({ destination: '/proc\0/sys', source, options: ['bind'] }),
      (config) => config.mounts.push({ destination: '/m', type: 'tmpfs', source: 'tmpfs', options: ['size=1m\0'] }),
      (config) => Object.assign(config.process, { env: ['A=1\0B=2'] }),
      (config) => Object.assign(config.process, { args: ['/bin/true\0x'] }),
      (config) => Object.assign(config, { hostname: 'a\0b' }),
    ];
    for (const change of nul) expectRefused(runtime.run('true', change), 'without NUL');
  });
});
