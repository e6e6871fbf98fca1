import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { type CreateOptions, formatBytes, type LimitsChange, type Range } from '../protocol/index.ts';
import { PULL_POLICIES, type PullPolicy } from './transfers.ts';
import {
  parseCpus,
  parseEnvironmentFile,
  parseLabels,
  parseLogOptions,
  parseRestartPolicy,
  parseShares,
  parseSize,
  parseTime,
  parseTimeOffset,
  parseTmpfs,
  parseUserNamespace,
  parseWithin,
  ranges,
  resolveEnvironment,
  UsageError,
} from './values.ts';

/** Flags of `run` and `create` as commander gives them. */
export interface CreateFlags extends LimitFlags {
  readonly pull?: PullPolicy;
  readonly quiet?: true;
  readonly interactive?: true;
  readonly tty?: true;
  readonly rm?: true;
  readonly init?: true;
  readonly restart?: string;
  readonly name?: string;
  readonly env?: string[];
  readonly envFile?: string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly capAdd?: string[];
  readonly capDrop?: string[];
  readonly readOnly?: true;
  readonly hostname?: string;
  readonly entrypoint?: string;
  readonly tmpfs?: string[];
  readonly label?: string[];
  readonly logOpt?: string[];
  readonly userns?: string;
  readonly securityOpt?: string[];
  readonly stopSignal?: string;
  readonly stopTimeout?: string;
  readonly timeOffset?: string;
  readonly healthCmd?: string;
  readonly healthInterval?: string;
  readonly healthTimeout?: string;
  readonly healthStartPeriod?: string;
  readonly healthStartInterval?: string;
  readonly healthRetries?: string;
  /** False with --no-healthcheck. */
  readonly healthcheck: boolean;
}

export interface LimitFlags {
  readonly cpus?: string;
  readonly cpuQuota?: string;
  readonly cpuPeriod?: string;
  readonly cpuShares?: string;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly memory?: string;
  readonly memorySwap?: string;
  readonly pidsLimit?: string;
}

/** For flags that may be there several times. */
export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function addLimitFlags(command: Command): Command {
  return command
    .option('--cpus <number>', 'cpus it may use, such as 0.5')
    .option('--cpu-quota <us>', 'cpu time a period, in microseconds')
    .option('--cpu-period <us>', 'length of the period, in microseconds')
    .option('--cpu-shares <number>', 'share of the cpu against others (1024 is usual)')
    .option('--cpuset-cpus <list>', 'cpus to run on, such as 0-1,3')
    .option('--cpuset-mems <list>', 'memory nodes to use')
    .option('-m, --memory <size>', 'memory, such as 64m')
    .option('--memory-swap <size>', 'memory and swap together; -1: no limit')
    .option('--pids-limit <number>', 'processes and threads; -1: no limit');
}

export function addCreateFlags(command: Command): Command {
  return addLimitFlags(
    command
      .option('-i, --interactive', 'keep its standard input open')
      .option('-t, --tty', 'give it a terminal')
      .option('--rm', 'remove it when it has ended')
      .addOption(new Option('--pull <when>', 'bring the image from its registry').choices(PULL_POLICIES).default('missing'))
      .option('-q, --quiet', 'nothing about a pull')
      .option('--init', 'run a process of Strata first, that reaps and hands signals on')
      .option('--restart <policy>', 'start it again when it has ended: no, on-failure[:count], always, unless-stopped')
      .option('--name <name>', 'what to call it')
      .option('-e, --env <entry>', 'NAME=value, or NAME to pass on your own', collect)
      .option('--env-file <file>', 'a file with such entries', collect)
      .option('-w, --workdir <path>', 'working directory')
      .option('-u, --user <user>', 'name|uid[:group|gid]')
      .option('--cap-add <name>', 'capability to add, or ALL', collect)
      .option('--cap-drop <name>', 'capability to drop, or ALL', collect)
      .option('--read-only', 'make its root file system read-only')
      .option('-h, --hostname <name>', 'its host name')
      .option('--entrypoint <command>', "replaces the image's")
      .option('--tmpfs <mount>', 'PATH[:options]', collect)
      .option('-l, --label <label>', 'KEY=value', collect)
      .option('--log-opt <option>', 'max-size=SIZE (of a segment, 10m where not given), max-file=COUNT (10)', collect)
      .option('--userns <mode>', 'user namespace: host, auto or HOSTID:SIZE')
      .option('--security-opt <option>', 'seccomp=unconfined, no-new-privileges[=false]', collect)
      .option('--stop-signal <signal>', 'signal that asks it to end')
      .option('--stop-timeout <seconds>', 'how long it is given to end')
      .option('--time-offset <clocks>', 'a time namespace: boottime=SECONDS,monotonic=SECONDS')
      .option('--health-cmd <script>', 'what is run in it to see whether it is well: exit status 0')
      .option('--health-interval <time>', 'from one check to the next, such as 30s')
      .option('--health-timeout <time>', 'how long a check may take')
      .option('--health-retries <number>', 'failures one after the other that make it unhealthy')
      .option('--health-start-period <time>', 'after its start, in which failures do not count')
      .option('--health-start-interval <time>', 'from one check to the next in the start period')
      .option('--no-healthcheck', "leave out the image's health check"),
  );
}

/** Only what was asked for: the helper knows the defaults. Pure. */
export function limitsOf(flags: LimitFlags): LimitsChange {
  if (flags.cpus !== undefined && (flags.cpuQuota !== undefined || flags.cpuPeriod !== undefined)) {
    throw new UsageError('--cpus sets quota and period: leave out --cpu-quota and --cpu-period');
  }
  return {
    ...(flags.cpus === undefined ? {} : parseCpus(flags.cpus)),
    ...(flags.cpuQuota === undefined ? {} : { cpuQuotaUs: orUnlimited('--cpu-quota', flags.cpuQuota, ranges.cpuQuotaUs) }),
    ...(flags.cpuPeriod === undefined ? {} : { cpuPeriodUs: parseWithin('--cpu-period', flags.cpuPeriod, ranges.cpuPeriodUs) }),
    ...(flags.cpuShares === undefined ? {} : { cpuWeight: parseShares(flags.cpuShares) }),
    ...(flags.cpusetCpus === undefined ? {} : { cpusetCpus: flags.cpusetCpus === '' ? null : flags.cpusetCpus }),
    ...(flags.cpusetMems === undefined ? {} : { cpusetMems: flags.cpusetMems === '' ? null : flags.cpusetMems }),
    ...(flags.memory === undefined ? {} : { memoryMaxBytes: memoryLimit('--memory', flags.memory) }),
    ...(flags.memorySwap === undefined ? {} : { memorySwapMaxBytes: memoryLimit('--memory-swap', flags.memorySwap) }),
    ...(flags.pidsLimit === undefined ? {} : { pidsMax: orUnlimited('--pids-limit', flags.pidsLimit, ranges.pids) }),
  };
}

/** -1 and 0 are Docker's "no limit". */
function orUnlimited(flag: string, text: string, range: Range): number | null {
  return text === '-1' || text === '0' ? null : parseWithin(flag, text, range, ', or -1 for no limit');
}

function memoryLimit(flag: string, text: string): number | null {
  if (text === '-1' || text === '0') return null;
  const value = parseSize(flag, text);
  if (value < ranges.memoryBytes.min) {
    throw new UsageError(`${flag} ${text} is too little: the least is ${formatBytes(ranges.memoryBytes.min)} (512k); -1 is no limit`);
  }
  return value;
}

/** Entries of files first, so that those of the command line win. */
export async function environmentOf(flags: Pick<CreateFlags, 'env' | 'envFile'>): Promise<string[]> {
  const fromFiles = await Promise.all((flags.envFile ?? []).map(readEnvironmentFile));
  return [...fromFiles.flat(), ...resolveEnvironment(flags.env ?? [], process.env)];
}

export async function createOptionsOf(image: string, command: readonly string[], flags: CreateFlags): Promise<CreateOptions> {
  const env = await environmentOf(flags);
  const limits = limitsOf(flags);
  const userNamespace = flags.userns === undefined ? undefined : parseUserNamespace(flags.userns);
  const options: CreateOptions = {
    image,
    command: command.length === 0 ? undefined : [...command],
    name: flags.name,
    entrypoint: flags.entrypoint === undefined ? undefined : flags.entrypoint === '' ? [] : [flags.entrypoint],
    env: env.length === 0 ? undefined : env,
    workingDirectory: flags.workdir,
    user: flags.user,
    hostname: flags.hostname,
    tty: flags.tty,
    openStdin: flags.interactive,
    autoRemove: flags.rm,
    init: flags.init,
    restartPolicy: flags.restart === undefined ? undefined : parseRestartPolicy(flags.restart),
    readOnlyRootfs: flags.readOnly,
    capAdd: flags.capAdd,
    capDrop: flags.capDrop,
    stopSignal: flags.stopSignal,
    stopTimeoutMs:
      flags.stopTimeout === undefined ? undefined : parseWithin('--stop-timeout', flags.stopTimeout, ranges.stopTimeoutS) * 1000,
    labels: flags.label === undefined ? undefined : parseLabels(flags.label),
    tmpfs: flags.tmpfs === undefined ? undefined : parseTmpfs(flags.tmpfs),
    limits: Object.keys(limits).length === 0 ? undefined : limits,
    userNamespace,
    timeNamespace: flags.timeOffset === undefined ? undefined : parseTimeOffset(flags.timeOffset),
    healthcheck: healthcheckOf(flags),
    ...securityOptions(flags.securityOpt ?? []),
    ...parseLogOptions(flags.logOpt ?? []),
  };
  return options;
}

function healthcheckOf(flags: CreateFlags): CreateOptions['healthcheck'] {
  const given = {
    ...(flags.healthCmd === undefined ? {} : { test: ['CMD-SHELL', flags.healthCmd] }),
    ...(flags.healthInterval === undefined ? {} : { intervalMs: parseTime('--health-interval', flags.healthInterval) }),
    ...(flags.healthTimeout === undefined ? {} : { timeoutMs: parseTime('--health-timeout', flags.healthTimeout) }),
    ...(flags.healthStartPeriod === undefined ? {} : { startPeriodMs: parseTime('--health-start-period', flags.healthStartPeriod) }),
    ...(flags.healthStartInterval === undefined
      ? {}
      : { startIntervalMs: parseTime('--health-start-interval', flags.healthStartInterval) }),
    ...(flags.healthRetries === undefined ? {} : { retries: parseWithin('--health-retries', flags.healthRetries, ranges.healthRetries) }),
  };
  const isGiven = Object.keys(given).length > 0;
  if (flags.healthcheck) return isGiven ? given : undefined;
  if (isGiven) throw new UsageError('--no-healthcheck and the other --health flags exclude each other');
  return { test: ['NONE'] };
}

function securityOptions(entries: readonly string[]): Pick<CreateOptions, 'seccomp' | 'noNewPrivileges'> {
  const options: Pick<CreateOptions, 'seccomp' | 'noNewPrivileges'> = {};
  for (const entry of entries) {
    const [name, value] = entry.split(/[=:]/, 2);
    if (name === 'seccomp' && value === 'unconfined') options.seccomp = 'unconfined';
    else if (name === 'no-new-privileges') options.noNewPrivileges = value !== 'false';
    else throw new UsageError(`--security-opt "${entry}" is none of seccomp=unconfined and no-new-privileges[=false]`);
  }
  return options;
}

async function readEnvironmentFile(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${error.code ?? error.message})`;
    throw new UsageError(`--env-file ${path}: ${why}`);
  });
  return resolveEnvironment(parseEnvironmentFile(text), process.env, `--env-file ${path}:`);
}
