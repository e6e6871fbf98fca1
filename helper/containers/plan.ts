import {
  type ContainerId,
  type CreateOptions,
  type ImageConfig,
  type Limits,
  StrataError,
  signalName,
  signalOf,
} from '../protocol/index.ts';
import { resolveCapabilities } from './capabilities.ts';
import {
  DEFAULT_MOUNTS,
  DEFAULT_PATH,
  DEFAULT_STOP_SIGNAL,
  DEFAULT_STOP_TIMEOUT_MS,
  DEVICE_RULES,
  MASKED_PATHS,
  READONLY_PATHS,
} from './defaults.ts';
import { type HealthPlan, planHealth } from './healthPlan.ts';
import {
  DEFAULT_NAMESPACES,
  type NamespaceType,
  type OciConfig,
  type OciIdMap,
  type OciMount,
  type OciProcess,
  type OciResources,
} from './ociConfig.ts';

/** All that a start needs to be told, from what a person asked for and what the image says. */
export interface ContainerPlan {
  readonly config: OciConfig;
  readonly namespaces: readonly NamespaceType[];
  readonly capabilities: readonly string[];
  readonly usesDefaultSeccomp: boolean;
  readonly stopSignal: string;
  readonly stopTimeoutMs: number;
  /** Undefined: nobody asked for health checks. */
  readonly health: HealthPlan | undefined;
  readonly warnings: readonly string[];
}

export interface PlanInput {
  readonly id: ContainerId;
  readonly options: CreateOptions;
  readonly image: ImageConfig;
  readonly limits: Limits;
  readonly cgroup: string;
}

/** Pure: reads nothing, changes nothing, and says with a StrataError what cannot be. */
export function planContainer(input: PlanInput): ContainerPlan {
  const { options, image } = input;
  const capabilities = resolveCapabilities(options.capAdd ?? [], options.capDrop ?? []);
  const namespaces = namespacesOf(options);
  const hostname = options.hostname ?? defaultHostname(input.id);
  const health = planHealth(options, image);
  return {
    config: {
      ociVersion: '1.2.0',
      process: planProcess(options, image, { hostname, capabilities }),
      root: { path: 'rootfs', readonly: options.readOnlyRootfs ?? false },
      hostname,
      mounts: [...DEFAULT_MOUNTS, ...tmpfsMounts(options.tmpfs ?? {})],
      linux: {
        namespaces: namespaces.map((type) => ({ type })),
        ...idMappings(options),
        ...timeOffsets(options),
        cgroupsPath: input.cgroup,
        resources: planResources(input.limits),
        maskedPaths: MASKED_PATHS,
        readonlyPaths: READONLY_PATHS,
      },
    },
    namespaces,
    capabilities,
    usesDefaultSeccomp: options.seccomp !== 'unconfined',
    stopSignal: stopSignalOf(options, image),
    stopTimeoutMs: options.stopTimeoutMs ?? DEFAULT_STOP_TIMEOUT_MS,
    health: health.plan,
    warnings: [
      ...(options.seccomp === 'unconfined' ? ['the container may use every system call (seccomp unconfined)'] : []),
      ...(health.warning === undefined ? [] : [health.warning]),
    ],
  };
}

export function defaultHostname(id: ContainerId): string {
  return id.slice(0, 12);
}

/** What the container runs: entrypoint and command, each of the person or else of the image. */
export function commandOf(options: CreateOptions, image: ImageConfig): string[] {
  const entrypoint = options.entrypoint ?? image.config?.Entrypoint ?? [];
  // Who replaces the entrypoint does not want arguments that were meant for the image's own.
  const imageCommand = options.entrypoint === undefined ? (image.config?.Cmd ?? []) : [];
  const command = options.command !== undefined && options.command.length > 0 ? options.command : imageCommand;
  return [...entrypoint, ...command];
}

/** Later entries win by name; the order of first mention stays. */
export function mergeEnvironment(...lists: readonly (readonly string[])[]): string[] {
  const byName = new Map<string, string>();
  for (const entry of lists.flat()) byName.set(entry.slice(0, entry.indexOf('=')), entry);
  return [...byName.values()];
}

/** v2's weight as v1's shares, which runtime-spec counts in: the least that convert to this weight (runc, crun). */
export function sharesOf(cpuWeight: number): number {
  return 2 + Math.ceil(((cpuWeight - 1) * 262_142) / 9999);
}

function planProcess(options: CreateOptions, image: ImageConfig, facts: { hostname: string; capabilities: readonly string[] }): OciProcess {
  const args = commandOf(options, image);
  if (args[0] === undefined || args[0] === '') {
    throw new StrataError('INVALID_REQUEST', `image "${options.image}" names no command, and none was given`, {
      hint: 'Say what to run, for instance "sh".',
    });
  }
  const tty = options.tty ?? false;
  const base = [DEFAULT_PATH, `HOSTNAME=${facts.hostname}`, ...(tty ? ['TERM=xterm'] : [])];
  const imageEnv = (image.config?.Env ?? []).filter((entry) => entry.indexOf('=') > 0);
  const username = options.user ?? image.config?.User ?? '';
  const cwd = options.workingDirectory ?? image.config?.WorkingDir ?? '';
  return {
    terminal: tty,
    user: { uid: 0, gid: 0, ...(username === '' ? {} : { username }) },
    args,
    env: mergeEnvironment(base, imageEnv, options.env ?? []),
    cwd: cwd.startsWith('/') ? cwd : `/${cwd}`,
    capabilities: { bounding: facts.capabilities, effective: facts.capabilities, permitted: facts.capabilities },
    noNewPrivileges: options.noNewPrivileges ?? true,
  };
}

/** Only what differs from what a new cgroup has by itself: each file is a write on the path of the start. */
function planResources(limits: Limits): OciResources {
  const cpu: Partial<Record<'shares' | 'quota' | 'period', number>> & { cpus?: string; mems?: string } = {};
  if (limits.cpuWeight !== 100) cpu.shares = sharesOf(limits.cpuWeight);
  if (limits.cpuQuotaUs !== null) {
    cpu.quota = limits.cpuQuotaUs;
    cpu.period = limits.cpuPeriodUs;
  }
  if (limits.cpusetCpus !== null) cpu.cpus = limits.cpusetCpus;
  if (limits.cpusetMems !== null) cpu.mems = limits.cpusetMems;
  const memory: { limit?: number; swap?: number } = {};
  if (limits.memoryMaxBytes !== null) memory.limit = limits.memoryMaxBytes;
  if (limits.memorySwapMaxBytes !== null) memory.swap = limits.memorySwapMaxBytes;
  return {
    devices: DEVICE_RULES,
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(limits.pidsMax === null ? {} : { pids: { limit: limits.pidsMax } }),
  };
}

function namespacesOf(options: CreateOptions): NamespaceType[] {
  return [
    ...DEFAULT_NAMESPACES,
    ...(options.userNamespace === undefined ? [] : (['user'] as const)),
    ...(options.timeNamespace === undefined ? [] : (['time'] as const)),
  ];
}

function idMappings(options: CreateOptions): { uidMappings?: OciIdMap[]; gidMappings?: OciIdMap[] } {
  const maps = options.userNamespace;
  if (maps === undefined) return {};
  const convert = (map: { containerId: number; hostId: number; size: number }): OciIdMap => ({
    containerID: map.containerId,
    hostID: map.hostId,
    size: map.size,
  });
  return { uidMappings: maps.uidMaps.map(convert), gidMappings: maps.gidMaps.map(convert) };
}

function timeOffsets(options: CreateOptions): Pick<OciConfig['linux'], 'timeOffsets'> {
  const offsets = options.timeNamespace;
  if (offsets === undefined) return {};
  return {
    timeOffsets: {
      monotonic: { secs: offsets.monotonicSeconds ?? 0, nanosecs: 0 },
      boottime: { secs: offsets.boottimeSeconds ?? 0, nanosecs: 0 },
    },
  };
}

function tmpfsMounts(tmpfs: Readonly<Record<string, string>>): OciMount[] {
  return Object.entries(tmpfs).map(([destination, options]) => ({
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'nodev', 'noexec', ...options.split(',').filter((option) => option !== '')],
  }));
}

function stopSignalOf(options: CreateOptions, image: ImageConfig): string {
  const text = options.stopSignal ?? image.config?.StopSignal ?? DEFAULT_STOP_SIGNAL;
  return signalName(signalOf(text));
}
