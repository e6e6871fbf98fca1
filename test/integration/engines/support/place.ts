import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CommandOptions, outputOf, type Ran, runToEnd, until } from './command.ts';

const repository = fileURLToPath(new URL('../../../../', import.meta.url));
export const runtimeBinary = path.join(repository, 'dist/strata-runtime');
export const busyboxTar = path.join(repository, 'dist/images/busybox.tar');

/** What belongs to the engine itself, and is there as long as it is. */
export interface OwnThings {
  readonly mounts?: RegExp;
  readonly cgroups?: RegExp;
  readonly processes?: RegExp;
}

/**
 * What one engine under test owns: a tmpfs for its images and state (also as uppers), a network namespace in which it makes its bridges and packet
 * filter rules, a cgroup. Nothing of it is to be seen outside but mounts, cgroups and processes, which are looked for at the end of each test.
 */
export class EnginePlace {
  readonly directory: string;
  readonly cgroupParent: string;
  readonly #network: ChildProcess;

  private constructor(directory: string, network: ChildProcess) {
    this.directory = directory;
    this.cgroupParent = `/${path.basename(directory)}`;
    this.#network = network;
  }

  static async make(): Promise<EnginePlace> {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'strata-eng-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2g,mode=755', 'tmpfs', directory]);
    // A process holds the namespace: a name for it would take a mount.
    const network = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up && echo up && exec sleep infinity'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (network.stdout === null) throw new Error('the namespace has no stdout');
    await Promise.race([
      once(network.stdout, 'data'),
      once(network, 'exit').then(() => Promise.reject(new Error('no network namespace could be made'))),
    ]);
    return new EnginePlace(directory, network);
  }

  file(name: string): string {
    return path.join(this.directory, name);
  }

  get networkPid(): number {
    if (this.#network.pid === undefined) throw new Error('no network namespace');
    return this.#network.pid;
  }

  /** The words that run a command in the network namespace. */
  inNetwork(...words: readonly string[]): string[] {
    return ['nsenter', `--net=/proc/${this.networkPid}/ns/net`, '--', ...words];
  }

  run(words: readonly string[], options?: CommandOptions): Promise<Ran> {
    return runToEnd(this.inNetwork(...words), { cwd: this.directory, ...options }); // conmon leaves a file where it is
  }

  output(words: readonly string[], options?: CommandOptions): Promise<string> {
    return outputOf(this.inNetwork(...words), { cwd: this.directory, ...options });
  }

  /** A page of a web server, as the engine's host sees it; undefined while nobody answers. */
  async page(url: string): Promise<string | undefined> {
    const { hostname, port, pathname } = new URL(url);
    const script = `exec 3<>/dev/tcp/${hostname}/${port} && printf 'GET ${pathname} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`;
    const ran = await this.run(['timeout', '2', 'bash', '-c', script]);
    return ran.status === 0 ? ran.stdout.split('\r\n\r\n')[1] : undefined;
  }

  /** What the container whose cgroup's path ends in `id` has in a file that v1 and v2 name differently. */
  limit(id: string, v1: string, v2: string): string {
    const found = hierarchies()
      .flatMap((mount) => [v1, v2].map((name) => path.join(mount, this.cgroupParent, id, name)))
      .find((file) => fs.existsSync(file));
    if (found === undefined) throw new Error(`no ${v1} or ${v2} of ${id} below ${this.cgroupParent}`);
    return fs.readFileSync(found, 'utf8').trim();
  }

  /** The mount points below its directory. */
  mounts(): string[] {
    const points = lines('/proc/self/mountinfo').map((line) => line.split(' ')[4] ?? '');
    return points.filter((point) => point.startsWith(`${this.directory}/`));
  }

  /** Mounts, cgroups and processes of containers, but for the engine’s own. */
  leftovers(own: OwnThings = {}): readonly string[] {
    const mounts = this.mounts().filter((point) => own.mounts?.test(point) !== true);
    const cgroups = hierarchies()
      .flatMap((mount) => children(path.join(mount, this.cgroupParent)))
      .filter((name) => own.cgroups?.test(name) !== true);
    const processes = pids().flatMap((pid) => {
      const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
      const named = command.includes(this.directory) && own.processes?.test(command) !== true;
      return named || read(`/proc/${pid}/cgroup`).includes(`:${this.cgroupParent}/`) ? [`${pid} ${command}`] : [];
    });
    return [...mounts, ...cgroups, ...processes];
  }

  async close(own: OwnThings = {}): Promise<void> {
    const left = (): readonly string[] => this.leftovers(own);
    await until(() => left().length === 0, 'the engine to leave nothing').catch(() => {});
    const leaked = left();
    const gone = once(this.#network, 'exit');
    this.#network.kill('SIGKILL');
    await gone;
    for (const mount of hierarchies()) removeCgroups(path.join(mount, this.cgroupParent));
    execFileSync('umount', ['--recursive', '--lazy', this.directory]);
    fs.rmdirSync(this.directory);
    if (leaked.length > 0) throw new Error(`the engine left behind:\n${leaked.join('\n')}`);
  }
}

function removeCgroups(directory: string): void {
  for (const child of children(directory)) removeCgroups(child);
  try {
    fs.rmdirSync(directory);
  } catch {
    // Not in this hierarchy, or busy: what is busy has been told about.
  }
}

export function hierarchies(): string[] {
  return lines('/proc/self/mountinfo')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] ?? '');
}

function pids(): string[] {
  return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
}

export function children(directory: string): string[] {
  try {
    return fs
      .readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => path.join(directory, entry.name));
  } catch {
    return [];
  }
}

function lines(file: string): string[] {
  return read(file).split('\n').filter(Boolean);
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return ''; // it has ended meanwhile
  }
}
