import * as fs from 'node:fs';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { until } from './command.ts';
import { CriClient } from './criClient.ts';
import { Daemon } from './daemon.ts';
import { children, EnginePlace, runtimeBinary } from './place.ts';
import { makeImageArchive } from './umoci.ts';

const own = { processes: /^(\S*\/)?containerd / };
const image = 'example.org/busybox:latest';
const pauseImage = 'example.org/busybox:pause';

export type NamespaceMode = 'POD' | 'CONTAINER' | 'NODE' | 'TARGET';

export interface ContainerStatus {
  readonly state: 'CONTAINER_CREATED' | 'CONTAINER_RUNNING' | 'CONTAINER_EXITED' | 'CONTAINER_UNKNOWN';
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
}

export interface Executed {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A pod that runs, with what the kubelet keeps of it. */
export interface Pod {
  readonly id: string;
  readonly config: object;
  readonly logs: string;
}

/** containerd with Kubernetes' plugin, and our runtime below it. */
export class Cri {
  readonly place: EnginePlace;
  readonly #daemon: Daemon;
  readonly #socket: string;
  #client: CriClient;
  #names = 0;

  private constructor(place: EnginePlace) {
    this.place = place;
    this.#socket = place.file('containerd.sock');
    const config = place.file('containerd.toml');
    fs.writeFileSync(config, configOf(place, this.#socket));
    this.#daemon = new Daemon(place.inNetwork('/usr/bin/containerd', '--config', config), place.file('log'));
    this.#client = new CriClient(this.#socket);
  }

  static async open(): Promise<Cri> {
    const cri = new Cri(await EnginePlace.make());
    try {
      await cri.start();
      const tags = [
        { name: 'latest', command: ['sh'] },
        { name: 'pause', command: ['sleep', '2147483647'] },
      ];
      const archive = await makeImageArchive(cri.place, tags);
      await cri.ctr('images', 'import', '--base-name', 'example.org/busybox', archive);
      await until(async () => (await cri.#hasImage(image)) && (await cri.#hasImage(pauseImage)), 'the images to be known');
    } catch (error) {
      await cri.close();
      throw error;
    }
    return cri;
  }

  async start(): Promise<void> {
    this.#client.close();
    this.#client = new CriClient(this.#socket);
    await this.#daemon.start(async () => {
      try {
        const { status } = await this.request<{ status: { conditions: { type: string; status: boolean }[] } }>('Status');
        return status.conditions.every((condition) => condition.status);
      } catch {
        return false;
      }
    });
  }

  /** The daemon ends or is killed; what it looked after goes on. */
  end(signal: NodeJS.Signals): Promise<void> {
    return this.#daemon.end(signal);
  }

  request<Answer = object>(method: string, params?: object): Promise<Answer> {
    return this.#client.request<Answer>(method, params);
  }

  ctr(...args: readonly string[]): Promise<string> {
    return this.place.output(['/usr/bin/ctr', '--address', this.#socket, '--namespace', 'k8s.io', ...args]);
  }

  async #hasImage(name: string): Promise<boolean> {
    const answer = await this.#client.request<{ image: object | null }>('ImageStatus', { image: { image: name } }, 'ImageService');
    return answer.image !== null;
  }

  /** `namespaces`: network of the node's unless said otherwise, so that no plugin has to make one. */
  async runPod(
    options: { readonly namespaces?: Readonly<Record<string, NamespaceMode>>; readonly config?: object; readonly linux?: object } = {},
  ): Promise<Pod> {
    const name = `pod-${++this.#names}`;
    const logs = this.place.file(`logs/${name}`);
    const config = {
      metadata: { name, uid: name, namespace: 'test', attempt: 0 },
      logDirectory: logs,
      ...options.config,
      linux: {
        cgroupParent: this.place.cgroupParent,
        securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER', ...options.namespaces } },
        ...options.linux,
      },
    };
    const { podSandboxId } = await this.request<{ podSandboxId: string }>('RunPodSandbox', { config });
    return { id: podSandboxId, config, logs };
  }

  /** Its id; its output goes to `<name>.log` of the pod. */
  async create(
    pod: Pod,
    name: string,
    script: string,
    options: { readonly config?: object; readonly linux?: object } = {},
  ): Promise<string> {
    const linux = { securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER' } }, ...options.linux };
    const config = {
      metadata: { name, attempt: 0 },
      image: { image },
      command: ['sh', '-c', script],
      logPath: `${name}.log`,
      ...options.config,
      linux,
    };
    const params = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
    return (await this.request<{ containerId: string }>('CreateContainer', params)).containerId;
  }

  async run(...args: Parameters<Cri['create']>): Promise<string> {
    const containerId = await this.create(...args);
    await this.request('StartContainer', { containerId });
    return containerId;
  }

  async status(containerId: string): Promise<ContainerStatus> {
    return (await this.request<{ status: ContainerStatus }>('ContainerStatus', { containerId })).status;
  }

  async exited(containerId: string): Promise<ContainerStatus> {
    await until(async () => (await this.status(containerId)).state === 'CONTAINER_EXITED', 'the container to end');
    return await this.status(containerId);
  }

  async exec(containerId: string, ...cmd: readonly string[]): Promise<Executed> {
    const answer = await this.request<{ stdout: Buffer; stderr: Buffer; exitCode: number }>('ExecSync', { containerId, cmd, timeout: 10 });
    return { status: answer.exitCode, stdout: answer.stdout.toString(), stderr: answer.stderr.toString() };
  }

  /** What it printed, as the kubelet's log has it: time, stream, a tag, text. */
  async output(containerId: string, pod: Pod, name: string): Promise<string> {
    await this.exited(containerId);
    const lines = (): string[] => fs.readFileSync(`${pod.logs}/${name}.log`, 'utf8').split('\n').filter(Boolean);
    return lines()
      .map((line) => line.split(' ').slice(3).join(' '))
      .join('\n');
  }

  /** The first process of a container that runs, as the host sees it. */
  async pid(containerId: string): Promise<string> {
    const tasks = (await this.ctr('tasks', 'ls')).split('\n').map((line) => line.split(/\s+/));
    return tasks.find(([id]) => id === containerId)?.[1] ?? '';
  }

  async removeAll(): Promise<void> {
    const { items } = await this.request<{ items: { id: string }[] }>('ListPodSandbox');
    for (const { id: podSandboxId } of items) {
      await this.request('StopPodSandbox', { podSandboxId });
      await this.request('RemovePodSandbox', { podSandboxId });
    }
  }

  leftovers(): readonly string[] {
    return [
      ...this.place.leftovers(own),
      ...children(this.place.file('runtime/k8s.io')).filter((name) => !name.endsWith('/.seccomp')),
      ...children(this.place.file('state/io.containerd.runtime.v2.task/k8s.io')),
    ];
  }

  async close(): Promise<void> {
    this.#client.close();
    await this.#daemon.end('SIGTERM');
    await this.place.close();
  }
}

function configOf(place: EnginePlace, socket: string): string {
  const network = place.file('net.d');
  fs.mkdirSync(network);
  fs.writeFileSync(
    `${network}/pods.conflist`,
    JSON.stringify({
      cniVersion: '0.4.0',
      name: 'pods',
      plugins: [
        {
          type: 'bridge',
          bridge: 'pods0',
          isGateway: true,
          ipam: { type: 'host-local', subnet: '10.87.0.0/24', dataDir: place.file('addresses') },
        },
      ],
    }),
  );
  const plugin = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "${place.file('root')}"
state = "${place.file('state')}"
[grpc]
address = "${socket}"
[ttrpc]
address = "${place.file('containerd.ttrpc')}"
[plugins."io.containerd.internal.v1.opt"]
path = "${place.file('opt')}"
[${plugin}]
sandbox_image = "${pauseImage}"
netns_mounts_under_state_dir = true
restrict_oom_score_adj = true
disable_apparmor = true
[${plugin}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "${network}"
[${plugin}.containerd]
default_runtime_name = "strata"
[${plugin}.containerd.runtimes.strata]
runtime_type = "io.containerd.runc.v2"
[${plugin}.containerd.runtimes.strata.options]
BinaryName = "${runtimeBinary}"
Root = "${place.file('runtime')}"
`;
}

/** One daemon a file; after each test nothing of a pod may be left. */
export function useCri(): { readonly cri: Cri } {
  let cri: Cri | undefined;
  const opened = (): Cri => {
    if (cri === undefined) throw new Error('the daemon is there from beforeAll on');
    return cri;
  };
  beforeAll(async () => {
    cri = await Cri.open();
  });
  afterEach(async () => {
    await opened().removeAll();
    await until(() => opened().leftovers().length === 0, 'pods to be gone').catch(() => {});
    expect(opened().leftovers()).toEqual([]);
  });
  afterAll(() => cri?.close());
  return {
    get cri() {
      return opened();
    },
  };
}
