import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { onTerminal, outputOf, type Ran, runToEnd, until } from './command.ts';
import { Daemon } from './daemon.ts';
import { busyboxTar, children, EnginePlace, runtimeBinary } from './place.ts';

/** What the daemon itself keeps: its data bound to itself, names for its network namespaces (its own, a swarm's); itself and its containerd. */
const ownMounts = /\/(data|exec\/netns\/(default|ingress_sbox|1-\w+))$/;
const ownProcesses = /^(\S*\/)?(dockerd|containerd) /;

/** A dockerd of its own, with the containerd that it starts itself; every container runs on Strata unless it says otherwise. */
export class Docker {
  readonly place: EnginePlace;
  readonly #daemon: Daemon;

  private constructor(place: EnginePlace, config: Record<string, unknown>) {
    this.place = place;
    const configFile = place.file('daemon.json');
    fs.writeFileSync(
      configFile,
      JSON.stringify({
        hosts: [`unix://${place.file('docker.sock')}`],
        'data-root': place.file('data'),
        'exec-root': place.file('exec'),
        pidfile: place.file('docker.pid'),
        'cgroup-parent': place.cgroupParent,
        'deprecated-key-path': place.file('key.json'),
        runtimes: { strata: { path: runtimeBinary } },
        'default-runtime': 'strata',
        ...config,
      }),
    );
    fs.mkdirSync(place.file('client'));
    this.#daemon = new Daemon(place.inNetwork('dockerd', '--config-file', configFile), place.file('log'));
  }

  static async open(config: Record<string, unknown> = {}): Promise<Docker> {
    const docker = new Docker(await EnginePlace.make(), config);
    try {
      await docker.up();
      await docker.output('import', busyboxTar, 'busybox');
    } catch (error) {
      await docker.close();
      throw error;
    }
    return docker;
  }

  async up(): Promise<void> {
    // Its containerd dies with it when it is killed; where init is slow to reap, the next dockerd would wait for the one that is dead.
    fs.rmSync(this.place.file('exec/containerd/containerd.pid'), { force: true });
    await this.#daemon.start(async () => (await this.run('info')).status === 0);
  }

  /** The daemon's own end; with live-restore its containers stay. */
  down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    return this.#daemon.end(signal);
  }

  #words(args: readonly string[]): string[] {
    return ['/usr/bin/docker', '--config', this.place.file('client'), '--host', `unix://${this.place.file('docker.sock')}`, ...args];
  }

  run(...args: readonly string[]): Promise<Ran> {
    return runToEnd(this.#words(args));
  }

  runWithInput(input: string, ...args: readonly string[]): Promise<Ran> {
    return runToEnd(this.#words(args), { input });
  }

  output(...args: readonly string[]): Promise<string> {
    return outputOf(this.#words(args));
  }

  onTerminal(...args: readonly string[]): Promise<Ran> {
    return onTerminal(this.#words(args));
  }

  /** `docker run --rm busybox sh -c script`. */
  sh(script: string, ...options: readonly string[]): Promise<string> {
    return this.output('run', '--rm', ...options, 'busybox', 'sh', '-c', script);
  }

  /** `docker run --detach`; its id. */
  async start(script: string, ...options: readonly string[]): Promise<string> {
    return (await this.output('run', '--detach', ...options, 'busybox', 'sh', '-c', script)).trim();
  }

  async inspect(id: string, template: string): Promise<string> {
    return (await this.output('inspect', '--format', template, id)).trim();
  }

  async removeAll(): Promise<void> {
    const ids = (await this.output('ps', '--all', '--quiet')).split('\n').filter(Boolean);
    if (ids.length > 0) await this.output('rm', '--force', '--volumes', ...ids);
  }

  leftovers(): readonly string[] {
    return [
      ...this.place.leftovers({ mounts: ownMounts, processes: ownProcesses }),
      ...children(this.place.file('exec/runtime-runc/moby')).filter((name) => !name.endsWith('/.seccomp')),
      ...children(this.place.file('exec/containerd/daemon/io.containerd.runtime.v2.task/moby')),
    ];
  }

  async close(): Promise<void> {
    await this.down();
    // With live-restore, and for the namespace it was in itself, it leaves these to its next start.
    for (const mount of this.place.mounts().filter((point) => ownMounts.test(point))) execFileSync('umount', ['--lazy', mount]);
    await this.place.close();
  }
}

/** One daemon a file; after each test nothing of a container may be left. */
export function useDocker(config?: Record<string, unknown>): { readonly docker: Docker } {
  let docker: Docker | undefined;
  const started = (): Docker => {
    if (docker === undefined) throw new Error('the daemon is there from beforeAll on');
    return docker;
  };
  beforeAll(async () => {
    docker = await Docker.open(config);
  });
  afterEach(async () => {
    await started().removeAll();
    await until(() => started().leftovers().length === 0, 'containers to be gone').catch(() => {});
    expect(started().leftovers()).toEqual([]);
  });
  afterAll(() => docker?.close());
  return {
    get docker() {
      return started();
    },
  };
}
