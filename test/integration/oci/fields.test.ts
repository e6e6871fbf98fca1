import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { receiver } from './support/receiver.ts';
import { type Config, runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true, commands: ['python3', 'gcc'] });

function must(command: string, ...args: string[]): void {
  const ran = spawnSync(command, args, { encoding: 'utf8' });
  expect(ran, `${command} ${args.join(' ')}`).toMatchObject({ status: 0 });
}

/** A mount with another one below it, both on the host, for as long as `work` takes. */
async function withTree<T>(name: string, work: (tree: string) => T | Promise<T>): Promise<T> {
  const tree = path.join(context.runtime.directory, name);
  fs.mkdirSync(tree);
  must('mount', '-t', 'tmpfs', 'tmpfs', tree);
  try {
    must('mount', '--make-shared', tree);
    fs.mkdirSync(path.join(tree, 'sub'));
    must('mount', '-t', 'tmpfs', 'tmpfs', path.join(tree, 'sub'));
    return await work(tree);
  } finally {
    must('umount', '-R', tree);
    fs.rmdirSync(tree);
  }
}

describe('mounts', () => {
  test('recursive attributes go below, the others do not', () =>
    withTree('attributes', (tree) => {
      const attributes: Record<string, RegExp> = {
        rro: /^ro/,
        rnosuid: /nosuid/,
        rnodev: /nodev/,
        rnoexec: /noexec/,
        rnoatime: /noatime/,
        rnodiratime: /nodiratime/,
        rnosymfollow: /nosymfollow/,
      };
      const out = context.runtime.output('grep -E " /(all|plain)/sub " /proc/self/mountinfo | cut -d" " -f5,6', (config) => {
        config.mounts.push(
          { destination: '/all', source: tree, options: ['rbind', ...Object.keys(attributes)] },
          {
            destination: '/plain',
            source: tree,
            options: ['rbind', 'rrw', 'rsuid', 'rdev', 'rexec', 'rrelatime', 'rdiratime', 'rsymfollow'],
          },
        );
      });
      const flags = Object.fromEntries(out.split('\n').map((line) => line.split(' '))) as Record<string, string>; // pairs of path and flags
      for (const pattern of Object.values(attributes)) expect(flags['/all/sub']).toMatch(pattern);
      expect(flags['/plain/sub']).toBe('rw,relatime');
    }));

  test('a slave of the host sees what is mounted later, a private one does not', () =>
    withTree('propagation', async (tree) => {
      const { runtime } = context;
      const id = runtime.start('exec sleep 1000', (config) => {
        config.mounts.push(
          { destination: '/slave', source: tree, options: ['rbind', 'rslave'] },
          { destination: '/shared', source: tree, options: ['rbind', 'rshared'] },
          { destination: '/private', source: tree, options: ['rbind', 'rprivate'] },
        );
      });
      const later = path.join(tree, 'later');
      fs.mkdirSync(later);
      must('mount', '-t', 'tmpfs', 'tmpfs', later);
      fs.writeFileSync(path.join(later, 'file'), '');
      const seen = runtime.call(['exec', id, 'ls', '/slave/later/file', '/shared/later/file', '/private/later/file']);
      expect(seen.stdout.split('\n').filter(Boolean).sort()).toEqual(['/shared/later/file', '/slave/later/file']);
      runtime.must('kill', id, 'KILL');
      await until(() => runtime.state(id).status === 'stopped', 'the end');
    }));

  test('idmap maps the mount, ridmap those below it too', () =>
    withTree('mapped', (tree) => {
      fs.chownSync(path.join(tree, 'sub'), 7, 7);
      fs.mkdirSync(path.join(tree, 'own'));
      fs.chownSync(path.join(tree, 'own'), 7, 7);
      fs.mkdirSync(path.join(tree, 'sub/own'));
      fs.chownSync(path.join(tree, 'sub/own'), 7, 7);
      const map = [{ containerID: 7, hostID: 70, size: 1 }];
      const mount = (destination: string, option: string): Config['mounts'][number] & Record<string, unknown> => ({
        destination,
        source: tree,
        options: ['rbind', option],
        uidMappings: map,
        gidMappings: map,
      });
      const out = context.runtime.output('stat -c %u:%g /one/own /one/sub/own /all/own /all/sub/own', (config) => {
        config.mounts.push(mount('/one', 'idmap'), mount('/all', 'ridmap'));
      });
      expect(out).toBe('70:70\n7:7\n70:70\n70:70\n');
    }));

  test('idmap alone takes the maps of the container’s user namespace', () => {
    const { runtime } = context;
    fs.chmodSync(runtime.directory, 0o711);
    const source = path.join(runtime.directory, 'volume');
    fs.mkdirSync(source);
    fs.chownSync(source, 3, 3);
    const out = runtime.output('stat -c %u /root /tmp', (config) => {
      config.linux.namespaces.push({ type: 'user' });
      config.linux['uidMappings'] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
      config.linux['gidMappings'] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
      config.mounts.push({ destination: '/root', source, options: ['bind', 'idmap'] }, { destination: '/tmp', source, options: ['bind'] });
    });
    expect(out).toBe('3\n65534\n');
  });

  test.each([
    ['private', /^$/],
    ['rprivate', /^$/],
    ['slave', /^(master:\d+)?$/],
    ['rslave', /^(master:\d+)?$/],
    ['shared', /^shared:\d+$/],
    ['rshared', /^shared:\d+$/],
    ['unbindable', /^unbindable$/],
    ['runbindable', /^unbindable$/],
  ])('rootfsPropagation %s', (value, expected) => {
    const { runtime } = context;
    const out = runtime.output('grep " / / " /proc/self/mountinfo || grep -m1 " / " /proc/self/mountinfo', (config) => {
      config.linux['rootfsPropagation'] = value;
    });
    const optional = out.split('\n')[0]?.split(' - ')[0]?.split(' ').slice(6).join(' ') ?? 'missing';
    expect(optional).toMatch(expected);
  });

  test.each([
    [undefined, '1\n'],
    ['slave', '1\n'],
    ['rslave', '1\n'],
    ['private', '0\n'],
    ['shared', '0\n'],
  ])('a root that is shared on the host: with rootfsPropagation %s the container sees what is mounted there later: %s', (value, seen) => {
    const { runtime } = context;
    const bundle = runtime.bundle('exec sleep 1000', (config) => {
      if (value !== undefined) config.linux['rootfsPropagation'] = value;
    });
    const call = `${runtimeBinary} --root ${runtime.root}`;
    const script = [
      `mkdir -p ${runtime.rootfs}/late && mount --make-rprivate / && mount --bind ${runtime.rootfs} ${runtime.rootfs} && mount --make-shared ${runtime.rootfs}`,
      `${call} run --detach --bundle ${bundle} x >${bundle}/out 2>&1 || exit 1`,
      `mount -t tmpfs -o size=64k seen ${runtime.rootfs}/late`,
      `${call} exec x grep -c ' - tmpfs seen' /proc/self/mountinfo`,
      `${call} delete --force x`,
    ];
    expect(
      spawnSync('unshare', ['--mount', 'sh', '-c', script.join('\n')], { encoding: 'utf8' }).stdout,
      runtime.printed(path.basename(bundle)),
    ).toBe(seen);
  });

  test('rootfsPropagation that is none is refused', () => {
    expect(context.runtime.run('true', (config) => (config.linux['rootfsPropagation'] = 'x')).stderr).toContain('rootfsPropagation');
  });
});

describe('devices', () => {
  test('/dev/core is there where the kernel has what it leads to', () => {
    expect(context.runtime.output('readlink /dev/core || echo none')).toBe(fs.existsSync('/proc/kcore') ? '/proc/kcore\n' : 'none\n');
  });

  test('of every type with mode and owner', () => {
    const command = 'stat -c "%n %F %a %u:%g %t:%T" /dev/c /dev/u /dev/b /dev/p /dev/null; cat /dev/b 2>&1 | head -1';
    const out = context.runtime.output(command, (config) => {
      config.linux['devices'] = [
        { path: '/dev/c', type: 'c', major: 1, minor: 5, fileMode: 0o640, uid: 3, gid: 4 },
        { path: '/dev/u', type: 'u', major: 1, minor: 3 },
        { path: '/dev/b', type: 'b', major: 7, minor: 250, fileMode: 0o600 },
        { path: '/dev/p', type: 'p', fileMode: 0o622 },
      ];
    });
    expect(out.split('\n').slice(0, 6)).toEqual([
      '/dev/c character special file 640 3:4 1:5',
      '/dev/u character special file 666 0:0 1:3',
      '/dev/b block special file 600 0:0 7:fa',
      '/dev/p fifo 622 0:0 0:0',
      '/dev/null character special file 666 0:0 1:3',
      expect.stringContaining('Operation not permitted') as string, // a node is no permission: linux.resources.devices is
    ]);
  });
});

describe('namespaces', () => {
  test('time: offsets of both clocks, in exec too', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000', (config) => {
      config.linux.namespaces.push({ type: 'time' });
      config.linux['timeOffsets'] = { boottime: { secs: 1_000_000, nanosecs: 5 }, monotonic: { secs: 7 } };
    });
    expect(Number(runtime.must('exec', id, 'cut', '-d.', '-f1', '/proc/uptime'))).toBeGreaterThan(1_000_000);
    expect(runtime.must('exec', id, 'cat', '/proc/self/timens_offsets')).toMatch(/monotonic\s+7\s+0\nboottime\s+1000000\s+5\n/);
    expect(
      runtime.run('true', (config) => {
        config.linux['timeOffsets'] = { boottime: { secs: 1 } };
      }).stderr,
    ).toContain('time namespace');
  });

  test('mount: one that exists is joined', async () => {
    const { runtime } = context;
    const holder = spawn('unshare', ['--mount', '--propagation', 'private', 'sleep', '1000'], { stdio: 'ignore' });
    try {
      const own = `/proc/${holder.pid}/ns/mnt`;
      await until(() => fs.readlinkSync(own) !== fs.readlinkSync('/proc/self/ns/mnt'), 'the namespace');
      const joined = (config: Config): void => {
        config.linux.namespaces = config.linux.namespaces.map((namespace) =>
          namespace.type === 'mount' ? { ...namespace, path: own } : namespace,
        );
      };
      expect(runtime.output('readlink /proc/self/ns/mnt; ls -d /bin/busybox', joined)).toBe(`${fs.readlinkSync(own)}\n/bin/busybox\n`);
    } finally {
      holder.kill('SIGKILL');
      await new Promise((resolve) => holder.on('exit', resolve));
    }
  });
});

describe('the process', () => {
  test('io priority, scheduler and limits', () => {
    const out = context.runtime.output('ionice -p $$; cut -d" " -f18,19,41 /proc/self/stat; ulimit -Hn; ulimit -c', (config) => {
      Object.assign(config.process, {
        ioPriority: { class: 'IOPRIO_CLASS_BE', priority: 6 },
        scheduler: { policy: 'SCHED_BATCH', nice: 4, flags: [] },
        rlimits: [
          { type: 'RLIMIT_NOFILE', soft: 60, hard: 70 },
          { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
        ],
      });
    });
    expect(out).toMatch(/^best-effort: prio 6\n\d+ 4 3\n70\n0\n$/);
  });

  test('a limit that the machine cannot give is said and left', () => {
    const ran = context.runtime.run('ulimit -Hn', (config) => {
      config.process['rlimits'] = [{ type: 'RLIMIT_NOFILE', soft: 1_048_577_000, hard: 1_048_577_000 }];
    });
    // Above fs.nr_open the kernel refuses everybody.
    expect(ran.stderr).toMatch(/resource limit/);
  });

  test('intelRdt is ignored with a message', () => {
    expect(context.runtime.run('echo ran', (config) => (config.linux['intelRdt'] = { closID: 'x' }))).toMatchObject({
      status: 0,
      stdout: 'ran\n',
      stderr: expect.stringContaining('linux.intelRdt is ignored') as string,
    });
  });
});

describe('seccomp', () => {
  const withProfile =
    (syscalls: object[], rest: object = {}) =>
    (config: Config): void => {
      config.linux['seccomp'] = { defaultAction: 'SCMP_ACT_ALLOW', syscalls, ...rest };
    };

  test.each([
    ['SCMP_ACT_ALLOW', undefined, 0, ''],
    ['SCMP_ACT_LOG', undefined, 0, ''],
    ['SCMP_ACT_ERRNO', undefined, 1, 'Operation not permitted'],
    ['SCMP_ACT_ERRNO', 28, 1, 'No space left on device'],
    ['SCMP_ACT_TRACE', 5, 1, 'Function not implemented'], // nobody traces
    ['SCMP_ACT_TRAP', undefined, 159, ''],
    ['SCMP_ACT_KILL', undefined, 159, ''],
    ['SCMP_ACT_KILL_THREAD', undefined, 159, ''],
    ['SCMP_ACT_KILL_PROCESS', undefined, 159, ''],
  ])('%s with %s', (action, errnoRet, status, message) => {
    const rule = { names: ['mkdir', 'mkdirat'], action, ...(errnoRet === undefined ? {} : { errnoRet }) };
    const ran = context.runtime.run(
      'mkdir /dev/x',
      withProfile([rule], { defaultAction: action === 'SCMP_ACT_ALLOW' ? 'SCMP_ACT_LOG' : 'SCMP_ACT_ALLOW' }),
    );
    expect(ran).toMatchObject({ status, stderr: expect.stringContaining(message) as string });
  });

  const enough =
    'read write close fstat open openat newfstatat stat lstat mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn execve exit exit_group arch_prctl ioctl access getpid getppid getuid geteuid getgid getegid fork vfork clone wait4 dup2 fcntl uname getcwd readlink set_tid_address set_robust_list rseq prlimit64 getrandom prctl futex poll umask'.split(
      ' ',
    );

  test('a default action other than allow', () => {
    const { runtime } = context;
    const refused = runtime.run('mkdir /dev/x', (config) => {
      config.linux['seccomp'] = {
        defaultAction: 'SCMP_ACT_ERRNO',
        defaultErrnoRet: 38,
        syscalls: [{ names: enough, action: 'SCMP_ACT_ALLOW' }],
      };
    });
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('not implemented') as string });
  });

  test('a call that is younger than all that a profile names is not implemented, which libraries know what to do about', () => {
    const { runtime } = context;
    const probe = path.resolve(import.meta.dirname, '../../fixtures/probe.c');
    must('gcc', '-static', '-O1', '-o', path.join(runtime.rootfs, 'probe'), probe);
    const errnos = runtime.output('for n in 83 1000; do /probe syscall $n; done', (config) => {
      config.linux['seccomp'] = {
        defaultAction: 'SCMP_ACT_ERRNO',
        architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
        syscalls: [{ names: enough, action: 'SCMP_ACT_ALLOW' }],
      };
    });
    expect(errnos).toBe(`${os.constants.errno.EPERM}\n${os.constants.errno.ENOSYS}\n`);
  });

  // kill(2)'s second argument is the shell's word; all of these signals are ignored by default: SIGCHLD 17, SIGCONT 18, SIGURG 23, SIGWINCH 28.
  test.each([
    ['SCMP_CMP_EQ', 18, 0, 18, 17],
    ['SCMP_CMP_NE', 18, 0, 17, 18],
    ['SCMP_CMP_LT', 18, 0, 17, 18],
    ['SCMP_CMP_LE', 18, 0, 18, 23],
    ['SCMP_CMP_GT', 18, 0, 23, 18],
    ['SCMP_CMP_GE', 18, 0, 18, 17],
    ['SCMP_CMP_MASKED_EQ', 24, 16, 23, 28],
  ])('%s', (op, value, valueTwo, matches, differs) => {
    const { runtime } = context;
    const profile = withProfile([{ names: ['kill'], action: 'SCMP_ACT_KILL_PROCESS', args: [{ index: 1, value, valueTwo, op }] }]);
    expect(runtime.run(`kill -${matches} $$`, profile).status).toBe(159);
    expect(runtime.run(`kill -${differs} $$`, profile).status).toBe(0);
  });

  test('filter flags are taken, one that is none is refused', () => {
    const { runtime } = context;
    const rule = { names: ['mkdir'], action: 'SCMP_ACT_ERRNO' };
    const flags = ['SECCOMP_FILTER_FLAG_TSYNC', 'SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'];
    for (const flag of flags) expect(runtime.run('mkdir /dev/x', withProfile([rule], { flags: [flag] })).stderr).toContain('not permitted');
    expect(runtime.run('mkdir /dev/x', withProfile([rule], { flags })).stderr).toContain('not permitted');
    expect(runtime.run('true', withProfile([rule], { flags: ['SECCOMP_FILTER_FLAG_X'] })).stderr).toContain('SECCOMP_FILTER_FLAG_X');
  });

  test('notifications go to the listener, of the container and of an exec', async () => {
    const { runtime } = context;
    const listener = await receiver('seccomp', path.join(runtime.directory, 'notify.sock'));
    try {
      const id = runtime.start('mkdir /dev/x1 || mkdir /dev/x2; exec sleep 1000', (config) => {
        withProfile([{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }], {
          listenerPath: listener.socket,
          listenerMetadata: 'for the test',
          flags: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'],
        })(config);
      });
      await until(() => listener.stdout().includes('mkdir /dev/x2'), 'both calls');
      expect(runtime.printed(id)).toContain('No space left on device');
      const state = JSON.parse(listener.stdout().split('\n')[0] ?? '') as Record<string, unknown>; // the spec's container process state
      expect(state).toMatchObject({
        fds: ['seccompFd'],
        pid: runtime.state(id).pid,
        metadata: 'for the test',
        state: { id, status: 'created' },
      });
      expect(runtime.must('exec', id, 'sh', '-c', 'ls -d /dev/x2; mkdir /dev/x1 2>/dev/null || mkdir /dev/x3; ls -d /dev/x3')).toBe(
        '/dev/x2\n/dev/x3\n',
      );
    } finally {
      await listener.stop();
    }
    expect(runtime.run('true', withProfile([{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }])).stderr).toContain('listenerPath');
  });
});
