import type { CgroupFigures } from '../native/addon.ts';
import type { ContainerId, Stats } from '../protocol/index.ts';

/** A reading as the wire has it; rates are over the time since `before`, null without one. Pure. */
export function statsOf(id: ContainerId, now: CgroupFigures, before: CgroupFigures | undefined, atMs: number): Stats {
  return {
    id,
    atMs,
    cpuPercent: cpuPercent(now, before),
    cpuUsageUs: now.cpuUsageUs,
    throttledPercent: throttledPercent(now, before),
    throttledUs: now.throttledUs,
    memoryBytes: now.memoryBytes,
    memoryLimitBytes: now.memoryMaxBytes,
    memoryAnonBytes: now.memoryAnonBytes,
    memoryFileBytes: now.memoryFileBytes,
    memoryPeakBytes: now.memoryPeakBytes,
    swapBytes: now.swapBytes,
    oomKills: now.oomKills,
    pids: now.pids,
    pidsLimit: now.pidsMax,
    ioReadBytes: now.ioReadBytes,
    ioWriteBytes: now.ioWriteBytes,
  };
}

function cpuPercent(now: CgroupFigures, before: CgroupFigures | undefined): number | null {
  if (before === undefined) return null;
  const elapsedUs = (now.atNs - before.atNs) / 1000;
  const usedUs = now.cpuUsageUs - before.cpuUsageUs;
  // A counter that went back belongs to another cgroup of the same name: the container was started again.
  if (elapsedUs <= 0 || usedUs < 0) return null;
  return (usedUs / elapsedUs) * 100;
}

/** Null where no period passed: then there is no quota, or the container slept all the time. */
function throttledPercent(now: CgroupFigures, before: CgroupFigures | undefined): number | null {
  if (before === undefined) return null;
  const periods = now.totalPeriods - before.totalPeriods;
  const throttled = now.throttledPeriods - before.throttledPeriods;
  if (periods <= 0 || throttled < 0) return null;
  return Math.min(100, (throttled / periods) * 100);
}
