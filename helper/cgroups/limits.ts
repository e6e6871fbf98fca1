import { formatBytes, type Limits, type LimitsChange, StrataError } from '../protocol/index.ts';

/** What a host can give, for the check of what is asked for. */
export interface HostCapacity {
  readonly cpus: number;
  /** As cpuset(7) writes it: "0-3". */
  readonly onlineCpus: string;
  /** Nodes that have memory, written so, too. */
  readonly memoryNodes: string;
  readonly memoryBytes: number;
  readonly swapAccounting: boolean;
  /** Controllers that containers can use. */
  readonly controllers: readonly string[];
}

/**
 * The limits after a change, checked against the host. Pure. Where memory is limited and nothing was said of swap, memory
 * and swap together are twice that, as Docker does.
 */
export function changeLimits(present: Limits, change: LimitsChange, host: HostCapacity): Limits {
  const next: Limits = { ...present, ...withoutUndefined(change) };
  if (change.memoryMaxBytes !== undefined && change.memorySwapMaxBytes === undefined) {
    next.memorySwapMaxBytes = followingSwap(present, change.memoryMaxBytes, host);
  }
  requireControllers(change, host);
  checkCpu(next, host);
  checkMemory(next, change, host);
  return next;
}

/** What differs: all that has to be written to a running container. */
export function limitsDifference(before: Limits, after: Limits): Partial<Limits> {
  const changed = Object.entries(after).filter(([name, value]) => before[name as keyof Limits] !== value); // entries loses the keys' type
  return Object.fromEntries(changed);
}

/** Numbers of a list such as "0-1,3"; undefined where it is none. */
export function parseCpuList(text: string): Set<number> | undefined {
  const numbers = new Set<number>();
  for (const part of text.trim().split(',')) {
    const range = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (range === null) return undefined;
    const first = Number(range[1]);
    const last = range[2] === undefined ? first : Number(range[2]);
    if (last < first || last > 65_535) return undefined;
    for (let number = first; number <= last; number += 1) numbers.add(number);
  }
  return numbers;
}

function followingSwap(present: Limits, memoryMaxBytes: number | null, host: HostCapacity): number | null {
  if (memoryMaxBytes === null || !host.swapAccounting) return null;
  const before = present.memoryMaxBytes;
  const wasDerived = before === null || present.memorySwapMaxBytes === null || present.memorySwapMaxBytes === before * 2;
  if (wasDerived) return memoryMaxBytes * 2;
  return present.memorySwapMaxBytes !== null && present.memorySwapMaxBytes < memoryMaxBytes
    ? memoryMaxBytes * 2
    : present.memorySwapMaxBytes;
}

function requireControllers(change: LimitsChange, host: HostCapacity): void {
  const needs: Record<string, readonly unknown[]> = {
    cpu: [change.cpuQuotaUs],
    cpuset: [change.cpusetCpus, change.cpusetMems],
    memory: [change.memoryMaxBytes, change.memorySwapMaxBytes],
    pids: [change.pidsMax],
  };
  for (const [controller, values] of Object.entries(needs)) {
    const asked = values.some((value) => value !== undefined && value !== null);
    if (asked && !host.controllers.includes(controller)) {
      throw new StrataError('FEATURE_MISSING', `this host has no "${controller}" cgroup controller for containers`, {
        hint: 'Start the host with that controller (see "strata info"), or leave the limit out.',
        details: { controller },
      });
    }
  }
}

function checkCpu(next: Limits, host: HostCapacity): void {
  const cpus = next.cpuQuotaUs === null ? 0 : next.cpuQuotaUs / next.cpuPeriodUs;
  if (cpus > host.cpus) {
    throw invalid('cpu quota', `${Number(cpus.toFixed(3))} cpus`, `the host has ${host.cpus}`, {
      path: 'limits.cpuQuotaUs',
      askedCpus: cpus,
      hostCpus: host.cpus,
    });
  }
  if (isOutside(next.cpusetCpus, host.onlineCpus)) {
    throw invalid('cpuset', `"${next.cpusetCpus}"`, `the host has the cpus ${host.onlineCpus}`, {
      path: 'limits.cpusetCpus',
      online: host.onlineCpus,
    });
  }
  if (isOutside(next.cpusetMems, host.memoryNodes)) {
    throw invalid('memory nodes', `"${next.cpusetMems}"`, `the host has the nodes ${host.memoryNodes}`, {
      path: 'limits.cpusetMems',
      online: host.memoryNodes,
    });
  }
}

function isOutside(askedList: string | null, presentList: string): boolean {
  if (askedList === null) return false;
  const asked = parseCpuList(askedList);
  const present = parseCpuList(presentList);
  return asked === undefined || (present !== undefined && [...asked].some((number) => !present.has(number)));
}

function checkMemory(next: Limits, change: LimitsChange, host: HostCapacity): void {
  const { memoryMaxBytes, memorySwapMaxBytes } = next;
  if (memoryMaxBytes !== null && memoryMaxBytes > host.memoryBytes) {
    throw invalid('memory limit', formatBytes(memoryMaxBytes), `the host has ${formatBytes(host.memoryBytes)}`, {
      path: 'limits.memoryMaxBytes',
      askedBytes: memoryMaxBytes,
      hostBytes: host.memoryBytes,
    });
  }
  if (memorySwapMaxBytes === null) return;
  if (!host.swapAccounting && change.memorySwapMaxBytes !== undefined) {
    throw new StrataError('FEATURE_MISSING', "this host's kernel does not count swap for containers", {
      hint: 'Start the kernel with swapaccount=1, or leave the limit of memory and swap out.',
    });
  }
  if (memoryMaxBytes === null || memorySwapMaxBytes < memoryMaxBytes) {
    throw invalid(
      'limit of memory and swap together',
      formatBytes(memorySwapMaxBytes),
      memoryMaxBytes === null ? 'it needs a memory limit' : `it must not be below the memory limit of ${formatBytes(memoryMaxBytes)}`,
      { path: 'limits.memorySwapMaxBytes', askedBytes: memorySwapMaxBytes, memoryBytes: memoryMaxBytes },
    );
  }
}

function invalid(what: string, value: string, why: string, details: Record<string, string | number | null>): StrataError {
  return new StrataError('LIMIT_INVALID', `${what} ${value}: ${why}`, { details });
}

function withoutUndefined(change: LimitsChange): Partial<Limits> {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}
