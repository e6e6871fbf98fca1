import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { beforeAll, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { Checkpoints, patienceMs } from './support/checkpoints.ts';
import { until, useRuntime } from './support/runtime.ts';

// What is criu's own, each shown by what a container loses without it.
const context = useRuntime();
const criu = new Checkpoints(context);
const test = requires({ root: true, cgroup: 'v2', commands: ['criu', 'python3', 'gcc'] });

const holds = (id: string, script: string): boolean => context.runtime.call(['exec', id, 'sh', '-c', script]).status === 0;

/** Why a checkpoint without what it needs was refused; the container runs on. */
function refusal(id: string): string {
  const { images } = criu.places(id);
  const refused = criu.call(['checkpoint', '--image-path', path.join(images, '../refused'), id]);
  expect(refused.status).toBe(1);
  expect(context.runtime.state(id).status).toBe('running');
  return refused.stderr;
}

beforeAll(() => {
  spawnSync('criu', ['check']);
  const probe = path.resolve(import.meta.dirname, '../../fixtures/probe.c');
  expect(spawnSync('gcc', ['-static', '-O1', '-o', path.join(context.runtime.rootfs, 'probe'), probe]).status).toBe(0);
});

test('--file-locks: a lock is held again', async () => {
  const id = criu.start('exec /probe lock /dev/shm/lock');
  const isLocked = (): boolean => context.runtime.call(['exec', id, '/probe', 'lock', '/dev/shm/lock']).status === 4;
  await until(() => holds(id, 'test -e /dev/shm/lock'), 'the file', patienceMs);
  expect(refusal(id)).toMatch(/lock/i);
  criu.checkpoint(id, '--file-locks');
  criu.restore(id, '--file-locks');
  expect(isLocked()).toBe(true);
});

test('--ext-unix-sk: a socket of the host’s is spoken to again', async () => {
  const { runtime } = context;
  const volume = path.join(runtime.directory, 'sockets');
  fs.mkdirSync(volume);
  const script =
    'import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); [print(s.recv(99).decode(), flush=True) for _ in iter(int, 1)]';
  const listener = spawn('python3', ['-c', script, path.join(volume, 'socket')], { stdio: ['ignore', 'pipe', 'inherit'] });
  let ticks = 0;
  listener.stdout.on('data', (text: Buffer) => (ticks += text.length));
  try {
    await until(() => fs.existsSync(path.join(volume, 'socket')), 'the listener', patienceMs);
    // criu asks the network namespace who is at the other end, and connects to the name that this one has given itself.
    const id = criu.start(`exec /probe tick ${path.join(volume, 'socket')}`, (config) => {
      config.mounts.push({ destination: volume, source: volume, options: ['bind'] });
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'network');
    });
    await until(() => ticks > 0, 'a tick', patienceMs);
    expect(refusal(id)).toMatch(/external|unix/i);
    criu.checkpoint(id, '--ext-unix-sk');
    const before = ticks;
    criu.restore(id, '--ext-unix-sk');
    await until(() => ticks > before, 'a tick after the restore', patienceMs);
    runtime.must('delete', '--force', id);
  } finally {
    const ended = new Promise((resolve) => listener.on('exit', resolve));
    listener.kill('SIGKILL');
    await ended;
  }
});

test('--auto-dedup: what a later image has again goes out of the one before it', async () => {
  const { runtime } = context;
  const id = criu.start('i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; sleep 0.05; done');
  await until(() => holds(id, 'test -e /dev/shm/count'), 'the first number', patienceMs);
  const first = path.join(criu.places(id).images, '../first');
  expect(criu.call(['checkpoint', '--pre-dump', '--image-path', first, id]), criu.logOf(first, 'dump.log')).toMatchObject({ status: 0 });
  const blocks = (): number =>
    fs
      .readdirSync(first)
      .filter((name) => name.startsWith('pages-'))
      .reduce((sum, name) => sum + fs.statSync(path.join(first, name)).blocks, 0);
  const before = blocks();
  const seen = Number(runtime.must('exec', id, 'cat', '/dev/shm/count'));
  await until(() => Number(runtime.must('exec', id, 'cat', '/dev/shm/count')) > seen, 'the next number', patienceMs);
  criu.checkpoint(id, '--parent-path', '../first', '--auto-dedup');
  expect(blocks()).toBeLessThan(before);
  criu.restore(id);
});

test.each(['soft', 'full', 'ignore'])('--manage-cgroups-mode %s: it is in its cgroup with its limits again', (mode) => {
  const { runtime } = context;
  const id = criu.start('exec sleep 100000', (config) => {
    config.linux.resources = { ...config.linux.resources, pids: { limit: 77 } };
  });
  criu.checkpoint(id, '--manage-cgroups-mode', mode);
  expect(runtime.directoriesOfCgroup(id)).toEqual([]);
  criu.restore(id, '--manage-cgroups-mode', mode);
  expect(runtime.cgroupFile(id, 'pids.max')).toBe('77');
  expect(JSON.parse(runtime.must('ps', '--format', 'json', id))).toEqual([runtime.state(id).pid]);
});

test('--tcp-established: a connection goes on', async () => {
  const id = criu.start(
    'tail -f /dev/null | nc -l -p 7000 > /dev/shm/got & until (while :; do echo tick; sleep 0.1; done) | nc 127.0.0.1 7000; do sleep 0.1; done; exec sleep 100000',
  );
  const size = (): number => Number(context.runtime.call(['exec', id, 'sh', '-c', 'wc -c < /dev/shm/got']).stdout || 0);
  await until(() => size() > 0, 'the first bytes', patienceMs);
  expect(refusal(id)).toMatch(/tcp|connect/i);
  criu.checkpoint(id, '--tcp-established');
  criu.restore(id, '--tcp-established');
  const before = size();
  await until(() => size() > before, 'more bytes on the same connection', patienceMs);
});

test('--shell-job is nothing to a container, whose first process leads its own session', () => {
  const id = criu.start('exec sleep 100000');
  criu.checkpoint(id, '--shell-job');
  criu.restore(id, '--shell-job');
});
