import type { CreateOptions, ImageConfig } from '../protocol/index.ts';

/** What is run to see whether a container is well, and when. */
export interface HealthPlan {
  /** The command of an exec. */
  readonly command: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** After the container's start; failures in it do not count, unless a check has succeeded. */
  readonly startPeriodMs: number;
  /** Between checks until the first one has succeeded, while the start period lasts. */
  readonly startIntervalMs: number;
  /** Failures one after the other that make it unhealthy. */
  readonly retries: number;
}

type Healthcheck = NonNullable<CreateOptions['healthcheck']>;
type ImageHealthcheck = NonNullable<NonNullable<ImageConfig['config']>['Healthcheck']>;

/** Docker's. */
const defaults = { intervalMs: 30_000, timeoutMs: 30_000, startPeriodMs: 0, startIntervalMs: 5000, retries: 3 } as const;
const leastMs = 1;
const mostMs = 24 * 3_600_000;
const shell = ['/bin/sh', '-c'] as const;

/**
 * What a person asked for, each part else as the image has it, else Docker's default. Undefined: nothing is to be checked.
 * An image's check that is none of the known forms is left out with a warning.
 */
export function planHealth(options: CreateOptions, image: ImageConfig): { plan?: HealthPlan; warning?: string } {
  const asked = options.healthcheck ?? {};
  const own = image.config?.Healthcheck ?? {};
  const test = asked.test ?? own.Test ?? [];
  if (test.length === 0 || test[0] === 'NONE') return {};
  const command = commandOf(test, image.config?.Shell ?? shell);
  if (command === undefined)
    return { warning: `the health check of image "${options.image}" is none of NONE, CMD and CMD-SHELL and is left out` };
  const parts = { ...defaults, ...partsOf(own), ...definedParts(asked) };
  return { plan: { command, ...parts } };
}

function commandOf(test: readonly string[], imageShell: readonly string[]): readonly string[] | undefined {
  const [kind, ...words] = test;
  if (kind === 'CMD' && words.length > 0) return words;
  if (kind === 'CMD-SHELL' && words[0] !== undefined) return [...(imageShell.length > 0 ? imageShell : shell), words[0]];
  return undefined;
}

/** An image counts in nanoseconds, and 0 is the default. */
function partsOf(own: ImageHealthcheck): Partial<Omit<HealthPlan, 'command'>> {
  const parts: Partial<Record<keyof typeof defaults, number>> = {};
  const time = (name: keyof typeof defaults, nanoseconds: number | null | undefined): void => {
    if (nanoseconds !== undefined && nanoseconds !== null && nanoseconds > 0)
      parts[name] = Math.min(Math.max(Math.round(nanoseconds / 1e6), leastMs), mostMs);
  };
  time('intervalMs', own.Interval);
  time('timeoutMs', own.Timeout);
  time('startPeriodMs', own.StartPeriod);
  time('startIntervalMs', own.StartInterval);
  if (own.Retries !== undefined && own.Retries !== null && own.Retries > 0) parts.retries = Math.floor(own.Retries);
  return parts;
}

function definedParts({ test: _, ...asked }: Healthcheck): Partial<Omit<HealthPlan, 'command'>> {
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)) as Partial<Omit<HealthPlan, 'command'>>; // fromEntries loses the keys
}
