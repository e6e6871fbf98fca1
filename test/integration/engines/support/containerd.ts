import * as fs from 'node:fs';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { onTerminal, type Ran, until } from './command.ts';
import { Daemon } from './daemon.ts';
import { children, EnginePlace, runtimeBinary } from './place.ts';
import { makeImageArchive } from './umoci.ts';

const own = { processes: /^(\S*\/)?containerd / };
const image = 'example.org/busybox:latest';

/** A containerd of its own, driven with ctr. */
export class Containerd {
  readonly place: EnginePlace;
  readonly #daemon: Daemon;

  private constructor(place: EnginePlace) {
    this.place = place;
    const config = place.file('containerd.toml');
    fs.writeFileSync(
      config,
      `version = 2
root = "${place.file('root')}"
state = "${place.file('state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "${place.file('containerd.sock')}"
[ttrpc]
address = "${place.file('containerd.ttrpc')}"
[plugins."io.containerd.internal.v1.opt"]
path = "${place.file('opt')}"
`,
    );
    this.#daemon = new Daemon(place.inNetwork('/usr/bin/containerd', '--config', config), place.file('log'));
  }

  static async open(): Promise<Containerd> {
    const containerd = new Containerd(await EnginePlace.make());
    try {
      await containerd.#daemon.start(async () => (await containerd.run('version')).status === 0);
      await containerd.#importImage();
    } catch (error) {
      await containerd.close();
      throw error;
    }
    return containerd;
  }

  async #importImage(): Promise<void> {
    const archive = await makeImageArchive(this.place, [{ name: 'latest', command: ['sh'] }]);
    await this.output('image', 'import', '--base-name', 'example.org/busybox', archive);
  }

  #words(args: readonly string[]): string[] {
    return ['/usr/bin/ctr', '--address', this.place.file('containerd.sock'), ...args];
  }

  run(...args: readonly string[]): Promise<Ran> {
    return this.place.run(this.#words(args));
  }

  output(...args: readonly string[]): Promise<string> {
    return this.place.output(this.#words(args));
  }

  onTerminal(...args: readonly string[]): Promise<Ran> {
    return onTerminal(this.place.inNetwork(...this.#words(args)));
  }

  /** The words of `ctr run` up to the id. */
  create(...options: readonly string[]): string[] {
    return ['run', '--runc-binary', runtimeBinary, '--runc-root', this.place.file('runtime'), ...options, image];
  }

  /** With a cgroup where leaks are looked for. */
  inCgroup(id: string): string[] {
    return ['--cgroup', `${this.place.cgroupParent}/${id}`];
  }

  async start(id: string, script: string, ...options: readonly string[]): Promise<void> {
    await this.output(...this.create('--detach', ...this.inCgroup(id), ...options), id, 'sh', '-c', script);
  }

  /** STATUS of `ctr tasks ls`; undefined when there is no task. */
  async status(id: string): Promise<string | undefined> {
    const lines = (await this.output('tasks', 'ls')).split('\n').map((line) => line.split(/\s+/));
    return lines.find(([name]) => name === id)?.[2];
  }

  async removeAll(): Promise<void> {
    const tasks = (await this.output('tasks', 'ls', '--quiet')).split('\n').filter(Boolean);
    for (const id of tasks) await this.output('tasks', 'delete', '--force', id);
    const containers = (await this.output('containers', 'ls', '--quiet')).split('\n').filter(Boolean);
    if (containers.length > 0) await this.output('containers', 'delete', ...containers);
  }

  leftovers(): readonly string[] {
    return [
      ...this.place.leftovers(own),
      ...children(this.place.file('runtime/default')).filter((name) => !name.endsWith('/.seccomp')),
      ...children(this.place.file('state/io.containerd.runtime.v2.task/default')),
    ];
  }

  async close(): Promise<void> {
    await this.#daemon.end('SIGTERM');
    await this.place.close();
  }
}

/** One daemon a file; after each test nothing of a container may be left. */
export function useContainerd(): { readonly containerd: Containerd } {
  let containerd: Containerd | undefined;
  const opened = (): Containerd => {
    if (containerd === undefined) throw new Error('the daemon is there from beforeAll on');
    return containerd;
  };
  beforeAll(async () => {
    containerd = await Containerd.open();
  });
  afterEach(async () => {
    await opened().removeAll();
    await until(() => opened().leftovers().length === 0, 'containers to be gone').catch(() => {});
    expect(opened().leftovers()).toEqual([]);
  });
  afterAll(() => containerd?.close());
  return {
    get containerd() {
      return opened();
    },
  };
}
