import * as fs from 'node:fs';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { onTerminal, type Ran, until } from './command.ts';
import { busyboxTar, EnginePlace, runtimeBinary } from './place.ts';

/** Podman puts conmon in a cgroup of its own, and a pod's where it knows the hierarchy only: these stay with the parent. */
const own = { cgroups: /\/(conmon|[0-9a-f]{64})$/, mounts: /\/graph\/overlay$/ };

/** Podman and Buildah with a store of their own. There is no daemon; conmon stays with each container. */
export class Podman {
  readonly place: EnginePlace;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(place: EnginePlace) {
    this.place = place;
    fs.mkdirSync(place.file('networks'));
    fs.mkdirSync(place.file('temporary'));
    fs.writeFileSync(
      place.file('containers.conf'),
      // Without CAP_SYS_RESOURCE Podman's own defaults for limits cannot be set.
      `[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
`,
    );
    this.#env = { CONTAINERS_CONF: place.file('containers.conf'), TMPDIR: place.file('temporary') };
  }

  static async open(): Promise<Podman> {
    const podman = new Podman(await EnginePlace.make());
    try {
      await podman.output('import', busyboxTar, 'localhost/busybox');
    } catch (error) {
      await podman.close();
      throw error;
    }
    return podman;
  }

  #store(): string[] {
    return ['--root', this.place.file('graph'), '--runroot', this.place.file('run'), '--storage-driver', 'overlay'];
  }

  #words(args: readonly string[]): string[] {
    const directories = ['--tmpdir', this.place.file('tmp'), '--network-config-dir', this.place.file('networks')];
    return ['podman', '--runtime', runtimeBinary, ...this.#store(), ...directories, ...args];
  }

  run(...args: readonly string[]): Promise<Ran> {
    return this.place.run(this.#words(args), { env: this.#env });
  }

  output(...args: readonly string[]): Promise<string> {
    return this.place.output(this.#words(args), { env: this.#env });
  }

  runWithInput(input: string, ...args: readonly string[]): Promise<Ran> {
    return this.place.run(this.#words(args), { env: this.#env, input });
  }

  onTerminal(...args: readonly string[]): Promise<Ran> {
    return onTerminal(this.place.inNetwork(...this.#words(args)), { env: this.#env });
  }

  buildah(...args: readonly string[]): Promise<Ran> {
    return this.place.run(['buildah', ...this.#store(), ...args], { env: this.#env });
  }

  /** `podman run --rm busybox sh -c script`. */
  sh(script: string, ...options: readonly string[]): Promise<Ran> {
    return this.run('run', '--rm', '--cgroup-parent', this.place.cgroupParent, ...options, 'localhost/busybox', 'sh', '-c', script);
  }

  /** `podman run --detach`; its id. */
  async start(script: string, ...options: readonly string[]): Promise<string> {
    const place = ['--cgroup-parent', this.place.cgroupParent];
    return (await this.output('run', '--detach', ...place, ...options, 'localhost/busybox', 'sh', '-c', script)).trim();
  }

  async inspect(id: string, template: string): Promise<string> {
    return (await this.output('inspect', '--format', template, id)).trim();
  }

  leftovers(): readonly string[] {
    return this.place.leftovers(own);
  }

  async close(): Promise<void> {
    await this.run('rm', '--force', '--all');
    await this.place.close(own);
  }
}

/** One store a file; after each test nothing of a container may be left. */
export function usePodman(): { readonly podman: Podman } {
  let podman: Podman | undefined;
  const opened = (): Podman => {
    if (podman === undefined) throw new Error('the store is there from beforeAll on');
    return podman;
  };
  beforeAll(async () => {
    podman = await Podman.open();
  });
  afterEach(async () => {
    await opened().output('pod', 'rm', '--force', '--all');
    await opened().output('rm', '--force', '--time', '0', '--all');
    await until(() => opened().leftovers().length === 0, 'containers to be gone').catch(() => {});
    expect(opened().leftovers()).toEqual([]);
  });
  afterAll(() => podman?.close());
  return {
    get podman() {
      return opened();
    },
  };
}
