import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { beforeAll, describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { Checkpoints, patienceMs } from './support/checkpoints.ts';
import { receiver } from './support/receiver.ts';
import { type Config, runtimeBinary, until, useRuntime } from './support/runtime.ts';

// In the virtual machine, on whose kernel Debian's criu works.
const context = useRuntime();
const criu = new Checkpoints(context);
const test = requires({ root: true, cgroup: 'v2', commands: ['criu', 'python3'] });

/** Counts in the shell's memory; each number goes to a file that everybody can read. */
const counting = 'i=0; while :; do i=$((i+1)); echo $i > /dev/shm/new; mv /dev/shm/new /dev/shm/count; sleep 0.05; done';

const count = (id: string): number => Number(context.runtime.must('exec', id, 'cat', '/dev/shm/count'));

async function startCounting(change?: (config: Config) => void): Promise<string> {
  const id = criu.start(counting, change);
  await until(() => context.runtime.call(['exec', id, 'test', '-e', '/dev/shm/count']).status === 0, 'the first number', patienceMs);
  return id;
}

/** In front, with a pipe for output: Node's own are sockets. */
function piped(args: readonly string[]): { readonly lines: () => string[]; readonly ended: Promise<number> } {
  const out = path.join(context.runtime.directory, `${args[0]}.out`);
  const script = `{ "$@"; echo $? > ${out}.status; } </dev/null 2>&1 | cat > ${out}`;
  const child = spawn('sh', ['-c', script, 'sh', runtimeBinary, '--root', context.runtime.root, ...args], { stdio: 'ignore' });
  const ended = new Promise<number>((resolve) => child.on('close', () => resolve(Number(fs.readFileSync(`${out}.status`, 'utf8')))));
  // The last line may be on its way still.
  return { lines: () => (fs.existsSync(out) ? fs.readFileSync(out, 'utf8').split('\n').slice(0, -1) : []), ended };
}

async function goesOnFrom(id: string, last: number): Promise<void> {
  const first = count(id);
  expect(first).toBeGreaterThanOrEqual(last);
  await until(() => count(id) > first, 'the next number', patienceMs);
}

// It remembers until the next boot what it finds out about the kernel.
beforeAll(() => {
  spawnSync('criu', ['check']);
});

describe('a restored container', () => {
  test('goes on where it was, with its files, mounts, limits and names', async () => {
    const { runtime } = context;
    const volume = path.join(runtime.directory, 'volume');
    fs.mkdirSync(volume);
    const id = await startCounting((config) => {
      config.root.readonly = true;
      config.mounts.push({ destination: '/var/volume', source: volume, options: ['bind'] });
      config.mounts.push({ destination: '/var/read-only', source: volume, options: ['bind', 'ro'] });
      config.linux.resources = { ...config.linux.resources, pids: { limit: 77 } };
      Object.assign(config.process, { oomScoreAdj: 300, user: { uid: 0, gid: 0, additionalGids: [7] } });
    });
    const script =
      'hostname; grep -E "^(Cap|Groups|Seccomp:)" /proc/1/status; cat /proc/1/oom_score_adj /proc/1/cgroup; readlink /proc/1/root';
    const before = { looks: runtime.must('exec', id, 'sh', '-c', script), count: count(id) };
    criu.checkpoint(id);
    expect(runtime.call(['state', id]).stderr).toContain('does not exist');
    expect(runtime.leftovers()).toEqual([]);
    const said = criu.restore(id);
    await goesOnFrom(id, before.count);
    // Debian 12's criu does not know it.
    const isKept = runtime.must('exec', id, 'cat', '/proc/1/status').includes('NoNewPrivs:\t1');
    expect(said.includes('criu has not restored noNewPrivileges')).toBe(!isKept);
    expect(runtime.must('exec', id, 'sh', '-c', script)).toBe(before.looks);
    const writing = 'for d in / /var/volume /var/read-only /proc/sys /dev; do echo > $d/made 2>/dev/null && echo $d; done; true';
    expect(runtime.must('exec', id, 'sh', '-c', writing)).toBe('/var/volume\n/dev\n');
    expect(fs.existsSync(path.join(volume, 'made'))).toBe(true);
    expect(runtime.cgroupFile(id, 'pids.max')).toBe('77');
    expect(runtime.must('exec', id, 'ip', 'addr', 'show', 'lo')).toContain('inet 127.0.0.1/8');
    // Once more, from what was restored.
    const again = count(id);
    criu.checkpoint(id);
    criu.restore(id);
    await goesOnFrom(id, again);
    runtime.must('kill', id, 'KILL');
    await until(() => runtime.state(id).status === 'stopped', 'the end', patienceMs);
    runtime.must('delete', id);
    expect(runtime.leftovers()).toEqual([]);
  });

  test('runs on beside its images with --leave-running, which may have others before them', async () => {
    const { runtime } = context;
    const id = await startCounting();
    const { images } = criu.places(id);
    const { pid } = runtime.state(id);
    const first = path.join(images, '../first');
    expect(criu.call(['checkpoint', '--pre-dump', '--image-path', first, id]), criu.logOf(first, 'dump.log')).toMatchObject({ status: 0 });
    criu.checkpoint(id, '--parent-path', '../first', '--leave-running', '--work-path', path.join(images, '../work'));
    expect(fs.readlinkSync(path.join(images, 'parent'))).toBe('../first');
    expect(fs.existsSync(path.join(images, '../work/dump.log'))).toBe(true);
    expect(runtime.state(id)).toMatchObject({ status: 'running', pid });
    await goesOnFrom(id, 1);
    // A paused one too, which stays paused.
    runtime.must('pause', id);
    criu.checkpoint(id, '--leave-running');
    expect(runtime.state(id).status).toBe('paused');
    runtime.must('resume', id);
    await goesOnFrom(id, 1);
    runtime.must('delete', '--force', id);
    criu.restore(id);
    await goesOnFrom(id, 1);
  });

  test('has the pipes of who restores it, which takes over output and exit status', async () => {
    const { runtime } = context;
    const bundle = runtime.bundle('i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done');
    const id = path.basename(bundle);
    const before = piped(['run', '--bundle', bundle, id]);
    await until(() => before.lines().includes('3'), 'the first lines', patienceMs);
    const { images } = criu.places(id);
    criu.checkpoint(id);
    expect(await before.ended).toBe(137);
    const last = Number(before.lines().at(-1));
    const after = piped(['restore', '--bundle', bundle, '--image-path', images, id]);
    const numbers = (): number[] =>
      after
        .lines()
        .filter((line) => /^\d+$/.test(line))
        .map(Number);
    await until(() => numbers().length > 3, 'lines of the restored one', patienceMs);
    expect(numbers()[0]).toBe(last + 1);
    runtime.must('kill', id, 'KILL');
    expect(await after.ended).toBe(137);
    expect(runtime.leftovers()).toEqual([]);
  });

  test('has a terminal that goes to the console socket, and hooks before it runs', async () => {
    const { runtime } = context;
    const log = path.join(runtime.directory, 'hooks');
    const first = await receiver('console', path.join(runtime.directory, 'first.sock'));
    const bundle = runtime.bundle('i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done', (config) => {
      config.process['terminal'] = true;
      const script = `echo "$(cat)" >> ${log}`;
      config.hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', script] }] };
    });
    const id = path.basename(bundle);
    expect(await runtime.callDetached(['run', '--detach', '--console-socket', first.socket, '--bundle', bundle, id])).toBe(0);
    await until(() => first.stdout().includes('line 3'), 'lines on the terminal', patienceMs);
    criu.checkpoint(id);
    await first.ended;
    const second = await receiver('console', path.join(runtime.directory, 'second.sock'));
    criu.restore(id, '--console-socket', second.socket);
    await until(() => /line \d+\n/.test(second.stdout()), 'lines on the new terminal', patienceMs);
    const states = fs.readFileSync(log, 'utf8').trim().split('\n');
    expect(states.map((state) => JSON.parse(state) as unknown)).toMatchObject([
      { id, status: 'creating' },
      { id, status: 'creating', pid: runtime.state(id).pid, bundle },
    ]);
    expect(runtime.must('exec', id, 'readlink', '/proc/1/fd/1')).toBe('/dev/pts/0\n');
    await second.stop();
  });

  test('is in the network and ipc namespaces of another again, on a root whose mount is shared', async () => {
    const { runtime } = context;
    const root = path.join(runtime.directory, 'shared-root');
    fs.mkdirSync(root);
    for (const args of [
      ['--bind', runtime.rootfs, root],
      ['--make-shared', root],
    ])
      expect(spawnSync('mount', args).status).toBe(0);
    try {
      const other = criu.start('exec sleep 100000');
      const { pid } = runtime.state(other);
      const id = await startCounting((config) => {
        config.root.path = root;
        config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network' && type !== 'ipc');
        config.linux.namespaces.push({ type: 'network', path: `/proc/${pid}/ns/net` }, { type: 'ipc', path: `/proc/${pid}/ns/ipc` });
        config.mounts = config.mounts.filter(({ type }) => type !== 'mqueue');
      });
      const namespaces = (): string[] => ['net', 'ipc'].map((kind) => fs.readlinkSync(`/proc/${runtime.state(id).pid}/ns/${kind}`));
      const before = { namespaces: namespaces(), count: count(id) };
      criu.checkpoint(id);
      criu.restore(id);
      await goesOnFrom(id, before.count);
      expect(namespaces()).toEqual(before.namespaces);
      expect(namespaces()).toEqual(['net', 'ipc'].map((kind) => fs.readlinkSync(`/proc/${pid}/ns/${kind}`)));
      // What it mounts is nobody else's.
      expect(fs.readFileSync(`/proc/${runtime.state(id).pid}/mountinfo`, 'utf8').split('\n')[0]).not.toContain('shared:');
      runtime.must('delete', '--force', id);
    } finally {
      runtime.removeAll();
      spawnSync('umount', [root]);
    }
  });

  test('that cannot be made leaves nothing, and one that cannot be checkpointed runs on', async () => {
    const { runtime } = context;
    const id = await startCounting();
    const { bundle, images } = criu.places(id);
    criu.checkpoint(id, '--leave-running');
    runtime.must('delete', '--force', id);
    const core = fs.readdirSync(images).find((name) => name.startsWith('core-')) ?? '';
    fs.truncateSync(path.join(images, core), 20);
    const failed = criu.call(['restore', '--detach', '--bundle', bundle, '--image-path', images, id]);
    expect(failed).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/restore container '\S+': criu failed: .+restore.log/) as string,
    });
    expect(runtime.leftovers()).toEqual([]);
    expect(fs.readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('criu');
    // A file of the host's on its output is none of the container's.
    const { id: withFile } = runtime.tryCreate(counting);
    runtime.must('start', withFile);
    await until(() => runtime.call(['exec', withFile, 'test', '-e', '/dev/shm/count']).status === 0, 'the first number', patienceMs);
    const refused = criu.call(['checkpoint', '--image-path', path.join(images, '../more'), withFile]);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringMatching(/checkpoint container '\S+': criu failed: /) as string });
    await goesOnFrom(withFile, 1);
  });
});
