import {
  DEFAULT_LIMITS,
  LIMIT_RANGES,
  type Limits,
  type LimitsChange,
  limitsSchema,
  type Range,
  type Stats,
} from '../../helper/protocol/index.ts';
import { bytesForEditing, cpusWord, formatBytes, parseBytes, parseCpus } from './units.ts';

/** What the host has, so that a limit above it is noticed while typing. */
export interface HostBounds {
  readonly cpus: number;
  readonly memoryBytes: number;
}

export type ParsedLimit =
  | { readonly kind: 'change'; readonly change: LimitsChange }
  | { readonly kind: 'invalid'; readonly message: string };

/** A limit as a person sees and edits it. Empty text means "no limit" (or the default, where there always is one). */
export interface LimitField {
  readonly key: 'cpu' | 'memory' | 'memorySwap' | 'pids' | 'cpuWeight' | 'cpuset';
  readonly label: string;
  /** How to write it. */
  readonly example: string;
  range(host: HostBounds): string;
  /** The present value in words. */
  show(limits: Limits): string;
  /** The present value as it would be typed. */
  edit(limits: Limits): string;
  /** What the container uses now, in words. */
  use?(stats: Stats): string;
  parse(text: string, present: Limits, host: HostBounds): ParsedLimit;
}

const change = (values: LimitsChange): ParsedLimit => ({ kind: 'change', change: values });
const invalid = (message: string): ParsedLimit => ({ kind: 'invalid', message });
const NO_LIMIT = 'no limit';
const ranges = LIMIT_RANGES;
/** Of the usual period. */
const MIN_CPUS = ranges.cpuQuotaUs.min / DEFAULT_LIMITS.cpuPeriodUs;
const cpuList = limitsSchema.shape.cpusetCpus.unwrap();

const cpu: LimitField = {
  key: 'cpu',
  label: 'CPU',
  example: '0.5, 2 or 50 %',
  range: (host) => `${MIN_CPUS} to ${host.cpus} (the host's cpus)`,
  show: (limits) => (limits.cpuQuotaUs === null ? NO_LIMIT : cpusWord(limits.cpuQuotaUs / limits.cpuPeriodUs)),
  edit: (limits) => (limits.cpuQuotaUs === null ? '' : String(Number((limits.cpuQuotaUs / limits.cpuPeriodUs).toFixed(3)))),
  use: (stats) => (stats.cpuPercent === null ? '' : `uses ${cpusWord(stats.cpuPercent / 100)} now`),
  parse(text, present, host) {
    const cpus = parseCpus(text);
    if (cpus === undefined) return invalid('Write a number of cpus, like 0.5 or 2.');
    if (cpus < MIN_CPUS) return invalid(`The smallest limit is ${cpusWord(MIN_CPUS)}.`);
    if (cpus > host.cpus) return invalid(`This host has ${cpusWord(host.cpus)}: leave it empty for no limit.`);
    return change({ cpuQuotaUs: Math.max(ranges.cpuQuotaUs.min, Math.round(cpus * present.cpuPeriodUs)) });
  },
};

const memory: LimitField = {
  key: 'memory',
  label: 'Memory',
  example: '512m or 1.5g',
  range: (host) => `${formatBytes(ranges.memoryBytes.min)} to ${formatBytes(host.memoryBytes)} (the host's memory)`,
  show: (limits) => (limits.memoryMaxBytes === null ? NO_LIMIT : formatBytes(limits.memoryMaxBytes)),
  edit: (limits) => (limits.memoryMaxBytes === null ? '' : bytesForEditing(limits.memoryMaxBytes)),
  use: (stats) => `uses ${formatBytes(stats.memoryBytes)} now`,
  parse(text, _present, host) {
    const bytes = parseBytes(text);
    if (bytes === undefined) return invalid('Write an amount of memory, like 512m or 1.5g.');
    if (bytes < ranges.memoryBytes.min)
      return invalid(
        `That is ${formatBytes(bytes)}; the smallest limit is ${formatBytes(ranges.memoryBytes.min)}. Add a unit: ${text.trim()}m?`,
      );
    if (bytes > host.memoryBytes) return invalid(`This host has ${formatBytes(host.memoryBytes)}: leave it empty for no limit.`);
    return change({ memoryMaxBytes: bytes });
  },
};

const memorySwap: LimitField = {
  key: 'memorySwap',
  label: 'Memory and swap together',
  example: '1g',
  range: () => 'the memory limit or more',
  show: (limits) => (limits.memorySwapMaxBytes === null ? NO_LIMIT : formatBytes(limits.memorySwapMaxBytes)),
  edit: (limits) => (limits.memorySwapMaxBytes === null ? '' : bytesForEditing(limits.memorySwapMaxBytes)),
  use: (stats) => (stats.swapBytes === null ? '' : `uses ${formatBytes(stats.memoryBytes + stats.swapBytes)} now`),
  parse(text, present) {
    const bytes = parseBytes(text);
    if (bytes === undefined) return invalid('Write an amount of memory, like 1g.');
    if (present.memoryMaxBytes === null) return invalid('Set the memory limit first: this one counts memory and swap together.');
    if (bytes < present.memoryMaxBytes)
      return invalid(`It counts memory too, so it cannot be below the memory limit (${formatBytes(present.memoryMaxBytes)}).`);
    return change({ memorySwapMaxBytes: bytes });
  },
};

const pids: LimitField = {
  key: 'pids',
  label: 'Processes',
  example: '100',
  range: () => `${ranges.pids.min} to ${ranges.pids.max}; threads count too`,
  show: (limits) => (limits.pidsMax === null ? NO_LIMIT : String(limits.pidsMax)),
  edit: (limits) => (limits.pidsMax === null ? '' : String(limits.pidsMax)),
  use: (stats) => `has ${stats.pids} now`,
  parse: (text) => wholeNumber(text, ranges.pids, (pidsMax) => ({ pidsMax })),
};

const cpuWeight: LimitField = {
  key: 'cpuWeight',
  label: 'CPU weight',
  example: '100',
  range: () =>
    `${ranges.cpuWeight.min} to ${ranges.cpuWeight.max}; ${DEFAULT_LIMITS.cpuWeight} is the usual share, counts only when cpus are scarce`,
  show: (limits) => String(limits.cpuWeight),
  edit: (limits) => String(limits.cpuWeight),
  parse: (text) => wholeNumber(text, ranges.cpuWeight, (weight) => ({ cpuWeight: weight })),
};

const cpuset: LimitField = {
  key: 'cpuset',
  label: 'CPU set',
  example: '0-1,3',
  range: (host) => `cpus 0 to ${host.cpus - 1}`,
  show: (limits) => (limits.cpusetCpus === null ? 'all cpus' : `cpus ${limits.cpusetCpus}`),
  edit: (limits) => limits.cpusetCpus ?? '',
  parse(text, _present, host) {
    const list = text.replaceAll(/\s/g, '');
    if (!cpuList.safeParse(list).success) return invalid('Write cpu numbers, like 0-1,3.');
    const highest = Math.max(...list.split(/[-,]/).map(Number));
    if (highest >= host.cpus) return invalid(`This host has cpus 0 to ${host.cpus - 1}.`);
    return change({ cpusetCpus: list });
  },
};

function wholeNumber(text: string, { min, max }: Range, make: (value: number) => LimitsChange): ParsedLimit {
  const value = Number(text.trim());
  if (!Number.isInteger(value) || value < min || value > max) return invalid(`Write a whole number from ${min} to ${max}.`);
  return change(make(value));
}

export const limitFields: readonly LimitField[] = [cpu, memory, memorySwap, pids, cpuWeight, cpuset];

/** The fields that a person sets when a container is made. */
export const basicLimitFields: readonly LimitField[] = [cpu, memory, pids];

const CLEARED: Readonly<Record<LimitField['key'], LimitsChange>> = {
  cpu: { cpuQuotaUs: null },
  memory: { memoryMaxBytes: null },
  memorySwap: { memorySwapMaxBytes: null },
  pids: { pidsMax: null },
  cpuWeight: { cpuWeight: DEFAULT_LIMITS.cpuWeight },
  cpuset: { cpusetCpus: null },
};

/** What was typed as a change of limits; empty text takes the limit away. */
export function parseLimit(field: LimitField, text: string, present: Limits, host: HostBounds): ParsedLimit {
  return text.trim() === '' ? change(CLEARED[field.key]) : field.parse(text, present, host);
}

/** "0.5 cpu · 512 MiB · 100 processes"; empty where nothing is limited. */
export function limitsSummary(limits: Limits): string {
  const parts = [
    limits.cpuQuotaUs === null ? '' : cpu.show(limits),
    limits.memoryMaxBytes === null ? '' : memory.show(limits),
    limits.pidsMax === null ? '' : `${limits.pidsMax} processes`,
    limits.cpusetCpus === null ? '' : cpuset.show(limits),
  ];
  return parts.filter((part) => part !== '').join(' · ');
}
