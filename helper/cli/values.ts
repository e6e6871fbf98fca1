import {
  type ContainerState,
  type ContainerSummary,
  type CreateOptions,
  createOptionsSchema,
  DEFAULT_LIMITS,
  healthcheckSchema,
  LIMIT_RANGES,
  methods,
  parseDuration,
  type Range,
  type RestartPolicy,
  rangeOf,
  restartPolicySchema,
  StrataError,
} from '../protocol/index.ts';

/** A flag whose value cannot be read. What is printed with it names the command's --help. */
export class UsageError extends StrataError {
  constructor(message: string) {
    super('INVALID_REQUEST', message);
  }
}

/** The ranges of the wire: what is refused here with the flag's name would be refused there with the field's. */
export const ranges = {
  ...LIMIT_RANGES,
  stopTimeoutS: inSeconds(rangeOf(createOptionsSchema.shape.stopTimeoutMs.unwrap())),
  graceS: inSeconds(rangeOf(methods['container.stop'].params.shape.graceMs.unwrap())),
  healthRetries: rangeOf(healthcheckSchema.shape.retries.unwrap()),
  tailLines: rangeOf(methods['container.logs'].params.shape.tail.unwrap()),
  logFiles: rangeOf(createOptionsSchema.shape.logMaxFiles.unwrap()),
  /** Of cgroup v1 and Docker. */
  cpuShares: { min: 2, max: 262_144 },
} as const satisfies Record<string, Range>;

function inSeconds({ min, max }: Range): Range {
  return { min: min / 1000, max: max / 1000 };
}

const factors: Readonly<Record<string, number>> = { '': 1, b: 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** "64m", "1.5g", "65536": bytes. */
export function parseSize(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?$/i.exec(text.trim());
  const factor = factors[match?.[2]?.toLowerCase() ?? ''];
  if (match === null || factor === undefined) throw new UsageError(`${flag} "${text}" is no size; write for instance 64m or 1.5g`);
  return Math.round(Number(match[1]) * factor);
}

/** "0.9", "90%": a share of the whole, 0 to 1. */
export function parseShare(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(%?)$/.exec(text.trim());
  const share = match === null ? Number.NaN : Number(match[1]) / (match[2] === '%' ? 100 : 1);
  if (!(share <= 1)) throw new UsageError(`${flag} "${text}" is no share; write a number from 0 to 1 such as 0.9, or 90%`);
  return share;
}

export function parseWhole(flag: string, text: string): number {
  if (!/^-?\d+$/.test(text)) throw new UsageError(`${flag} "${text}" is not a whole number`);
  return Number(text);
}

/** `also` says what else the flag takes: ", or -1 for no limit". */
export function parseWithin(flag: string, text: string, range: Range, also = ''): number {
  const value = parseWhole(flag, text);
  if (value < range.min || value > range.max) throw new UsageError(`${flag} ${text} is not within ${range.min} to ${range.max}${also}`);
  return value;
}

/** Docker's --cpus: a quota over the usual period. */
export function parseCpus(text: string): { cpuQuotaUs: number; cpuPeriodUs: number } {
  const cpus = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || cpus <= 0) throw new UsageError(`--cpus "${text}" is not a number above 0, such as 0.5`);
  const { cpuPeriodUs } = DEFAULT_LIMITS;
  const cpuQuotaUs = Math.round(cpus * cpuPeriodUs);
  const { min, max } = ranges.cpuQuotaUs;
  if (cpuQuotaUs < min || cpuQuotaUs > max) {
    throw new UsageError(`--cpus ${text} is not within ${min / cpuPeriodUs} to ${max / cpuPeriodUs}`);
  }
  return { cpuQuotaUs, cpuPeriodUs };
}

/** v1's shares as v2's weight (the conversion of runc and crun); 0 is the default, as Docker has it. */
export function weightOfShares(shares: number): number {
  if (shares === 0) return DEFAULT_LIMITS.cpuWeight;
  const { min, max } = ranges.cpuShares;
  return 1 + Math.floor(((shares - min) * 9999) / (max - min));
}

export function parseShares(text: string): number {
  return weightOfShares(text === '0' ? 0 : parseWithin('--cpu-shares', text, ranges.cpuShares, ', or 0 for the default'));
}

/** '["sh", "-c", "date"]' or "sh -c date". */
export function parseCommand(text: string): string[] {
  if (!text.trimStart().startsWith('[')) return text.split(/\s+/).filter((word) => word !== '');
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((word) => typeof word === 'string')) return value;
  } catch {
    // told below
  }
  throw new UsageError(`"${text}" is no JSON array of words`);
}

/** NAME=value as it is; NAME alone takes the value from here, or is left out. */
export function resolveEnvironment(
  entries: readonly string[],
  own: Readonly<Record<string, string | undefined>>,
  where = '--env',
): string[] {
  return entries.flatMap((entry) => {
    if (entry === '' || entry.startsWith('=')) throw new UsageError(`${where} "${entry}" has no name; write NAME=value`);
    if (entry.includes('=')) return [entry];
    const value = own[entry];
    return value === undefined ? [] : [`${entry}=${value}`];
  });
}

/** A line each; empty ones and those that start with # are skipped, as Docker does. */
export function parseEnvironmentFile(text: string): string[] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

export function parseLabels(entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(entries.map(splitAtEquals));
}

/** "/run" or "/run:size=64m,mode=1777". */
export function parseTmpfs(entries: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf(':');
      const path = at === -1 ? entry : entry.slice(0, at);
      if (!path.startsWith('/')) throw new UsageError(`--tmpfs "${entry}" does not begin with a path such as /run`);
      return [path, at === -1 ? '' : entry.slice(at + 1)];
    }),
  );
}

/** What "auto" maps to: the range that distributions hand out first in /etc/subuid. */
const automatic = { hostId: 100_000, size: 65_536 };

/** "host", "auto", or HOSTID[:SIZE]: ids from 0 in the container are those from HOSTID on the host. */
export function parseUserNamespace(text: string): CreateOptions['userNamespace'] {
  if (text === 'host') return undefined;
  const match = /^(\d+)(?::(\d+))?$/.exec(text);
  if (text !== 'auto' && match === null) throw new UsageError(`--userns "${text}" is none of host, auto and HOSTID:SIZE`);
  const hostId = match === null ? automatic.hostId : Number(match[1]);
  const size = match?.[2] === undefined ? automatic.size : Number(match[2]);
  const map = [{ containerId: 0, hostId, size }];
  return { uidMaps: map, gidMaps: map };
}

export interface Filter {
  readonly key: 'name' | 'status' | 'label' | 'health';
  readonly matches: (container: ContainerSummary) => boolean;
}

/** ps --filter: "name=web" (a part of it), "status=exited", "label=app" or "label=app=shop". */
/** Docker's words. What is paused runs, too; what is about to be started again has exited. */
const statuses: Readonly<Record<string, (state: ContainerState) => boolean>> = {
  created: ({ kind }) => kind === 'created',
  running: ({ kind }) => kind === 'running',
  paused: (state) => state.kind === 'running' && state.paused === true,
  restarting: (state) => state.kind === 'exited' && state.restartsAt !== undefined,
  exited: ({ kind }) => kind === 'exited',
};

const healthWords = ['starting', 'healthy', 'unhealthy', 'none'];

/** --restart: no, always, unless-stopped, on-failure or on-failure:5. */
export function parseRestartPolicy(text: string): RestartPolicy {
  const [name, count] = text.split(':', 2);
  const policy = restartPolicySchema.safeParse({ name, ...(count === undefined ? {} : { maximumRetryCount: Number(count) }) });
  if (policy.success && (count === undefined || /^\d+$/.test(count))) return policy.data;
  throw new UsageError(`--restart "${text}" is none of no, always, unless-stopped, on-failure and on-failure:COUNT`);
}

export function parseFilter(text: string): Filter {
  const [key, value] = splitAtEquals(text);
  if (key === 'name' && value !== '') return { key, matches: ({ name }) => name.includes(value) };
  if (key === 'status' && Object.hasOwn(statuses, value)) return { key, matches: ({ state }) => statuses[value]?.(state) ?? false };
  if (key === 'health' && healthWords.includes(value))
    return { key, matches: ({ state, health }) => state.kind === 'running' && (health?.status ?? 'none') === value };
  if (key === 'label' && value !== '') {
    const [label, wanted] = splitAtEquals(value);
    return { key, matches: ({ labels }) => Object.hasOwn(labels, label) && (!value.includes('=') || labels[label] === wanted) };
  }
  throw new UsageError(
    `--filter "${text}" is none of name=PART, status=${Object.keys(statuses).join('|')}, health=${healthWords.join('|')} and label=KEY[=value]`,
  );
}

function splitAtEquals(text: string): [string, string] {
  const at = text.indexOf('=');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** "boottime=86400,monotonic=-5": how far the container's clocks are from the host's. */
export function parseTimeOffset(text: string): NonNullable<CreateOptions['timeNamespace']> {
  const offsets: NonNullable<CreateOptions['timeNamespace']> = {};
  for (const part of text.split(',')) {
    const match = /^(boottime|monotonic)=(-?\d{1,15})$/.exec(part);
    if (match === null) throw new UsageError(`--time-offset "${text}" is not like boottime=SECONDS,monotonic=SECONDS`);
    if (match[1] === 'boottime') offsets.boottimeSeconds = Number(match[2]);
    else offsets.monotonicSeconds = Number(match[2]);
  }
  return offsets;
}

/** "30s", "1m30s", "500ms": milliseconds. 0 is 0. */
export function parseTime(flag: string, text: string): number {
  const ms = text === '0' ? 0 : parseDuration(text);
  if (ms === undefined) throw new UsageError(`${flag} "${text}" is no time; write for instance 30s or 1m30s`);
  return ms;
}

/**
 * --since and --until, as Docker takes them: "now", a day or time ("2026-11-20", "2026-11-20T14:30", here's time zone unless it names one),
 * seconds since the epoch, or how long ago ("10m", "1h30m", "1.5h"). Milliseconds since the epoch.
 */
export function parseMoment(flag: string, text: string, nowMs: number): number {
  if (text === 'now') return nowMs;
  const agoMs = parseDuration(text);
  if (agoMs !== undefined) return nowMs - agoMs;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const isTime = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.test(text);
  // A day alone would be taken as one of UTC.
  const at = isTime ? Date.parse(text.length === 10 ? `${text}T00:00` : text.replace(' ', 'T')) : Number.NaN;
  if (Number.isNaN(at)) throw new UsageError(`${flag} "${text}" is neither a time like 2026-11-20T14:30:00Z nor something like 10m`);
  return at;
}

/** Docker's --log-opt: max-size=10m, max-file=3. */
export function parseLogOptions(entries: readonly string[]): Pick<CreateOptions, 'logMaxSize' | 'logMaxFiles'> {
  const options: Pick<CreateOptions, 'logMaxSize' | 'logMaxFiles'> = {};
  for (const entry of entries) {
    const [, name, value] = /^([^=]*)=(.*)$/.exec(entry) ?? [];
    if (name === 'max-size' && value !== undefined) {
      if (value.startsWith('-')) throw new UsageError(`--log-opt ${entry}: a log cannot grow for ever; write a size such as 10m`);
      options.logMaxSize = parseSize('--log-opt max-size', value);
    } else if (name === 'max-file' && value !== undefined) {
      options.logMaxFiles = parseWithin('--log-opt max-file', value, ranges.logFiles);
    } else throw new UsageError(`--log-opt "${entry}" is none of max-size=SIZE and max-file=COUNT`);
  }
  return options;
}
