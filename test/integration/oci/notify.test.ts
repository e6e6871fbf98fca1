import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { beforeAll, describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { type Config, runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true, commands: ['python3', 'gcc'] });

const listening = `
import json, socket, sys
name = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\\0" + name[1:] if name[0] == "@" else name)
print("listening", flush=True)
while True:
    print(json.dumps(listener.recv(4096).decode()), flush=True)
`;

/** A service manager's socket, and what came there. */
class Manager {
  readonly name: string;
  readonly #child: ChildProcess;
  #lines: string[] = [];

  constructor(name: string) {
    this.name = name;
    this.#child = spawn('python3', ['-c', listening, name], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    this.#child.stdout?.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      this.#lines = text.split('\n').slice(0, -1);
    });
  }

  static async start(name = path.join(context.runtime.directory, `manager-${Math.random()}`)): Promise<Manager> {
    const manager = new Manager(name);
    await until(() => manager.#lines.length > 0, 'the listener', 60_000);
    return manager;
  }

  get messages(): string[] {
    return this.#lines.slice(1).map((line) => JSON.parse(line) as string);
  }

  /** Everything that had been sent by then has come. */
  async stop(): Promise<string[]> {
    const script =
      'import socket, sys; name = sys.argv[1]; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"last", "\\0" + name[1:] if name[0] == "@" else name)';
    expect(spawnSync('python3', ['-c', script, this.name]).status).toBe(0);
    await until(() => this.messages.at(-1) === 'last', 'the last message');
    const ended = new Promise((resolve) => this.#child.on('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
    return this.messages.slice(0, -1);
  }
}

/** Calls the runtime with $NOTIFY_SOCKET, and with its streams at a file that the container may keep. */
function begin(
  socket: string | undefined,
  ...args: string[]
): { readonly pid: number; readonly out: () => string; readonly ended: Promise<number | null> } {
  const file = path.join(context.runtime.directory, `out-${Math.random()}`);
  const fd = fs.openSync(file, 'w');
  const env = { PATH: process.env['PATH'], ...(socket === undefined ? {} : { NOTIFY_SOCKET: socket }) };
  const child = spawn(runtimeBinary, ['--root', context.runtime.root, ...args], { stdio: ['ignore', fd, fd], env });
  fs.closeSync(fd);
  return { pid: child.pid ?? -1, out: () => fs.readFileSync(file, 'utf8'), ended: new Promise((resolve) => child.on('exit', resolve)) };
}

function bundle(command: string, change?: (config: Config) => void): { readonly id: string; readonly args: string[] } {
  const made = context.runtime.bundle(command, change);
  return { id: path.basename(made), args: ['--bundle', made, path.basename(made)] };
}

/** Says what must not go out, waits to be told, is ready, and stays. */
const service =
  '/probe notify "STATUS=up and READY=1 soon"; /probe notify "MAINPID=1\nFDSTORE=1"; while ! [ -e /dev/shm/go ]; do sleep 0.05; done; /probe notify "STATUS=x\nREADY=1\nMAINPID=1"; echo told; exec sleep 1000';
const letGo = (id: string): unknown => context.runtime.must('exec', id, 'touch', '/dev/shm/go');
const isRunning = (id: string): boolean => context.runtime.call(['state', id]).stdout.includes('"running"');

beforeAll(() => {
  const probe = path.resolve(import.meta.dirname, '../../fixtures/probe.c');
  expect(spawnSync('gcc', ['-static', '-O1', '-o', path.join(context.runtime.rootfs, 'probe'), probe]).status).toBe(0);
});

describe('$NOTIFY_SOCKET', () => {
  test('run --detach ends when the container says that it is ready, and its manager has been told the pid', async () => {
    const { runtime } = context;
    const manager = await Manager.start();
    const { id, args } = bundle(service, (config) => Object.assign(config.process, { user: { uid: 1000, gid: 1000 } }));
    const run = begin(manager.name, 'run', '--detach', ...args);
    await until(() => isRunning(id), 'the container');
    const looks = runtime.must(
      'exec',
      id,
      'sh',
      '-c',
      'tr "\\0" "\\n" < /proc/1/environ | grep NOTIFY; touch /run/notify/x 2>&1; ls /run/notify',
    );
    expect(looks).toMatch(/^NOTIFY_SOCKET=\/run\/notify\/notify\.sock\n.*Read-only file system\nnotify\.sock\n$/);
    expect(manager.messages).toEqual([]);
    expect(fs.existsSync(`/proc/${run.pid}/exe`)).toBe(true);
    letGo(id);
    expect(await run.ended).toBe(0);
    const { pid } = runtime.state(id);
    expect(await manager.stop()).toEqual([`MAINPID=${pid}\nREADY=1\n`]);
    expect(isRunning(id)).toBe(true);
  });

  test('start waits so too; without the variable it does not', async () => {
    const { runtime } = context;
    const manager = await Manager.start();
    for (const socket of [manager.name, undefined]) {
      const { id, args } = bundle(service);
      expect(await begin(manager.name, 'create', ...args).ended).toBe(0);
      const start = begin(socket, 'start', id);
      await until(() => isRunning(id), 'the container');
      if (socket !== undefined) letGo(id);
      expect(await start.ended).toBe(0);
      const { pid } = runtime.state(id);
      if (socket !== undefined) await until(() => manager.messages.includes(`MAINPID=${pid}\nREADY=1\n`), 'the message');
      runtime.must('delete', '--force', id);
    }
    expect(await manager.stop()).toHaveLength(1);
  });

  test('a container that ends without a word holds nobody', async () => {
    const manager = await Manager.start();
    const detached = bundle('exit 3');
    expect(await begin(manager.name, 'run', '--detach', ...detached.args).ended).toBe(0);
    const started = bundle('exit 3');
    expect(await begin(manager.name, 'create', ...started.args).ended).toBe(0);
    expect(await begin(manager.name, 'start', started.id).ended).toBe(0);
    expect(await begin(manager.name, 'run', ...bundle('exit 3').args).ended).toBe(3);
    expect(await manager.stop()).toEqual([]);
  });

  test('run in front stands for the container', async () => {
    const manager = await Manager.start(`@strata-test-${process.pid}`);
    const { id, args } = bundle(service);
    const run = begin(manager.name, 'run', ...args);
    await until(() => isRunning(id), 'the container');
    letGo(id);
    await until(() => run.out().includes('told'), 'the message');
    context.runtime.must('kill', id, 'KILL');
    expect(await run.ended).toBe(137);
    expect(await manager.stop()).toEqual([`MAINPID=${run.pid}\nREADY=1\n`]);
  });

  test('where nobody listens the container runs all the same', async () => {
    for (const socket of ['/nonexistent/socket', 'vsock:2:1234', `/${'x'.repeat(200)}`]) {
      const run = begin(socket, 'run', ...bundle('/probe notify READY=1; echo ran').args);
      expect(await run.ended).toBe(0);
      expect(run.out()).toMatch(/warning: .*\$NOTIFY_SOCKET.*nobody is told when the container is ready[\s\S]*ran\n$/);
    }
  });

  test('is nothing to a container whose runtime has none', async () => {
    const run = begin(undefined, 'run', ...bundle('env | grep -c NOTIFY; grep -c notify /proc/mounts').args);
    await run.ended;
    expect(run.out()).toBe('0\n0\n');
  });
});
