import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';

const repository = fileURLToPath(new URL('../../../../', import.meta.url));
export const runtimeBinary = path.join(repository, 'dist/strata-runtime');

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a config.json is made of, as far as tests change it; the rest of the spec is `unknown` to them. */
export interface Config {
  process: Record<string, unknown>;
  root: { path: string; readonly?: boolean };
  hostname?: string;
  mounts: { destination: string; type?: string; source?: string; options?: string[] }[];
  hooks?: Record<string, unknown>;
  annotations?: Record<string, string>;
  linux: Record<string, unknown> & { namespaces: { type: string; path?: string }[]; resources?: Record<string, unknown> };
}

/** A directory with bundles and a state directory of its own, whose containers are all removed at the end of a test. */
export class Runtime {
  readonly directory: string;
  readonly root: string;
  readonly cgroupParent: string;
  #bundles = 0;

  constructor() {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'strata-oci-'));
    this.root = path.join(this.directory, 'state');
    this.cgroupParent = `/${path.basename(this.directory)}`;
    fs.mkdirSync(this.rootfs, { recursive: true });
    unpackImage(this.rootfs);
  }

  get rootfs(): string {
    return path.join(this.directory, 'rootfs');
  }

  /** Runs the binary to its end. */
  call(args: readonly string[], options: { readonly input?: string; readonly cwd?: string } = {}): Ran {
    const ran = spawnSync(runtimeBinary, ['--root', this.root, ...args], {
      input: options.input ?? '',
      cwd: options.cwd ?? '/',
      encoding: 'utf8',
      timeout: 25_000,
    });
    return { status: ran.status ?? -1, stdout: ran.stdout, stderr: ran.stderr };
  }

  /** For a command that leaves a process behind, which would hold the streams: its exit status. */
  callDetached(args: readonly string[]): Promise<number | null> {
    const child = spawn(runtimeBinary, ['--root', this.root, ...args], { stdio: 'ignore', cwd: '/' });
    return new Promise((resolve) => child.on('exit', resolve));
  }

  /** The same where it has to succeed. */
  must(...args: string[]): string {
    const ran = this.call(args);
    expect(ran, `strata-runtime ${args.join(' ')}`).toMatchObject({ status: 0 });
    return ran.stdout;
  }

  /** A bundle that runs `command` in a shell; `change` edits the config. */
  bundle(command: string, change: (config: Config) => void = () => undefined): string {
    const bundle = path.join(this.directory, `bundle-${++this.#bundles}`);
    fs.mkdirSync(bundle);
    this.must('spec', '--bundle', bundle);
    const config = JSON.parse(fs.readFileSync(path.join(bundle, 'config.json'), 'utf8')) as Config; // written by the program under test
    config.process['terminal'] = false;
    config.process['args'] = ['sh', '-c', command];
    config.root.path = this.rootfs;
    config.linux['cgroupsPath'] = `${this.cgroupParent}/${path.basename(bundle)}`;
    change(config);
    fs.writeFileSync(path.join(bundle, 'config.json'), JSON.stringify(config));
    return bundle;
  }

  /** `run` of a new bundle: its output, and the exit status. */
  run(command: string, change?: (config: Config) => void): Ran {
    const bundle = this.bundle(command, change);
    return this.call(['run', '--bundle', bundle, path.basename(bundle)]);
  }

  /** `run` that has to succeed: what it printed. */
  output(command: string, change?: (config: Config) => void): string {
    const ran = this.run(command, change);
    expect(ran).toMatchObject({ status: 0 });
    return ran.stdout;
  }

  /** create with streams that go to a file, as an engine does it; the id. */
  create(command: string, change?: (config: Config) => void, options: readonly string[] = []): string {
    const { id, status } = this.tryCreate(command, change, options);
    expect(status, this.printed(id)).toBe(0);
    return id;
  }

  /** The same where it may fail: `printed(id)` says why. */
  tryCreate(
    command: string,
    change?: (config: Config) => void,
    options: readonly string[] = [],
  ): { readonly id: string; readonly status: number } {
    const bundle = this.bundle(command, change);
    const id = path.basename(bundle);
    const out = fs.openSync(path.join(bundle, 'out'), 'w');
    const args = ['--root', this.root, 'create', '--bundle', bundle, '--pid-file', path.join(bundle, 'pid'), ...options, id];
    const ran = spawnSync(runtimeBinary, args, { stdio: ['ignore', out, out] });
    fs.closeSync(out);
    return { id, status: ran.status ?? -1 };
  }

  /** A command that goes on beside the test. */
  spawn(args: readonly string[]): { readonly pid: number; readonly stdout: () => string; readonly ended: Promise<number | null> } {
    const child = spawn(runtimeBinary, ['--root', this.root, ...args], { stdio: ['ignore', 'pipe', 'inherit'], cwd: '/' });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    return { pid: child.pid ?? -1, stdout: () => stdout, ended: new Promise((resolve) => child.on('close', resolve)) };
  }

  start(command: string, change?: (config: Config) => void): string {
    const id = this.create(command, change);
    this.must('start', id);
    return id;
  }

  printed(id: string): string {
    return fs.readFileSync(path.join(this.directory, id, 'out'), 'utf8');
  }

  state(id: string): { readonly status: string; readonly pid: number; readonly annotations: Record<string, string> } {
    return JSON.parse(this.must('state', id)) as ReturnType<Runtime['state']>; // the state object of the spec
  }

  directoriesOfCgroup(id: string): string[] {
    return mountPoints()
      .map((mount) => path.join(mount, this.cgroupParent, id))
      .filter((directory) => fs.existsSync(directory));
  }

  /** A file of the container's cgroup in whichever hierarchy has it. */
  cgroupFile(id: string, name: string): string | undefined {
    const file = this.directoriesOfCgroup(id)
      .map((directory) => path.join(directory, name))
      .find(fs.existsSync);
    return file === undefined ? undefined : fs.readFileSync(file, 'utf8').trim();
  }

  /** What a test may not leave behind. */
  leftovers(): readonly string[] {
    const containers = fs.existsSync(this.root) ? fs.readdirSync(this.root).filter((name) => !name.startsWith('.')) : [];
    const mounts = fs
      .readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.directory));
    const cgroups = mountPoints()
      .map((mount) => path.join(mount, this.cgroupParent))
      .filter(fs.existsSync)
      .flatMap(children);
    return [...containers, ...mounts, ...cgroups];
  }

  removeAll(): void {
    for (const id of fs.existsSync(this.root) ? fs.readdirSync(this.root) : [])
      if (!id.startsWith('.')) this.call(['delete', '--force', id]);
  }

  close(): void {
    this.removeAll();
    for (const mount of mountPoints()) {
      const parent = path.join(mount, this.cgroupParent);
      if (fs.existsSync(parent)) fs.rmdirSync(parent);
    }
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

function children(directory: string): string[] {
  return fs
    .readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(directory, entry.name));
}

/** The image that every bundle of these tests runs. */
export function unpackImage(directory: string): void {
  const unpacked = spawnSync('tar', ['-xf', path.join(repository, 'dist/images/busybox.tar'), '-C', directory]);
  if (unpacked.status !== 0) throw new Error(`unpacking the image: ${unpacked.stderr.toString()}`);
}

/** Of every cgroup hierarchy. */
export function mountPoints(): string[] {
  return fs
    .readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] ?? '');
}

/** One Runtime a file; after each test nothing may be left. */
export function useRuntime(): { readonly runtime: Runtime } {
  let runtime: Runtime | undefined;
  beforeAll(() => {
    runtime = new Runtime();
  });
  afterEach(() => {
    runtime?.removeAll();
    expect(runtime?.leftovers()).toEqual([]);
  });
  afterAll(() => runtime?.close());
  return {
    get runtime() {
      if (runtime === undefined) throw new Error('the runtime is there from beforeAll on');
      return runtime;
    },
  };
}

/** Until `condition` is true; a container does not say when it has come somewhere. */
export async function until(condition: () => boolean, what: string, patienceMs = 10_000): Promise<void> {
  const deadline = Date.now() + patienceMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${patienceMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
