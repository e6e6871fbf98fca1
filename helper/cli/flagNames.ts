import type { StrataError } from '../protocol/index.ts';

/** Which flag gave a field of the wire, or a file of a cgroup: what a person typed is what an error shall name. */
const flagsOf: Readonly<Record<string, readonly string[]>> = {
  cpuQuotaUs: ['--cpus', '--cpu-quota'],
  cpuPeriodUs: ['--cpu-period', '--cpus'],
  cpuWeight: ['--cpu-shares'],
  cpusetCpus: ['--cpuset-cpus'],
  cpusetMems: ['--cpuset-mems'],
  memoryMaxBytes: ['--memory', '-m'],
  memorySwapMaxBytes: ['--memory-swap'],
  pidsMax: ['--pids-limit'],
  name: ['--name'],
  changes: ['--change', '-c'],
  created: ['--created'],
  env: ['--env', '-e', '--env-file'],
  workingDirectory: ['--workdir', '-w'],
  user: ['--user', '-u'],
  hostname: ['--hostname', '-h'],
  entrypoint: ['--entrypoint'],
  capAdd: ['--cap-add'],
  capDrop: ['--cap-drop'],
  restartPolicy: ['--restart'],
  intervalMs: ['--health-interval'],
  timeoutMs: ['--health-timeout'],
  startPeriodMs: ['--health-start-period'],
  startIntervalMs: ['--health-start-interval'],
  retries: ['--health-retries'],
  stopSignal: ['--stop-signal'],
  stopTimeoutMs: ['--stop-timeout'],
  labels: ['--label', '-l'],
  logMaxSize: ['--log-opt'],
  logMaxFiles: ['--log-opt'],
  tmpfs: ['--tmpfs'],
  userNamespace: ['--userns'],
  timeNamespace: ['--time-offset'],
  graceMs: ['--time', '-t'],
  signal: ['--signal', '-s'],
  tail: ['--tail', '-n'],
  'cpu.max': ['--cpus', '--cpu-quota', '--cpu-period'],
  'cpu.cfs_quota_us': ['--cpus', '--cpu-quota'],
  'cpu.cfs_period_us': ['--cpu-period', '--cpus'],
  'cpu.weight': ['--cpu-shares'],
  'cpu.shares': ['--cpu-shares'],
  'cpuset.cpus': ['--cpuset-cpus'],
  'cpuset.mems': ['--cpuset-mems'],
  'memory.max': ['--memory', '-m'],
  'memory.limit_in_bytes': ['--memory', '-m'],
  'memory.swap.max': ['--memory-swap'],
  'memory.memsw.limit_in_bytes': ['--memory-swap'],
  'pids.max': ['--pids-limit'],
};

/** Flags that may be there several times: which one it was is not known. */
const repeatable = new Set([
  '--change',
  '-c',
  '--env',
  '-e',
  '--env-file',
  '--cap-add',
  '--cap-drop',
  '--label',
  '-l',
  '--log-opt',
  '--tmpfs',
]);

/** The helper's message in the words of the command line: "--hostname -bad: a host name has …". Pure. */
export function inFlags(error: StrataError, argv: readonly string[]): string {
  const { path } = error.details;
  if ((error.code !== 'INVALID_REQUEST' && error.code !== 'LIMIT_INVALID') || typeof path !== 'string') return error.message;
  const text = error.message.startsWith(`${path}: `) ? error.message.slice(path.length + 2) : error.message;
  // "options.env.3", "limits.pidsMax", "/sys/fs/cgroup/…/cpuset.mems"
  const parts = path.startsWith('/') ? [path.slice(path.lastIndexOf('/') + 1)] : [path, ...path.split('.')];
  const flag = parts.flatMap((part) => flagsOf[part] ?? []).find((name) => typedValue(name, argv) !== undefined);
  if (flag === undefined) return error.message;
  return repeatable.has(flag) ? `${flag}: ${text}` : `${flag} ${typedValue(flag, argv)}: ${text}`;
}

function typedValue(flag: string, argv: readonly string[]): string | undefined {
  for (const [index, word] of argv.entries()) {
    if (word === flag) return argv[index + 1] ?? '';
    if (flag.startsWith('--') && word.startsWith(`${flag}=`)) return word.slice(flag.length + 1);
    if (!flag.startsWith('--') && word.startsWith(flag)) return word.slice(flag.length);
  }
  return undefined;
}
