import type { ContainerId, Limits, Stats } from '../../helper/protocol/index.ts';
import { cpusWord, formatBytes } from './units.ts';

/** The last reading of each container; readings of containers that are gone are dropped with the next batch. */
export class FigureStore {
  #latest: ReadonlyMap<ContainerId, Stats> = new Map();

  sampled(samples: readonly Stats[]): void {
    this.#latest = new Map(samples.map((sample) => [sample.id, sample]));
  }

  clear(): void {
    this.#latest = new Map();
  }

  of(id: ContainerId): Stats | undefined {
    return this.#latest.get(id);
  }
}

export const figureKeys = ['cpu', 'throttled', 'memory', 'memoryKinds', 'memoryPeak', 'swap', 'pids', 'io', 'oomKills'] as const;
export type FigureKey = (typeof figureKeys)[number];

/** A row of the Cgroups view. `strain` tells whether the figure calls for attention. */
export interface Figure {
  readonly key: FigureKey;
  readonly label: string;
  readonly value: string;
  readonly help: string;
  readonly strain: 'none' | 'high' | 'over';
}

const UNKNOWN = '–';

/** Longest name that is written out beside figures. */
const MAX_NAME = 14;

export function formatPercent(value: number | null): string {
  return value === null ? UNKNOWN : `${value.toFixed(1)} %`;
}

/**
 * "12 % · 45 MiB", what it suffers from before that ("throttled · 12 % · 45 MiB"): all that a side bar as wide as VS Code makes it
 * has room for beside a name, and no digit that changes with each reading of a steady load.
 */
export function figureSummary(stats: Stats, figures: readonly Figure[]): string {
  const { cpuPercent } = stats;
  const cpu = cpuPercent !== null && cpuPercent >= 0.95 ? `${Math.round(cpuPercent)} %` : formatPercent(cpuPercent);
  return [...strainWords(figures), cpu, formatBytes(stats.memoryBytes)].join(' · ');
}

const strainNames: Readonly<Partial<Record<FigureKey, string>>> = {
  throttled: 'throttled',
  memory: 'memory full',
  pids: 'processes full',
  oomKills: 'OOM',
};

function strainWords(figures: readonly Figure[]): readonly string[] {
  return figures.filter(({ strain }) => strain === 'over').flatMap(({ key }) => strainNames[key] ?? []);
}

/** The worst of them. */
export function worstStrain(figures: readonly Figure[]): Figure['strain'] {
  const strains = figures.map(({ strain }) => strain);
  return strains.includes('over') ? 'over' : strains.includes('high') ? 'high' : 'none';
}

/** A name that leaves room for figures: its beginning and its end, by which names are told apart. */
export function shortName(name: string): string {
  return name.length <= MAX_NAME ? name : `${name.slice(0, MAX_NAME / 2 - 1)}…${name.slice(-MAX_NAME / 2)}`;
}

/** The same for a screen reader, which has the width for words. */
export function figureWords(stats: Stats, figures: readonly Figure[]): string {
  const limit = stats.memoryLimitBytes === null ? '' : ` of ${formatBytes(stats.memoryLimitBytes)}`;
  const memory = `${formatBytes(stats.memoryBytes)}${limit} memory`;
  const processes = `${stats.pids} ${stats.pids === 1 ? 'process' : 'processes'}`;
  return [`${formatPercent(stats.cpuPercent)} cpu`, memory, processes, ...strainWords(figures)].join(', ');
}

function ofLimit(value: string, limit: string | null): string {
  return limit === null ? value : `${value} / ${limit}`;
}

function shareStrain(value: number, limit: number | null): Figure['strain'] {
  if (limit === null || limit === 0) return 'none';
  return value >= limit * 0.97 ? 'over' : value >= limit * 0.85 ? 'high' : 'none';
}

/** Every figure of a reading in the order of `figureKeys`; those the kernel does not give are left out. */
export function figuresOf(stats: Stats, limits: Limits): readonly Figure[] {
  return [...cpuFigures(stats, limits), ...memoryFigures(stats), ...otherFigures(stats)];
}

function cpuFigures(stats: Stats, limits: Limits): Figure[] {
  const cpus = limits.cpuQuotaUs === null ? null : limits.cpuQuotaUs / limits.cpuPeriodUs;
  const cpu: Figure = {
    key: 'cpu',
    label: 'CPU',
    value: `${formatPercent(stats.cpuPercent)}${cpus === null ? ' · no limit' : ` · limit ${cpusWord(cpus)} (${Math.round(cpus * 100)} %)`}`,
    help: '100 % is one cpu used fully; with several cpus it can be more.',
    strain: 'none',
  };
  if (stats.throttledPercent === null && cpus === null) return [cpu];
  const percent = stats.throttledPercent ?? 0;
  const throttled: Figure = {
    key: 'throttled',
    label: 'Throttled',
    // A container that slept has had no period since the last reading; its row stays, or all below would jump.
    value: stats.throttledPercent === null ? UNKNOWN : `${formatPercent(stats.throttledPercent)} of periods`,
    help: `In how many of the last scheduling periods the quota ran out and the container had to wait. Since its start it has waited ${(stats.throttledUs / 1e6).toFixed(1)} s.`,
    strain: percent >= 50 ? 'over' : percent >= 10 ? 'high' : 'none',
  };
  return [cpu, throttled];
}

function memoryFigures(stats: Stats): Figure[] {
  const limit = stats.memoryLimitBytes;
  const share = limit === null ? ' · no limit' : ` / ${formatBytes(limit)} (${Math.round((stats.memoryBytes / limit) * 100)} %)`;
  const figures: Figure[] = [
    {
      key: 'memory',
      label: 'Memory',
      value: `${formatBytes(stats.memoryBytes)}${share}`,
      help: 'Without page cache that the kernel can take back at once. At the limit the kernel reclaims, then kills.',
      strain: shareStrain(stats.memoryBytes, limit),
    },
    {
      key: 'memoryKinds',
      label: 'Anon · File',
      value: `${formatBytes(stats.memoryAnonBytes)} · ${formatBytes(stats.memoryFileBytes)}`,
      help: 'Anonymous memory is heap and stacks, which only swap can free; file memory is page cache.',
      strain: 'none',
    },
  ];
  if (stats.memoryPeakBytes !== null) {
    const value = ofLimit(formatBytes(stats.memoryPeakBytes), limit === null ? null : formatBytes(limit));
    figures.push({
      key: 'memoryPeak',
      label: 'Memory peak',
      value,
      help: 'The most it has used since it started, page cache included.',
      strain: 'none',
    });
  }
  if (stats.swapBytes !== null) {
    figures.push({
      key: 'swap',
      label: 'Swap',
      value: formatBytes(stats.swapBytes),
      help: 'Memory of the container that is in swap now.',
      strain: 'none',
    });
  }
  return figures;
}

function otherFigures(stats: Stats): Figure[] {
  return [
    {
      key: 'pids',
      label: 'Processes',
      value: `${stats.pids}${stats.pidsLimit === null ? ' · no limit' : ` / ${stats.pidsLimit}`}`,
      help: 'Processes and threads; at the limit fork fails with EAGAIN.',
      strain: shareStrain(stats.pids, stats.pidsLimit),
    },
    {
      key: 'io',
      label: 'Disk',
      value: `${formatBytes(stats.ioReadBytes)} read · ${formatBytes(stats.ioWriteBytes)} written`,
      help: 'Bytes that reached block devices since it started; what the page cache answered does not count.',
      strain: 'none',
    },
    {
      key: 'oomKills',
      label: 'OOM kills',
      value: String(stats.oomKills),
      help: 'How often the kernel killed a process of this container because memory was at its limit.',
      strain: stats.oomKills > 0 ? 'over' : 'none',
    },
  ];
}
