import { readlink } from 'node:fs/promises';
import type { Addon, CgroupHost } from '../native/addon.ts';
import { fromNative } from '../native/errors.ts';
import type { ContainerDetails } from '../protocol/index.ts';
import type { Container } from './container.ts';
import { requireRunning } from './launcher.ts';
import { limitationsOf } from './limitations.ts';
import { type ProcessList, readBootTime, readProcesses } from './processes.ts';
import type { ContainerRegistry } from './registry.ts';

/** All that can be known of a container without touching it. */
export class ContainerInspection {
  readonly #registry: ContainerRegistry;
  readonly #addon: Addon;
  readonly #cgroupHost: CgroupHost;

  constructor(options: { registry: ContainerRegistry; addon: Addon; cgroupHost: CgroupHost }) {
    this.#registry = options.registry;
    this.#addon = options.addon;
    this.#cgroupHost = options.cgroupHost;
  }

  async details(reference: string): Promise<ContainerDetails> {
    const container = this.#registry.find(reference);
    const { plan, record, paths, state } = container;
    const { process } = plan.config;
    return {
      ...container.summary(),
      health: container.health?.health,
      options: record.options,
      process: {
        args: [...process.args],
        env: [...process.env],
        cwd: process.cwd,
        user: process.user.username ?? '0:0',
        capabilities: [...plan.capabilities],
        noNewPrivileges: process.noNewPrivileges,
        seccomp: plan.usesDefaultSeccomp ? 'default' : 'unconfined',
      },
      hostname: plan.config.hostname,
      stopSignal: plan.stopSignal,
      stopTimeoutMs: plan.stopTimeoutMs,
      paths: { state: paths.state, upper: paths.upper, work: paths.work, log: paths.log, run: paths.run },
      cgroup: { path: container.cgroup, mode: this.#cgroupHost.mode },
      namespaces: state.kind === 'running' ? await namespacesOf(state.pid) : {},
      supervisorPid: container.supervisorPid ?? null,
      limitations: limitationsOf(container),
      execSessions: [...container.execs.values()].map(({ session }) => session),
    };
  }

  async processes(reference: string): Promise<ProcessList> {
    const container: Container = this.#registry.find(reference);
    requireRunning(container);
    let pids: number[];
    try {
      pids = await this.#addon.cgroupProcesses(container.cgroup);
    } catch (error) {
      throw fromNative(error, `list the processes of container "${container.record.name}"`);
    }
    // A supervisor that sits in the cgroup is none of the container's own.
    const own = pids.filter((pid) => pid !== container.supervisorPid);
    // Now, and not once: the kernel tells it anew where the host's clock has been set.
    return await readProcesses(own, await readBootTime());
  }
}

/** "net" → "net:[4026531992]"; what is gone meanwhile is left out. */
async function namespacesOf(pid: number): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts']) {
    try {
      found[name] = await readlink(`/proc/${pid}/ns/${name}`);
    } catch {
      // The process has ended, or the kernel has no such namespace.
    }
  }
  return found;
}
