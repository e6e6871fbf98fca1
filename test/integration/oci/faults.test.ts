import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { beforeAll, describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { buildInjector, sweep } from './support/faults.ts';
import { type Config, runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });
let injector = '';
beforeAll(() => {
  injector = buildInjector(context.runtime.directory);
});

interface Tried {
  readonly status: number;
  readonly text: string;
  /** How many calls there were; fewer than asked for: none was hit. */
  readonly calls: number;
  readonly hit: string;
}

/** One bundle a worker, so that what is left behind can be told apart. */
class Place {
  readonly bundle: string;
  readonly id: string;
  constructor(change: (config: Config) => void) {
    const { runtime } = context;
    this.bundle = runtime.bundle('', (config) => {
      Object.assign(config.process, { args: ['/bin/true'], oomScoreAdj: 100 });
      // One of each kind of step.
      config.mounts = config.mounts.filter(({ destination }) => !['/dev/shm', '/dev/mqueue', '/sys/fs/cgroup'].includes(destination));
      config.mounts.push({ destination: '/mnt/bound', source: runtime.directory, options: ['rbind', 'ro'] });
      config.mounts.push({ destination: '/etc', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup'] });
      Object.assign(config.linux, {
        maskedPaths: ['/proc/keys', '/proc/scsi'],
        readonlyPaths: ['/proc/sys'],
        sysctl: { 'net.ipv4.ip_forward': '1' },
        resources: { memory: { limit: 1 << 30 }, pids: { limit: 100 }, devices: [{ allow: false, access: 'rwm' }] },
        seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['reboot'], action: 'SCMP_ACT_ERRNO' }] },
      });
      change(config);
    });
    this.id = path.basename(this.bundle);
  }

  try(at: number, how: string, command: readonly string[]): Promise<Tried> {
    return this.tryArguments(at, how, ['--root', context.runtime.root, ...command, '--bundle', this.bundle, this.id]);
  }

  tryArguments(at: number, how: string, args: readonly string[]): Promise<Tried> {
    const report = path.join(this.bundle, 'report');
    const out = path.join(this.bundle, 'out');
    const files = [fs.openSync('/dev/null', 'r'), fs.openSync(out, 'w'), fs.openSync(report, 'w')] as const;
    const child = spawn(injector, [String(at), how, runtimeBinary, ...args], {
      stdio: [files[0], files[1], files[1], files[2]],
      timeout: 20_000,
      killSignal: 'SIGKILL',
    });
    for (const file of files) fs.closeSync(file);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => {
        const [, calls = '-1', hit = ''] = /^(\d+) (.*)$/m.exec(fs.readFileSync(report, 'utf8')) ?? [];
        resolve({ status: code ?? -1, text: fs.readFileSync(out, 'utf8'), calls: Number(calls), hit });
      });
    });
  }

  left(): string[] {
    const state = path.join(context.runtime.root, this.id);
    return [...context.runtime.directoriesOfCgroup(this.id), ...(fs.existsSync(state) ? [state] : [])];
  }

  delete(after: string): void {
    expect(context.runtime.call(['delete', '--force', this.id]), after).toMatchObject({ status: 0 });
    expect(this.left(), after).toEqual([]);
  }
}

/** What the runtime can do without, does in another way, or again. */
const optional =
  /^(prlimit64|prctl|keyctl|setsid|setns|clone3|fchownat|memfd_create|accept4|epoll_ctl|openat (\/etc\/localtime|\/proc\/self\/uid_map|\/proc\/pressure|cpuset\.|freezer\.|cgroup\.|\/sys\/fs\/cgroup\/.*cgroup\.|.*\.seccomp)|mkdir .*\.seccomp|write \/memfd:seccomp|-)/;

async function failsCleanly(place: Place, at: number, errno: number, command: readonly string[]): Promise<boolean> {
  const tried = await place.try(at, String(errno), command);
  const what = `call ${at} (${tried.hit}): status ${tried.status}, ${tried.text}`;
  if (tried.status === 0) {
    expect(tried.hit, what).toMatch(optional);
    place.delete(what);
  } else {
    // 1: an error that was told; 126 and 127: the program itself could not be started.
    expect([1, 126, 127], what).toContain(tried.status);
    expect(tried.text, what).toMatch(/^strata-runtime: .{10,}/m);
    // Why init ended, not that it did.
    expect(tried.text, what).not.toMatch(/broken pipe/i);
  }
  expect(place.left(), what).toEqual([]);
  return tried.hit !== '-';
}

const plain = (): void => {};
/** The test's own, by path: what is joined is entered by a process in between. */
const joins = (config: Config): void => {
  config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'pid' && type !== 'ipc');
  for (const type of ['pid', 'ipc']) config.linux.namespaces.push({ type, path: `/proc/${process.pid}/ns/${type}` });
};
const mapsUsers = (config: Config): void => {
  config.linux.namespaces.push({ type: 'user' }, { type: 'time' });
  for (const map of ['uidMappings', 'gidMappings']) config.linux[map] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  config.linux['timeOffsets'] = { monotonic: { secs: 10 } };
  Object.assign(config.process, { terminal: true });
  config.mounts = config.mounts.filter(({ destination }) => destination !== '/etc'); // has files that are nobody's to read
};

describe('a creation', () => {
  test('of which any call fails leaves nothing, and says what failed', { timeout: 120_000 }, async () => {
    const calls = await sweep(
      1,
      () => new Place(plain),
      (place, at) => failsCleanly(place, at, 5, ['create', '--pid-file', path.join(place.bundle, 'pid')]),
    );
    expect(calls).toBeGreaterThan(100);
    // `run` goes on to the execve.
    await sweep(
      calls - 20,
      () => new Place(plain),
      (place, at) => failsCleanly(place, at, 12, ['run']),
    );
  });

  test('that joins namespaces leaves nothing either', { timeout: 120_000 }, async () => {
    await sweep(
      1,
      () => new Place(joins),
      (place, at) => failsCleanly(place, at, 12, ['create']),
    );
  });

  test('with a user namespace and a terminal leaves nothing either', { timeout: 120_000 }, async () => {
    await sweep(
      1,
      () => new Place(mapsUsers),
      (place, at) => failsCleanly(place, at, 28, ['run']),
    );
  });

  test('that is killed at any call is gone after delete --force', { timeout: 120_000 }, async () => {
    for (const change of [plain, joins]) {
      const calls = await sweep(
        1,
        () => new Place(change),
        async (place, at) => {
          const tried = await place.try(at, 'kill', ['create']);
          const what = `call ${at} (${tried.hit}): status ${tried.status}, ${tried.text}`;
          expect([0, 137], what).toContain(tried.status);
          place.delete(what);
          return tried.hit !== '-';
        },
      );
      expect(calls).toBeGreaterThan(100);
    }
  });
});

/** One with a container that runs. */
class RunningPlace extends Place {
  pid = -1;
  /** As a process that came in sees them. */
  readonly cgroups: string[] = [];

  static async start(change: (config: Config) => void): Promise<RunningPlace> {
    const place = new RunningPlace((config) => {
      change(config);
      Object.assign(config.process, { args: ['/bin/sleep', '1000'], terminal: false });
    });
    const { runtime } = context;
    expect(await runtime.callDetached(['run', '--detach', '--bundle', place.bundle, place.id])).toBe(0);
    place.pid = runtime.state(place.id).pid;
    place.cgroups.push(...runtime.must('exec', place.id, '/bin/cat', '/proc/self/cgroup').trim().split('\n'));
    return place;
  }

  /** Whoever is in its cgroups. */
  processes(): number[] {
    const lists = context.runtime
      .directoriesOfCgroup(this.id)
      .map((directory) => fs.readFileSync(path.join(directory, 'cgroup.procs'), 'utf8'));
    return [...new Set(lists.flatMap((list) => list.split('\n').filter(Boolean).map(Number)))];
  }
}

/** Whether it is paused may stay unknown; then it is not. */
const optionalForExec = new RegExp(
  `${optional.source}|^(chdir .$|openat (.proc.self.mountinfo|.sys.fs.cgroup|strata-oci)|openat2? .proc.self.oom_score_adj|write .proc.[0-9]+.oom_score_adj)`,
);

describe('an exec', () => {
  test.each([
    { how: 'plain', change: plain, flags: [] },
    { how: 'with a user namespace and a terminal', change: mapsUsers, flags: ['--tty'] },
  ])('of which any call fails leaves the container as it was: $how', { timeout: 60_000 }, async ({ change, flags }) => {
    const { runtime } = context;
    const calls = await sweep(
      1,
      () => RunningPlace.start(change),
      async (place, at) => {
        const pidFile = path.join(place.bundle, 'exec.pid');
        const args = ['--root', runtime.root, 'exec', ...flags, '--pid-file', pidFile, place.id, '/bin/cat', '/proc/self/cgroup'];
        const tried = await place.tryArguments(at, '5', args);
        const what = `call ${at} (${tried.hit}): status ${tried.status}, ${tried.text}`;
        if (tried.status === 0) {
          expect(tried.text.trim().split(/[\r\n]+/), what).toEqual(place.cgroups);
          expect(tried.hit, what).toMatch(optionalForExec);
        } else {
          expect([255, 126, 127], what).toContain(tried.status);
          expect(tried.text, what).toMatch(/^strata-runtime: .{10,}/m);
          expect(tried.text, what).not.toMatch(/broken pipe/i);
        }
        expect(place.processes(), what).toEqual([place.pid]);
        return tried.hit !== '-';
      },
    );
    expect(calls).toBeGreaterThan(40);
  });

  test('that is killed at any call leaves nothing of it in the container', { timeout: 60_000 }, async () => {
    const calls = await sweep(
      1,
      () => RunningPlace.start(plain),
      async (place, at) => {
        const tried = await place.tryArguments(at, 'kill', ['--root', context.runtime.root, 'exec', place.id, '/bin/true']);
        const what = `call ${at} (${tried.hit}): status ${tried.status}, ${tried.text}`;
        expect([0, 137], what).toContain(tried.status);
        await until(() => place.processes().join() === String(place.pid), `the end of what came with ${what}`);
        return tried.hit !== '-';
      },
    );
    expect(calls).toBeGreaterThan(40);
  });
});

const optionalForDaemon = new RegExp(
  `${optional.source}|^(chdir .$|dup2|recvmsg|openat .dev.null|openat2? .proc.self.oom_score_adj|write .proc.[0-9]+.oom_score_adj)`,
);

/** The supervisor of a sandbox that stands is killed, which is the sandbox's end; one that could not go on ends by itself, and cleans up. */
async function endSandbox(place: Place, directory: string): Promise<void> {
  try {
    const state = JSON.parse(fs.readFileSync(path.join(directory, 'state.json'), 'utf8')) as { supervisor: { pid: number } }; // docs/supervisor.md
    process.kill(state.supervisor.pid, 'SIGKILL');
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes(String((error as NodeJS.ErrnoException).code))) throw error; // it has ended
  }
  const removed = (cgroup: string): boolean => {
    try {
      fs.rmdirSync(cgroup);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOENT';
    }
    return true;
  };
  await until(() => context.runtime.directoriesOfCgroup(place.id).every(removed), 'the end of the sandbox');
}

describe('a sandbox', () => {
  test('of which any call fails leaves nothing, and says what failed', { timeout: 120_000 }, async () => {
    const { runtime } = context;
    const calls = await sweep(
      1,
      () => new Place(plain),
      async (place, at) => {
        const directory = path.join(place.bundle, 'run');
        fs.mkdirSync(directory);
        const args = ['supervise', '--id', place.id, '--run-dir', directory, '--cgroup-path', `${runtime.cgroupParent}/${place.id}`];
        const tried = await place.tryArguments(at, '5', [...args, '--namespaces', 'mount,pid,network,uts,ipc,cgroup']);
        const what = `call ${at} (${tried.hit}): status ${tried.status}, ${tried.text}`;
        if (tried.status === 0) {
          await endSandbox(place, directory);
          expect(tried.hit, what).toMatch(optionalForDaemon);
        } else {
          expect(tried.status, what).toBe(1);
          expect(tried.text, what).toMatch(/^\{.*\}\n$/);
          expect(JSON.parse(tried.text), what).toMatchObject({
            code: expect.any(String) as string,
            message: expect.stringMatching(/.{10,}/) as string,
          });
        }
        expect(place.left(), what).toEqual([]);
        fs.rmSync(directory, { recursive: true });
        return tried.hit !== '-';
      },
    );
    expect(calls).toBeGreaterThan(60);
  });
});
