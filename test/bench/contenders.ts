import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as readline from 'node:readline';
import type { Connection } from '../../helper/wire/connection.ts';

/** Something that starts `true` and waits for its end; milliseconds. */
export interface Contender {
  readonly name: string;
  /** The most memory that one process of it had resident, where that is known. */
  readonly peakKib?: number;
  once(): Promise<number>;
  close(): void;
}

/** A command, timed by a small process of its own (timer.c). */
export class CommandContender implements Contender {
  readonly name: string;
  peakKib = 0;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(
    name: string,
    timer: string,
    command: readonly string[],
    { wrapper = [], environment = {} }: { wrapper?: readonly string[]; environment?: Record<string, string> } = {},
  ) {
    this.name = name;
    const [program, ...args] = [...wrapper, timer, ...command];
    if (program === undefined) throw new Error(`${name}: no command`);
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...environment } });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error(`${name}: no stdout`);
    this.#lines = readline.createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  async once(): Promise<number> {
    this.#child.stdin?.write('\n');
    const line: IteratorResult<string, unknown> = await this.#lines.next();
    if (line.done === true) throw new Error(`${this.name} ended early`);
    const [nanoseconds, status, peakKib = 0] = line.value.split(' ').map(Number);
    if (nanoseconds === undefined || status !== 0) throw new Error(`${this.name} ended with status ${status}`);
    this.peakKib = peakKib;
    return nanoseconds / 1e6;
  }

  close(): void {
    this.#child.stdin?.end();
  }
}

/** The whole path of Strata: request over the WebSocket, helper, runtime, exit event back; on a kept connection. */
export class StrataContender implements Contender {
  readonly name: string;
  readonly #connection: Connection;
  readonly #waiting = new Map<string, () => void>();
  readonly #exited = new Set<string>();

  private constructor(name: string, connection: Connection) {
    this.name = name;
    this.#connection = connection;
    connection.onEvent((event, params) => {
      if (event !== 'container.exited' || !('id' in params)) return;
      this.#exited.add(params.id);
      this.#waiting.get(params.id)?.();
    });
  }

  static async make(name: string, connection: Connection): Promise<StrataContender> {
    const contender = new StrataContender(name, connection);
    await connection.request('events.subscribe', {});
    return contender;
  }

  async once(): Promise<number> {
    const start = process.hrtime.bigint();
    const { id } = await this.#connection.request('container.run', {
      options: { image: 'busybox', command: ['true'], autoRemove: true },
    });
    if (!this.#exited.delete(id)) await new Promise<void>((resolve) => this.#waiting.set(id, resolve));
    const elapsed = Number(process.hrtime.bigint() - start) / 1e6;
    this.#waiting.delete(id);
    this.#exited.delete(id);
    return elapsed;
  }

  close(): void {
    this.#connection.close();
  }
}

/** An OCI bundle with a plain directory as rootfs (cheaper than Strata's overlay) and the config that Strata itself would use. */
export function writeBundle(directory: string, rootfsTar: string, config: Record<string, unknown>): string {
  const rootfs = path.join(directory, 'rootfs');
  fs.mkdirSync(rootfs, { recursive: true });
  execFileSync('tar', ['-xf', rootfsTar, '-C', rootfs]);
  for (const name of ['upper', 'work', 'merged']) fs.mkdirSync(path.join(directory, name));
  fs.writeFileSync(path.join(directory, 'config.json'), JSON.stringify({ ...config, root: { path: 'rootfs' } }));
  return directory;
}

export function compile(source: string, directory: string): string {
  const output = path.join(directory, path.basename(source, '.c'));
  execFileSync('gcc', ['-O2', '-static', '-o', output, path.join(import.meta.dirname, source)]);
  return output;
}

export function isInstalled(command: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** What shows crun a v1 host where the host is a hybrid one, which it refuses. */
export function hybridWrapper(): readonly string[] {
  const mounts = fs.readFileSync('/proc/self/mounts', 'utf8');
  const hybrid = / cgroup /.test(mounts) && / cgroup2 /.test(mounts);
  return hybrid ? ['unshare', '-m', '--propagation', 'private', path.join(import.meta.dirname, 'crun-on-v1.sh')] : [];
}

/** Ends a child process and waits for it. */
export async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
