import {
  type ContainerId,
  type ContainerState,
  type ContainerSummary,
  containerIdSchema,
  DEFAULT_LIMITS,
  type Digest,
  digestSchema,
  type Exit,
  type ImageSummary,
  type Limits,
  type Stats,
} from '../../../helper/protocol/index.ts';

export const containerId = (digit: string): ContainerId => containerIdSchema.parse(digit.repeat(32));
export const digest = (digit: string): Digest => digestSchema.parse(`sha256:${digit.repeat(64)}`);

/** Of a helper; another one has another. */
export const epoch = '0123456789abcdef';

export const running: ContainerState = { kind: 'running', pid: 100, startedAt: '2026-01-01T00:00:00Z' };

export function exit(values: Partial<Exit> = {}): Exit {
  return { code: 0, signal: null, oomKilled: false, reason: 'exited with status 0', finishedAt: '2026-01-01T00:01:00Z', ...values };
}

export function exited(values: Partial<Exit> = {}): ContainerState {
  return { kind: 'exited', exit: exit(values), startedAt: '2026-01-01T00:00:00Z' };
}

export function container(digit: string, values: Partial<ContainerSummary> = {}): ContainerSummary {
  return {
    id: containerId(digit),
    name: `name-${digit}`,
    image: 'busybox:latest',
    imageId: digest('a'),
    command: ['sh'],
    createdAt: `2026-01-0${digit}T00:00:00Z`,
    state: running,
    tty: false,
    openStdin: false,
    autoRemove: false,
    restartPolicy: { name: 'no' },
    restartCount: 0,
    labels: {},
    limits: DEFAULT_LIMITS,
    revision: 1,
    ...values,
  };
}

export function image(digit: string, references: readonly string[], values: Partial<ImageSummary> = {}): ImageSummary {
  return {
    id: digest(digit),
    references: [...references],
    sizeBytes: 1000,
    createdAt: null,
    architecture: 'amd64',
    os: 'linux',
    layerCount: 1,
    revision: 1,
    ...values,
  };
}

export const limits = (values: Partial<Limits>): Limits => ({ ...DEFAULT_LIMITS, ...values });

export function stats(digit: string, values: Partial<Stats> = {}): Stats {
  return {
    id: containerId(digit),
    atMs: 0,
    cpuPercent: 12.34,
    cpuUsageUs: 0,
    throttledPercent: null,
    throttledUs: 0,
    memoryBytes: 45 * 1024 ** 2,
    memoryLimitBytes: null,
    memoryAnonBytes: 0,
    memoryFileBytes: 0,
    memoryPeakBytes: null,
    swapBytes: null,
    oomKills: 0,
    pids: 3,
    pidsLimit: null,
    ioReadBytes: 0,
    ioWriteBytes: 0,
    ...values,
  };
}
