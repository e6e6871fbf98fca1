import { readFile } from 'node:fs/promises';
import { availableParallelism, machine, release, totalmem } from 'node:os';
import type { HostCapacity } from '../cgroups/limits.ts';
import type { Addon, CgroupHost } from '../native/addon.ts';
import { type HostInfo, PROTOCOL_VERSION } from '../protocol/index.ts';

/** What is true of this host as long as the helper runs. */
export interface HostFacts {
  readonly bootId: string;
  readonly capacity: HostCapacity;
  readonly cgroup: CgroupHost;
  /** For containers' /etc/resolv.conf. */
  readonly resolvConf: string;
}

export async function readHostFacts(addon: Addon): Promise<HostFacts> {
  const cgroup = addon.cgroupHost();
  const onlineCpus = (await readOr('/sys/devices/system/cpu/online', `0-${availableParallelism() - 1}`)).trim();
  return {
    bootId: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(),
    cgroup,
    resolvConf: await readOr('/etc/resolv.conf', ''),
    capacity: {
      // Those of the host, not those that this process was pinned to.
      cpus: countCpus(onlineCpus),
      onlineCpus,
      // A kernel without NUMA has the one node, and no such file.
      memoryNodes: (await readOr('/sys/devices/system/node/has_memory', '0')).trim(),
      memoryBytes: totalmem(),
      swapAccounting: cgroup.swapAccounting,
      controllers: cgroup.controllers,
    },
  };
}

/** `host.info`. Probes once, at the first question. */
export class HostService {
  readonly #addon: Addon;
  readonly #runtime: string;
  readonly #facts: HostFacts;
  readonly #paths: HostInfo['paths'];
  readonly #version: string;
  readonly #warnings: () => readonly string[];
  #probed: Promise<Pick<HostInfo, 'features' | 'runtimeVersion'>> | undefined;

  constructor(options: {
    addon: Addon;
    runtime: string;
    facts: HostFacts;
    paths: HostInfo['paths'];
    version: string;
    /** As they are when they are asked for. */
    warnings: () => readonly string[];
  }) {
    this.#addon = options.addon;
    this.#runtime = options.runtime;
    this.#facts = options.facts;
    this.#paths = options.paths;
    this.#version = options.version;
    this.#warnings = options.warnings;
  }

  async info(): Promise<HostInfo> {
    // What failed once may do better when it is asked again.
    this.#probed ??= this.#probe().catch((error: unknown) => {
      this.#probed = undefined;
      throw error;
    });
    const { features, runtimeVersion } = await this.#probed;
    const { cgroup, capacity } = this.#facts;
    const missing = ['cpu', 'cpuset', 'memory', 'pids'].filter((name) => !cgroup.controllers.includes(name));
    return {
      helperVersion: this.#version,
      protocolVersion: `${PROTOCOL_VERSION.major}.${PROTOCOL_VERSION.minor}`,
      nodeVersion: process.version,
      runtimeVersion,
      kernelRelease: release(),
      architecture: machine(),
      cpus: capacity.cpus,
      memoryBytes: capacity.memoryBytes,
      cgroup: { mode: cgroup.mode, controllers: cgroup.controllers, swapAccounting: cgroup.swapAccounting, psi: cgroup.psi },
      features,
      paths: this.#paths,
      warnings: [...this.#warnings(), ...missing.map((name) => `the host has no "${name}" cgroup controller: such limits are refused`)],
    };
  }

  async #probe(): Promise<Pick<HostInfo, 'features' | 'runtimeVersion'>> {
    const [features, version] = await Promise.all([
      this.#addon.kernelFeatures(),
      this.#addon.runRuntime(this.#runtime, ['--version'], { timeoutMs: 5000 }),
    ]);
    return {
      features: features.map(({ name, available, detail }) => ({ name, available, detail })),
      runtimeVersion: version.stdout.trim(),
    };
  }
}

function countCpus(list: string): number {
  return list.split(',').reduce((sum, part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return sum + last - first + 1;
  }, 0);
}

async function readOr(path: string, otherwise: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return otherwise;
  }
}
