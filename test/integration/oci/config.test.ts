import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { type Config, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });

describe('mounts', () => {
  test('options of binds, recursive attributes, propagation', () => {
    const { runtime } = context;
    const source = path.join(runtime.directory, 'volume');
    fs.mkdirSync(source, { recursive: true });
    fs.writeFileSync(path.join(source, 'file'), 'x');
    const out = runtime.output(
      'for m in ro rro sl; do grep " /$m " /proc/self/mountinfo; done; echo y > /rw/made; echo y > /ro/made || echo refused',
      (config) => {
        config.root.readonly = false;
        config.mounts.push(
          { destination: '/rw', source, options: ['rbind'] },
          { destination: '/ro', source, options: ['bind', 'ro', 'nosuid', 'noatime'] },
          { destination: '/rro', source, options: ['rbind', 'rro', 'rnoexec'] },
          { destination: '/sl', source, options: ['rbind', 'rslave', 'nosymfollow'] },
        );
      },
    );
    const [ro = '', rro = '', sl = ''] = out.split('\n');
    expect(ro).toMatch(/ \/ro ro,nosuid,noatime /);
    expect(rro).toMatch(/ \/rro ro,noexec/);
    expect(sl).toContain('nosymfollow');
    expect(out).toContain('refused');
    expect(fs.readFileSync(path.join(source, 'made'), 'utf8')).toBe('y\n');
  });

  test("a bind whose options are a file system's", () => {
    const out = context.runtime.output('test -d /bound/bin && echo there', (config) => {
      config.mounts.push({ destination: '/bound', type: 'bind', source: '/usr', options: ['bind', 'mode=755', 'size=1k'] });
    });
    expect(out).toBe('there\n');
  });

  test('a tmpfs looks like what it covers, unless its options say how', () => {
    const { runtime } = context;
    fs.mkdirSync(path.join(runtime.rootfs, 'covered'), { recursive: true });
    fs.chmodSync(path.join(runtime.rootfs, 'covered'), 0o5751);
    const tmpfs = (options: string[]) => (config: Config) => {
      config.mounts.push({ destination: '/covered', type: 'tmpfs', source: 'tmpfs', options });
    };
    expect(runtime.output('stat -c %a /covered', tmpfs(['nosuid', 'size=1m']))).toBe('5751\n');
    expect(runtime.output('stat -c %a /covered', tmpfs(['mode=700']))).toBe('700\n');
  });

  test('a read-only /dev is filled first', () => {
    const out = context.runtime.output('echo > /dev/null && mkdir /dev/x 2>&1 || ls -d /dev/pts/ptmx /dev/shm', (config) => {
      const dev = config.mounts.find(({ destination }) => destination === '/dev');
      dev?.options?.push('ro');
    });
    expect(out).toBe("mkdir: can't create directory '/dev/x': Read-only file system\n/dev/pts/ptmx\n/dev/shm\n");
  });

  test('tmpcopyup starts with what the image has', () => {
    const out = context.runtime.output('cat /etc/passwd | head -1; echo x > /etc/made && ls -l /etc/made | cut -c1-10', (config) => {
      config.mounts.push({ destination: '/etc', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'size=1m'] });
    });
    expect(out).toMatch(/^root:.*\n-rw-r--r--\n$/);
    expect(fs.existsSync(path.join(context.runtime.rootfs, 'etc/made'))).toBe(false);
  });

  test('id-mapped by maps of its own', () => {
    const { runtime } = context;
    const source = path.join(runtime.directory, 'mapped');
    fs.mkdirSync(source, { recursive: true });
    fs.chownSync(source, 1000, 1000);
    const mount: Config['mounts'][number] & Record<string, unknown> = {
      destination: '/mapped',
      source,
      options: ['bind', 'idmap'],
      uidMappings: [{ containerID: 1000, hostID: 5, size: 1 }],
      gidMappings: [{ containerID: 1000, hostID: 6, size: 1 }],
    };
    expect(runtime.output('stat -c %u:%g /mapped', (config) => config.mounts.push(mount))).toBe('5:6\n');
  });

  test('the cgroups of a container without a cgroup namespace are its own alone', () => {
    const out = context.runtime.output('find /sys/fs/cgroup -name cgroup.procs | xargs cat | sort -u | wc -l', (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'cgroup');
    });
    expect(Number(out)).toBeLessThan(12);
  });
});

describe('namespaces', () => {
  test('of every kind are joined by path', () => {
    const { runtime } = context;
    const first = runtime.start('exec sleep 1000');
    const pid = runtime.state(first).pid;
    const files: Record<string, string> = { pid: 'pid', network: 'net', ipc: 'ipc', uts: 'uts', cgroup: 'cgroup' };
    const out = runtime.output('for kind in pid net ipc uts cgroup; do readlink /proc/self/ns/$kind; done; hostname', (config) => {
      config.hostname = '';
      config.linux.namespaces = [
        { type: 'mount' },
        ...Object.entries(files).map(([type, file]) => ({ type, path: `/proc/${pid}/ns/${file}` })),
      ];
      config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup');
    });
    expect(out.split('\n').slice(0, 6)).toEqual([
      ...Object.values(files).map((file) => fs.readlinkSync(`/proc/${pid}/ns/${file}`)),
      'strata',
    ]);
  });

  test('a user namespace, new and joined', () => {
    const { runtime } = context;
    fs.chmodSync(runtime.directory, 0o711);
    const change = (config: Config): void => {
      config.linux.namespaces.push({ type: 'user' });
      config.linux['uidMappings'] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
      config.linux['gidMappings'] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    };
    const id = runtime.start('exec sleep 1000', change);
    expect(fs.statSync(`/proc/${runtime.state(id).pid}`).uid).toBe(100_000);
    expect(runtime.must('exec', id, 'sh', '-c', 'id -u; cat /proc/self/uid_map')).toMatch(/^0\n\s+0\s+100000\s+65536\n$/);
    const joined = runtime.output('id -u; cat /proc/self/uid_map', (config) => {
      config.linux.namespaces.push({ type: 'user', path: `/proc/${runtime.state(id).pid}/ns/user` });
    });
    expect(joined).toMatch(/^0\n\s+0\s+100000\s+65536\n$/);
  });

  test('what would change the host is refused', () => {
    const { runtime } = context;
    const without = (type: string) => (config: Config) => {
      config.linux.namespaces = config.linux.namespaces.filter((namespace) => namespace.type !== type);
    };
    expect(runtime.run('true', without('mount')).stderr).toContain('mount namespace');
    expect(runtime.run('true', without('uts')).stderr).toContain('hostname');
    expect(
      runtime.run('true', (config) => {
        without('network')(config);
        config.linux['sysctl'] = { 'net.ipv4.ip_forward': '1' };
      }).stderr,
    ).toContain('would change the host');
  });
});

describe('the process', () => {
  test('limits, priorities, personality, umask, groups', () => {
    const out = context.runtime.output(
      'ulimit -n; umask; id -G; cut -d" " -f19 /proc/self/stat; uname -m; cat /proc/self/oom_score_adj; grep NoNew /proc/self/status',
      (config) => {
        Object.assign(config.process, {
          user: { uid: 3, gid: 4, additionalGids: [8], umask: 0o27 },
          rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }],
          scheduler: { policy: 'SCHED_BATCH', nice: 5 },
          ioPriority: { class: 'IOPRIO_CLASS_IDLE', priority: 0 },
          oomScoreAdj: 500,
        });
        config.linux['personality'] = { domain: 'LINUX32' };
      },
    );
    expect(out).toMatch(/^100\n0027\n4 8\n5\ni686\n500\nNoNewPrivs:\s1\n$/);
  });

  test('sysctls, masked and read-only paths', () => {
    const out = context.runtime.output(
      'cat /proc/sys/net/ipv4/ip_forward /proc/kcore | head -c 10; ls /proc/acpi /sys/firmware; echo 1 > /proc/sysrq-trigger || echo refused',
      (config) => {
        config.linux['sysctl'] = { 'net.ipv4.ip_forward': '1' };
      },
    );
    expect(out).toMatch(/^1\n(\/proc\/acpi:\n)?[\s\S]*refused\n$/);
  });

  test('seccomp: an errno, and a program that is cached', () => {
    const { runtime } = context;
    const profile = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }],
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
    };
    for (let i = 0; i < 2; ++i) {
      expect(
        runtime.run('mkdir /dev/x', (config) => {
          config.linux['seccomp'] = profile;
        }).stderr,
      ).toContain('No space left');
    }
    expect(fs.readdirSync(path.join(runtime.root, '.seccomp'))).toHaveLength(1);
  });
});

describe('hooks', () => {
  test('run at their moments, in their places, with the state', async () => {
    const { runtime } = context;
    const log = path.join(runtime.directory, 'hooks');
    const hook = (name: string) => [
      { path: '/bin/sh', args: ['sh', '-c', `echo "${name} $A $(cat) in $(pwd)" >> ${log}`], env: ['A=b', 'PATH=/bin:/usr/bin'] },
    ];
    const id = runtime.create('exec sleep 1000', (config) => {
      config.root.readonly = false;
      config.process['cwd'] = '/etc';
      config.hooks = {
        prestart: hook('prestart'),
        createRuntime: hook('createRuntime'),
        createContainer: hook('createContainer'),
        startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'cat > /dev/shm/start; pwd > /dev/shm/in'], env: ['PATH=/bin'] }],
        poststart: hook('poststart'),
        poststop: hook('poststop'),
      };
    });
    const names = (): string[] => fs.readFileSync(log, 'utf8').trim().split('\n');
    expect(names().map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual(['prestart b', 'createRuntime b', 'createContainer b']);
    expect(names()[0], 'as the specification of old has it').toContain('"status":"created"');
    const state = JSON.parse(names()[1]?.replace(/^\S+ b | in \S+$/g, '') ?? '') as Record<string, unknown>; // the state object of the spec
    expect(state).toMatchObject({ id, status: 'creating', pid: runtime.state(id).pid, bundle: path.join(runtime.directory, id) });
    runtime.must('start', id);
    expect(JSON.parse(runtime.must('exec', id, 'cat', '/dev/shm/start'))).toMatchObject({ id });
    expect(runtime.must('exec', id, 'cat', '/dev/shm/in')).toBe('/etc\n');
    expect(names()[3]).toMatch(/^poststart/);
    runtime.must('kill', id, 'KILL');
    await until(() => runtime.state(id).status === 'stopped', 'the end');
    runtime.must('delete', id);
    expect(names()[4]).toMatch(/^poststop.*"status":"stopped"/);
    const bundle = path.join(runtime.directory, id);
    expect(names().map((line) => line.replace(/.* in /, ''))).toEqual([bundle, bundle, runtime.rootfs, bundle, '/']);
  });

  test('that add mounts, files and interfaces find the root mounted, and nothing read-only or masked yet', () => {
    const { runtime } = context;
    const added = path.join(runtime.directory, 'added');
    fs.mkdirSync(added, { recursive: true });
    fs.writeFileSync(path.join(added, 'library'), 'of the host\n');
    fs.mkdirSync(path.join(runtime.rootfs, 'media'), { recursive: true });
    const inNamespaces = (script: string): object[] => [
      {
        path: '/bin/sh',
        args: ['sh', '-ec', `pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/'); ${script}`],
        env: [`PATH=${process.env['PATH']}:/usr/sbin:/sbin`],
      },
    ];
    const out = runtime.output(
      'cat /media/library /proc/sys/net/ipv4/conf/hook0/forwarding; stat -c %a /dev/of-hook; ls -d /made; touch /made/x 2>&1; ls /proc/acpi | wc -l',
      (config) => {
        config.root.readonly = true;
        config.linux['sysctl'] = { 'net.ipv4.conf.hook0.forwarding': '1' };
        config.hooks = {
          prestart: inNamespaces('nsenter --target $pid --net ip link add hook0 type veth peer name hook1'),
          createRuntime: inNamespaces(`nsenter --target $pid --mount mount --bind ${added} ${runtime.rootfs}/media`),
          createContainer: [
            { path: '/bin/sh', args: ['sh', '-ec', 'mkdir made; touch dev/of-hook; chmod 640 dev/of-hook'], env: ['PATH=/bin:/usr/bin'] },
          ],
        };
      },
    );
    expect(out).toMatch(/^of the host\n1\n640\n\/made\ntouch: .*Read-only file system\n0\n$/);
    expect(fs.readdirSync(path.join(runtime.rootfs, 'media'))).toEqual([]);
    fs.rmdirSync(path.join(runtime.rootfs, 'made'));
  });

  // Their programs are the image's: root of the host's user namespace with every capability would be a way out of the container.
  test.each([true, false])('of startContainer have what the process has and no more (noNewPrivileges: %s)', (noNewPrivileges) => {
    const facts =
      "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp|Uid):' /proc/self/status; umask; ulimit -n; mkdir /dev/shm/x 2>&1; mkfifo /dev/shm/$0 2>&1";
    const change = (config: Config): void => {
      Object.assign(config.process, {
        user: { uid: 1000, gid: 1000, umask: 0o27 },
        rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }],
        noNewPrivileges,
      });
      config.linux['seccomp'] = {
        defaultAction: 'SCMP_ACT_ALLOW',
        // A profile of before Linux 5.3 does not know pidfd_open.
        syscalls: [{ names: ['mkdir', 'mkdirat', 'pidfd_open'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 }],
      };
      config.hooks = {
        startContainer: [
          { path: '/bin/sh', args: ['sh', '-c', `{ ${facts.replace('$0', 'a')}; } > /dev/shm/of-hook`], env: ['PATH=/bin'] },
        ],
      };
    };
    const out = context.runtime.output(
      `{ ${facts.replace('$0', 'b')}; } > /dev/shm/own; cat /dev/shm/own; diff /dev/shm/own /dev/shm/of-hook && echo same`,
      change,
    );
    expect(out).toContain(`1000\nUid:\t1000`);
    expect(out).toContain('Seccomp:\t2');
    expect(out).toContain('No space left');
    expect(out).toMatch(/same\n$/);
  });

  test('of startContainer that the filter does not let work end the start, and nothing is left', () => {
    const { runtime } = context;
    for (const noNewPrivileges of [true, false]) {
      for (const names of [['execve'], ['pipe2', 'pipe'], ['sendmsg', 'sendto'], ['clone', 'clone3', 'vfork', 'fork']]) {
        const ran = runtime.run('echo began', (config) => {
          Object.assign(config.process, { noNewPrivileges });
          config.linux['seccomp'] = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names, action: 'SCMP_ACT_ERRNO' }] };
          config.hooks = { startContainer: [{ path: '/bin/true' }] };
        });
        expect(ran, names.join()).toMatchObject({ status: 1, stdout: '' });
        expect(runtime.leftovers()).toEqual([]);
      }
    }
  });

  test('that fail or hang end the create, and nothing is left', () => {
    const { runtime } = context;
    const failing = (kind: string, command: string) => (config: Config) => {
      config.hooks = { [kind]: [{ path: '/bin/sh', args: ['sh', '-c', command], timeout: 1, env: ['PATH=/bin'] }] };
    };
    for (const kind of ['prestart', 'createRuntime', 'createContainer', 'startContainer']) {
      expect(runtime.run('true', failing(kind, 'echo because >&2; exit 4'))).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('because') as string,
      });
      expect(runtime.leftovers()).toEqual([]);
    }
    expect(runtime.run('true', failing('prestart', 'sleep 100')).stderr).toContain('1000 ms');
  });
});

describe('a malformed config', () => {
  test('is refused with the member’s name', () => {
    const { runtime } = context;
    const cases: [(config: Config) => void, string][] = [
      [(config) => Object.assign(config.process, { args: [] }), 'process.args'],
      [(config) => Object.assign(config.process, { cwd: 'x' }), 'process.cwd'],
      [(config) => Object.assign(config.linux, { seccomp: { defaultAction: 'X' } }), 'seccomp'],
      [(config) => config.linux.namespaces.push({ type: 'pid' }), 'twice'],
      [(config) => Object.assign(config.linux, { resources: { memory: { limit: 'x' } } }), 'memory.limit'],
      [(config) => Object.assign(config.linux, { cgroupsPath: '/../x' }), 'cgroupsPath'],
      [(config) => config.mounts.push({ destination: '/proc/self', type: 'tmpfs', source: 'tmpfs' }), 'inside /proc'],
      [(config) => config.mounts.push({ destination: '/x', source: '/etc', options: ['bind', 'what'] }), "'what'"],
    ];
    for (const [change, word] of cases) {
      expect(runtime.run('true', change)).toMatchObject({ status: 1, stderr: expect.stringContaining(word) as string });
      expect(runtime.leftovers()).toEqual([]);
    }
  });

  test('by single flipped bytes never crashes the runtime', () => {
    const { runtime } = context;
    const bundle = runtime.bundle('true');
    const file = path.join(bundle, 'config.json');
    const text = fs.readFileSync(file);
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 60; ++round) {
      const broken = Buffer.from(text);
      for (let i = 0; i < 3; ++i) broken[random(broken.length)] = 32 + random(90);
      fs.writeFileSync(file, broken);
      const ran = runtime.call(['run', '--bundle', bundle, `fuzz-${round}`]);
      expect([0, 1, 126, 127]).toContain(ran.status);
      expect(ran.stderr).not.toContain('AddressSanitizer');
    }
  });
});
