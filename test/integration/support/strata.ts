import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { Channel, type ContainerSummary, type CreateOptions, type Exit, StrataError, shellStatus } from '../../../helper/protocol/index.ts';
import type { Connection } from '../../../helper/wire/connection.ts';
import type { WireStream } from '../../../helper/wire/stream.ts';
import { distFile, HelperProcess, makePlace, type Place } from './helperProcess.ts';
import { leftovers, openDescriptors, removeCgroupParent } from './leaks.ts';

export interface Finished {
  readonly id: string;
  readonly exit: Exit;
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A helper with a connection, for the tests of one file. */
export class Strata {
  readonly place: Place;
  helper: HelperProcess;
  connection: Connection;

  constructor(helper: HelperProcess, connection: Connection) {
    this.place = helper.place;
    this.helper = helper;
    this.connection = connection;
  }

  /** Runs to the end and collects the output. */
  async run(options: Omit<CreateOptions, 'image'> & { image?: string }, stdin?: string): Promise<Finished> {
    const started = await this.connection.request('container.run', {
      options: { image: 'busybox', ...options, openStdin: stdin !== undefined },
      attach: true,
    });
    const collected = collect(streamOf(this.connection, started.stream));
    if (stdin !== undefined) {
      const stream = streamOf(this.connection, started.stream);
      await stream.write(Channel.stdin, Buffer.from(stdin));
      stream.end(Channel.stdin);
    }
    const { exit } = await this.connection.request('container.wait', { container: started.id });
    const { stdout, stderr } = await collected;
    return { id: started.id, exit, status: shellStatus(exit), stdout, stderr };
  }

  /** All but the embedded ones: what one test made, the next does not find. */
  async forgetImages(): Promise<void> {
    for (const { id, references } of (await this.connection.request('image.list', {})).images) {
      if (!references.includes('busybox:latest')) await this.connection.request('image.remove', { image: id, force: true });
    }
  }

  /** `sh -c script` to its end; its stdout. Fails the test when the status is not 0. */
  async sh(script: string, options: Partial<CreateOptions> = {}): Promise<string> {
    const finished = await this.run({ ...options, command: ['sh', '-c', script], autoRemove: true });
    expect(finished, finished.stderr).toMatchObject({ status: 0 });
    return finished.stdout;
  }

  /** A container that stays; its id. */
  async start(options: Partial<CreateOptions> = {}): Promise<string> {
    const result = await this.connection.request('container.run', {
      options: { image: 'busybox', command: ['sleep', '1000'], ...options },
    });
    return result.id;
  }

  async exec(container: string, command: string[], options: { user?: string; env?: string[]; stdin?: string } = {}): Promise<CliResult> {
    const { stdin, ...rest } = options;
    const statuses = new Map<string, number>();
    let onExit: () => void = () => {};
    const off = this.connection.onEvent((event, params) => {
      if (event !== 'exec.exited' || !('exec' in params)) return;
      statuses.set(params.exec, shellStatus({ code: params.code, signal: params.signal }));
      onExit();
    });
    try {
      const started = await this.connection.request('container.exec', { container, command, stdin: stdin !== undefined, ...rest });
      const stream = streamOf(this.connection, started.stream);
      const collected = collect(stream);
      if (stdin !== undefined) {
        await stream.write(Channel.stdin, Buffer.from(stdin));
        stream.end(Channel.stdin);
      }
      const { stdout, stderr } = await collected;
      while (!statuses.has(started.exec)) await new Promise<void>((resolve) => (onExit = resolve));
      return { status: statuses.get(started.exec) ?? -1, stdout, stderr };
    } finally {
      off();
    }
  }

  /** Runs `strata …` as a person would. */
  cli(args: readonly string[], stdin?: string): Promise<CliResult> {
    const child = spawn(process.execPath, ['--', distFile('cli.cjs'), '--socket', this.place.socketPath, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdin.end(stdin ?? '');
    child.stdin.on('error', () => {}); // a command that does not read its stdin closes it
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (bytes: Buffer) => {
      stdout += bytes.toString();
    });
    child.stderr.on('data', (bytes: Buffer) => {
      stderr += bytes.toString();
    });
    return new Promise((resolve) => child.once('close', (code) => resolve({ status: code ?? -1, stdout, stderr })));
  }

  async find(container: string): Promise<ContainerSummary> {
    const { containers } = await this.connection.request('container.list', { all: true });
    const found = containers.find((candidate) => candidate.id === container || candidate.name === container);
    if (found === undefined) throw new Error(`no container ${container}`);
    return found;
  }

  remove(container: string): Promise<unknown> {
    return this.connection.request('container.remove', { container, force: true });
  }

  async reconnect(): Promise<void> {
    this.connection.close();
    this.connection = await this.helper.connect();
  }

  /** The next helper in the same place, after the one before has ended or crashed. */
  async restart(extraArguments: readonly string[] = []): Promise<void> {
    this.helper = await HelperProcess.start(this.place, extraArguments);
    this.connection = await this.helper.connect();
  }
}

export function streamOf(connection: Connection, id: number | undefined): WireStream {
  if (id === undefined) throw new Error('the answer names no stream');
  return connection.stream(id);
}

/** Everything that a stream carries until it is closed; rejects when it is closed for a reason. `bytes`: what is neither. */
export function collect(stream: WireStream): Promise<{ stdout: string; stderr: string; bytes: string }> {
  const chunks: Record<Channel, Uint8Array[]> = { 0: [], 1: [], 2: [], 3: [] };
  return new Promise((resolve, reject) => {
    stream.consume({
      data(channel, bytes) {
        chunks[channel].push(bytes);
      },
      closed(error) {
        const text = (channel: Channel): string => Buffer.concat(chunks[channel]).toString();
        if (error === undefined) resolve({ stdout: text(Channel.stdout), stderr: text(Channel.stderr), bytes: text(Channel.bytes) });
        else reject(error);
      },
    });
  });
}

/** Waits for a condition of the world outside (a file, a process); the message of a failure names it. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 20_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`);
    await sleep(20);
  }
}

/** The StrataError that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<StrataError> {
  const reason: unknown = await promise.then(
    (value) => new Error(`expected a failure, got ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
  if (reason instanceof StrataError) return reason;
  throw reason;
}

/**
 * One helper for the tests of a file. After each test its containers are removed, and nothing may be left but the warm
 * sandbox; after the last one nothing at all.
 */
export function useStrata(): { readonly strata: Strata } {
  let strata: Strata | undefined;
  const interfaces = fs.readdirSync('/sys/class/net').sort();
  const current = (): Strata => {
    if (strata === undefined) throw new Error('the helper is started before the first test');
    return strata;
  };
  beforeAll(async () => {
    const helper = await HelperProcess.start(makePlace());
    strata = new Strata(helper, await helper.connect());
  });
  afterEach(async () => {
    const { connection, place } = current();
    const { containers } = await connection.request('container.list', { all: true });
    // One that removes itself may be gone by now.
    for (const { id } of containers) await current().remove(id).catch(ignoreNotFound);
    await until(() => nothingButTheWarmSandbox(place), 'a clean host after the test').catch(() => {
      expect(leftovers(place)).toEqual({ mounts: [], cgroups: [], processes: [], interfaces, directories: [] });
    });
  });
  afterAll(async () => {
    if (strata === undefined) return;
    const { helper, place } = strata;
    strata.connection.close();
    const descriptors = openDescriptors(helper.pid).filter((target) => target.includes(place.root));
    expect(descriptors.filter((target) => target.includes('/containers/'))).toEqual([]);
    await helper.stop();
    const clean = { mounts: [], cgroups: [], processes: [], interfaces, directories: [] };
    await until(() => JSON.stringify(leftovers(place)) === JSON.stringify(clean), 'a clean host').catch(() => {
      expect(leftovers(place)).toEqual(clean);
    });
    removeCgroupParent(place);
    fs.rmSync(place.directory, { recursive: true });
  });
  return {
    get strata() {
      return current();
    },
  };
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof StrataError) || error.code !== 'CONTAINER_NOT_FOUND') throw error;
}

/** What a warm sandbox is: its supervisor and init, its directories, its cgroup in each hierarchy; no record on disk. */
function nothingButTheWarmSandbox(place: Place): boolean {
  const left = leftovers(place);
  const ids = new Set(left.directories.map((directory) => directory.slice(-32)));
  const cgroupIds = new Set(left.cgroups.map((cgroup) => cgroup.slice(-32)));
  const recorded = left.directories.filter((directory) => fs.existsSync(`${directory}/config.json`));
  return left.mounts.length === 0 && recorded.length === 0 && ids.size <= 1 && cgroupIds.size <= 1 && left.processes.length <= 3;
}
