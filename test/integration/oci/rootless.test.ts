import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { cgroupMode } from '../../support/cgroupMode.ts';
import { requires } from '../../support/requires.ts';
import { type Config, mountPoints, type Ran, runtimeBinary, unpackImage, until } from './support/runtime.ts';

const test = requires({ root: true, commands: ['setpriv', 'unshare', 'script', 'newuidmap'] });

/** Nobody else's: what has one of these ids is of this test. */
const uid = 41_000;
const subordinate = { first: 4_100_000, count: 65_536 };

/** A user without any right, with a home of files, a runtime directory and a runtime that root has installed. */
class User {
  readonly directory = fs.mkdtempSync(path.join(os.tmpdir(), 'strata-rootless-'));
  readonly runtimeDirectory = path.join(this.directory, 'run');
  readonly rootfs = path.join(this.directory, 'rootfs');
  readonly cgroup = `/${path.basename(this.directory)}`;
  readonly installed = path.join(this.directory, 'strata-runtime');
  #bundles = 0;

  constructor() {
    fs.chmodSync(this.directory, 0o755);
    fs.mkdirSync(this.rootfs);
    unpackImage(this.rootfs);
    spawnSync('chown', ['-R', `${uid}:${uid}`, this.rootfs]);
    this.#mine(this.runtimeDirectory);
    fs.copyFileSync(runtimeBinary, this.installed);
    fs.chmodSync(this.installed, 0o755);
  }

  #mine(directory: string): void {
    fs.mkdirSync(directory, { recursive: true });
    fs.chownSync(directory, uid, uid);
  }

  /** A command of the user's; `asRoot` is a line that root runs before it, in a mount namespace of the two. */
  command(words: readonly string[], options: { readonly input?: string; readonly asRoot?: string } = {}): Ran {
    const become = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all'];
    // The set-user-id bit of newuidmap needs the bounding set.
    const drop = options.asRoot === undefined ? become : become.slice(0, -1);
    const prepare = `${options.asRoot ?? 'true'} && exec "$@"`;
    const ran = spawnSync('unshare', ['--mount', 'sh', '-c', prepare, 'sh', ...drop, ...words], {
      input: options.input ?? '',
      encoding: 'utf8',
      cwd: '/',
      timeout: 25_000,
      env: { PATH: process.env['PATH'], XDG_RUNTIME_DIR: this.runtimeDirectory },
    });
    return { status: ran.status ?? -1, stdout: ran.stdout, stderr: ran.stderr };
  }

  call(...args: string[]): Ran {
    return this.command([this.installed, ...args]);
  }

  must(...args: string[]): string {
    const ran = this.call(...args);
    expect(ran, args.join(' ')).toMatchObject({ status: 0 });
    return ran.stdout;
  }

  /** A bundle with what `spec --rootless` writes, changed. */
  bundle(change: (config: Config) => void = () => undefined): string {
    const bundle = path.join(this.directory, `bundle-${++this.#bundles}`);
    this.#mine(bundle);
    this.must('spec', '--rootless', '--bundle', bundle);
    const file = path.join(bundle, 'config.json');
    const config = JSON.parse(fs.readFileSync(file, 'utf8')) as Config; // written by the program under test
    config.root.path = this.rootfs;
    change(config);
    fs.writeFileSync(file, JSON.stringify(config));
    return bundle;
  }

  shell(command: string, change: (config: Config) => void = () => undefined): string {
    return this.bundle((config) => {
      config.process['terminal'] = false;
      config.process['args'] = ['sh', '-c', command];
      change(config);
    });
  }

  run(command: string, change?: (config: Config) => void): Ran {
    return this.call('run', '--bundle', this.shell(command, change), 'one');
  }

  /** Gives the user a cgroup in every hierarchy, with the process that asks already in it. */
  delegate(): string {
    const lines = mountPoints().flatMap((mount) => {
      const parent = path.join(mount, this.cgroup);
      const own = path.join(parent, 'own');
      if (cgroupMode() === 'v2') fs.writeFileSync(path.join(mount, 'cgroup.subtree_control'), '+pids');
      for (const directory of [parent, own]) {
        fs.mkdirSync(directory);
        // v1: nobody may enter a cpuset that has no cpus yet.
        for (const file of ['cpuset.cpus', 'cpuset.mems'].filter((name) => readOr(path.join(directory, name)) === '\n'))
          fs.writeFileSync(path.join(directory, file), readOr(path.join(mount, file)));
      }
      const writable = ['cgroup.procs', 'tasks', 'cgroup.subtree_control'].map((name) => path.join(parent, name));
      for (const file of [parent, ...writable]) if (fs.existsSync(file)) fs.chownSync(file, uid, uid);
      return [`echo $$ > ${own}/cgroup.procs`];
    });
    return lines.join(' && ');
  }

  leftovers(): readonly string[] {
    const state = path.join(this.runtimeDirectory, 'strata-runtime');
    const containers = fs.existsSync(state) ? fs.readdirSync(state).filter((name) => !name.startsWith('.')) : [];
    const mounts = fs
      .readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.directory));
    const cgroups = mountPoints()
      .flatMap((mount) => [path.join(mount, 'strata-runtime-one'), path.join(mount, this.cgroup)])
      .filter((directory) => fs.existsSync(directory));
    return [...containers, ...mounts, ...cgroups, ...processes()];
  }

  removeCgroups(): void {
    for (const mount of mountPoints())
      for (const name of ['own', '']) {
        const directory = path.join(mount, this.cgroup, name);
        if (fs.existsSync(directory)) fs.rmdirSync(directory);
      }
  }

  close(): void {
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Whoever has an id of the user's, but zombies, whose parent is none of this test. */
function processes(): string[] {
  return fs.readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    const status = readOr(`/proc/${pid}/status`);
    const own = Number(/^Uid:\s+(\d+)/m.exec(status)?.[1] ?? 0);
    const isOurs = own === uid || (own >= subordinate.first && own < subordinate.first + subordinate.count);
    return isOurs && !/^State:\s+[ZX]/m.test(status) ? [`${pid} ${readOr(`/proc/${pid}/cmdline`)}`] : [];
  });
}

function readOr(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Some distributions keep capabilities from a user's namespace unless a profile says otherwise. */
const restriction = '/proc/sys/kernel/apparmor_restrict_unprivileged_userns';

describe('without root', () => {
  let user: User;
  let restricted = '';
  beforeAll(() => {
    user = new User();
    restricted = readOr(restriction).trim();
    if (restricted === '1') fs.writeFileSync(restriction, '0');
  });
  afterEach(async () => {
    user.call('delete', '--force', 'one');
    user.removeCgroups();
    await until(() => user.leftovers().length === 0, 'the end of what was started').catch(() => undefined);
    expect(user.leftovers()).toEqual([]);
  });
  afterAll(() => {
    if (restricted === '1') fs.writeFileSync(restriction, restricted);
    user.close();
  });

  test('what spec --rootless writes runs as it is, on a terminal', () => {
    const bundle = user.bundle();
    const line = `${user.installed} run --bundle ${bundle} one`;
    const ran = user.command(['script', '-qec', line, '/dev/null'], { input: 'tty; echo uid=$(id -u); exit 3\n' });
    expect(ran.stdout).toContain('/dev/pts/0');
    expect(ran.stdout).toContain('uid=0');
    expect(ran.status).toBe(3);
  });

  test('root inside is the user outside, with devices, without groups', () => {
    const ran = user.run(
      'cat /proc/self/uid_map /proc/self/gid_map; echo x > /dev/null && head -c1 /dev/zero | wc -c; ls /sys/class; mknod /m c 1 3; touch /made; echo 1 > /proc/sys/kernel/hostname',
      (config) => (config.root.readonly = false),
    );
    expect(ran.stdout.replaceAll(/ +/g, ' ')).toMatch(new RegExp(`^ 0 ${uid} 1\n 0 ${uid} 1\n1\n`));
    expect(ran.stdout).toContain('net');
    expect(ran.stderr).toMatch(/mknod.*not permitted/);
    expect(ran.stderr).toContain('the container has no cgroup');
    expect(fs.statSync(path.join(user.rootfs, 'made'))).toMatchObject({ uid, gid: uid });
    fs.rmSync(path.join(user.rootfs, 'made'));
  });

  test('create, start, exec, state, list, ps, kill and delete below XDG_RUNTIME_DIR', async () => {
    const bundle = user.shell('exec sleep 1000');
    const out = path.join(bundle, 'out');
    const create = `${user.installed} create --bundle ${bundle} one >${out} 2>&1`;
    expect(user.command(['sh', '-c', create]).status, readOr(out)).toBe(0);
    expect(fs.readdirSync(path.join(user.runtimeDirectory, 'strata-runtime'))).toContain('one');
    expect(fs.statSync(path.join(user.runtimeDirectory, 'strata-runtime')).mode & 0o1000).toBe(0o1000);
    expect(JSON.parse(user.must('state', 'one'))).toMatchObject({ status: 'created' });
    expect(user.must('exec', 'one', 'id', '-u')).toBe('0\n');
    user.must('start', 'one');
    const { pid } = JSON.parse(user.must('state', 'one')) as { pid: number };
    expect(user.must('exec', 'one', 'sh', '-c', 'cat /proc/1/comm; cat /proc/self/uid_map')).toMatch(/^sleep\n/);
    expect(user.must('exec', '--user', '0:0', '--cwd', '/bin', 'one', 'pwd')).toBe('/bin\n');
    expect(user.must('list')).toMatch(new RegExp(`one +${pid} +running.*#${uid}`));
    const detached = `exec ${user.installed} exec --detach one sleep 1001 >/dev/null 2>&1`;
    expect(user.command(['sh', '-c', detached]).status).toBe(0);
    const pids = JSON.parse(user.must('ps', '--format', 'json', 'one')) as number[];
    expect(pids).toContain(pid);
    expect(pids).toHaveLength(2);
    for (const word of ['pause', 'update', 'events'])
      expect(user.call(word, ...(word === 'update' ? ['--pids-limit', '5'] : []), 'one')).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('no cgroup') as string,
      });
    user.must('kill', '--all', 'one', 'KILL');
    await until(() => processes().length === 0, 'the end');
    user.must('delete', '--force', 'one');
  });

  test('a limit that nobody can set is an error with its name; false makes the missing cgroup one', () => {
    const limited = user.run('true', (config) => (config.linux.resources = { pids: { limit: 7 } }));
    expect(limited).toMatchObject({ status: 1, stderr: expect.stringContaining("set 'pids.max' without a cgroup") as string });
    const bundle = user.shell('true');
    expect(user.call('--rootless=false', 'run', '--bundle', bundle, 'one')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('permission denied') as string,
    });
    expect(user.call('--rootless=maybe', 'run', '--bundle', bundle, 'one').stderr).toContain('auto, true or false');
  });

  test('a cgroup that was delegated takes the container, its limits and pause', () => {
    const asRoot = user.delegate();
    const bundle = user.shell('exec sleep 1000', (config) => {
      config.linux['cgroupsPath'] = `${user.cgroup}/one`;
      config.linux.resources = { pids: { limit: 7 } };
    });
    const out = path.join(bundle, 'out');
    const create = user.command(['sh', '-c', `${user.installed} run --detach --bundle ${bundle} one >${out} 2>&1`], { asRoot });
    expect(create.status, readOr(out) + create.stderr).toBe(0);
    const limit = mountPoints()
      .map((mount) => path.join(mount, user.cgroup, 'one/pids.max'))
      .find(fs.existsSync);
    expect(readOr(limit ?? '').trim()).toBe('7');
    expect(user.command([user.installed, 'exec', 'one', 'true'], { asRoot }).status).toBe(0);
    user.must('pause', 'one');
    expect(JSON.parse(user.must('state', 'one'))).toMatchObject({ status: 'paused' });
    user.must('resume', 'one');
    user.must('update', '--pids-limit', '8', 'one');
    expect(readOr(limit ?? '').trim()).toBe('8');
    user.must('delete', '--force', 'one');
    expect(fs.existsSync(path.dirname(limit ?? ''))).toBe(false);
  });

  test('ranges of ids by newuidmap, or the reason why not', () => {
    const mappings = (kind: string) => ({
      [`${kind}Mappings`]: [
        { containerID: 0, hostID: uid, size: 1 },
        { containerID: 1, hostID: subordinate.first, size: 100 },
      ],
    });
    const bundle = user.shell('echo me > /tmp/me; cat /proc/self/uid_map; id', (config) => {
      Object.assign(config.linux, mappings('uid'), mappings('gid'));
      Object.assign(config.process, { user: { uid: 5, gid: 6, additionalGids: [7] } });
      config.mounts.push({ destination: '/tmp', type: 'bind', source: path.join(user.directory, 'shared'), options: ['bind'] });
    });
    fs.mkdirSync(path.join(user.directory, 'shared'), { mode: 0o777 });
    fs.chmodSync(path.join(user.directory, 'shared'), 0o777);
    const run = [user.installed, 'run', '--bundle', bundle, 'one'];
    const files = { passwd: `me:x:${uid}:${uid}::/:/bin/sh\n`, subuid: `me:${subordinate.first}:100\n` };
    const give = (name: string, text: string): string => {
      const file = path.join(user.directory, name);
      fs.writeFileSync(file, text);
      // A mount needs something to stand on, which every system with users has, but a bare image may not.
      fs.closeSync(fs.openSync(`/etc/${name}`, 'a'));
      return `mount --bind ${file} /etc/${name}`;
    };
    const asRoot = [give('passwd', files.passwd), give('subuid', files.subuid), give('subgid', files.subuid)].join(' && ');
    const ran = user.command(run, { asRoot });
    expect(ran, ran.stderr).toMatchObject({ status: 0 });
    expect(ran.stdout).toContain('uid=5 gid=6 groups=7');
    expect(fs.statSync(path.join(user.directory, 'shared/me'))).toMatchObject({ uid: subordinate.first + 4, gid: subordinate.first + 5 });
    const refused = user.command(run, { asRoot: [give('passwd', files.passwd), give('subuid', ''), give('subgid', '')].join(' && ') });
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringMatching(/newuidmap.*\/etc\/subuid/s) as string });
  });

  test('a network of its own has its sysfs and its loopback', () => {
    const ran = user.run('ls /sys/class/net; cat /sys/class/net/lo/operstate; ping -c1 -W5 127.0.0.1 >/dev/null && echo up', (config) => {
      config.linux.namespaces.push({ type: 'network' });
      config.mounts = config.mounts.map((mount) =>
        mount.destination === '/sys' ? { destination: '/sys', type: 'sysfs', source: 'sysfs' } : mount,
      );
    });
    expect(ran.stdout, ran.stderr).toMatch(/^lo\nunknown\n/);
    const shared = user.run('ls /sys/class/net', (config) => {
      config.mounts = config.mounts.map((mount) =>
        mount.destination === '/sys' ? { destination: '/sys', type: 'sysfs', source: 'sysfs' } : mount,
      );
    });
    expect(shared, shared.stderr).toMatchObject({ status: 0 });
  });

  test('what takes root is refused in words, before anything is made', () => {
    const without = user.run('true', (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'user');
      delete config.linux['uidMappings'];
      delete config.linux['gidMappings'];
    });
    expect(without.stderr).toContain('needs a user namespace');
    const mapped = user.run('true', (config) => {
      config.mounts.push({ destination: '/x', type: 'bind', source: user.rootfs, options: ['bind', 'idmap'] });
    });
    expect(mapped.stderr).toContain("'/x' is id-mapped, which takes root");
    expect(user.call('--systemd-cgroup', 'run', '--bundle', user.shell('true'), 'one').stderr).toContain('--systemd-cgroup is for root');
    expect(user.command(['sh', '-c', `unset XDG_RUNTIME_DIR; ${user.installed} run --bundle ${user.shell('true')} one`]).stderr).toMatch(
      /'\/run\/strata-runtime[^']*': permission denied/,
    );
  });

  test('the runtime’s own file cannot be written from a container, whoever owns it (CVE-2019-5736)', () => {
    const own = path.join(user.directory, 'own-runtime');
    fs.copyFileSync(runtimeBinary, own);
    fs.chownSync(own, uid, uid);
    fs.chmodSync(own, 0o755);
    const before = fs.readFileSync(own);
    // Init runs this program while it waits for start; the exec'd shell is root of the same namespace.
    const bundle = user.shell('true');
    const out = path.join(bundle, 'out');
    expect(user.command(['sh', '-c', `${own} create --bundle ${bundle} one >${out} 2>&1`]).status, readOr(out)).toBe(0);
    const attack = user.command([
      own,
      'exec',
      '--cap',
      'CAP_SYS_PTRACE',
      'one',
      'sh',
      '-c',
      'readlink /proc/1/exe; echo owned > /proc/1/exe',
    ]);
    expect(attack.stdout).toContain('memfd:strata-runtime');
    expect(attack.status).not.toBe(0);
    expect(fs.readFileSync(own).equals(before)).toBe(true);
    user.must('delete', '--force', 'one');
  });

  test('root of a user namespace, as an engine without root makes it, needs no second one', () => {
    const bundle = user.shell('id -u; echo x > /dev/null && echo null; ls /sys/fs/cgroup; exit 4', (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'user' && type !== 'cgroup');
      config.mounts.push({ destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro'] });
      delete config.linux['uidMappings'];
      delete config.linux['gidMappings'];
    });
    const ran = user.command(['unshare', '--map-root-user', '--mount', user.installed, 'run', '--bundle', bundle, 'one']);
    // Nor a warning: the engine asked for no cgroup, and people would read it as the program's.
    expect(ran).toEqual({ status: 4, stdout: '0\nnull\n', stderr: '' });
  });
});
