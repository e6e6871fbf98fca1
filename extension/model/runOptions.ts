import {
  type CreateOptions,
  containerNameSchema,
  createOptionsSchema,
  DEFAULT_LOG_LIMITS,
  parseDuration,
} from '../../helper/protocol/index.ts';
import { joinCommand, splitCommand } from './commandLine.ts';
import { restartWords } from './restartPolicies.ts';
import { bytesForEditing, formatBytes, formatDuration, parseBytes } from './units.ts';

/** What of a new container is asked for only on request; what is absent is as the image says, else the helper's default. */
export type RunOptions = Pick<
  CreateOptions,
  'name' | 'env' | 'restartPolicy' | 'init' | 'healthcheck' | 'stopSignal' | 'stopTimeoutMs' | 'logMaxSize' | 'logMaxFiles'
>;

export type ReadOption = { readonly next: RunOptions } | { readonly problem: string };

/** An option that is typed. Empty text takes it away. */
export interface TextOption {
  readonly prompt: string;
  readonly placeholder: string;
  edit(options: RunOptions): string;
  read(text: string, options: RunOptions): ReadOption;
}

export const nameOption: TextOption = {
  prompt: 'Name of the container. Empty: one is made up.',
  placeholder: 'web',
  edit: ({ name }) => name ?? '',
  read: (text, options) => {
    const name = text.trim();
    // Of a name the options themselves say less than those who take it.
    const problem = name === '' ? undefined : containerNameSchema.safeParse(name).error?.issues[0]?.message;
    return problem === undefined ? withOption(options, 'name', name) : { problem: sentence(problem) };
  },
};

export const environmentOption: TextOption = {
  prompt: "Environment variables, quotes as in a shell. Empty: the image's alone.",
  placeholder: "PORT=8080 GREETING='hello world'",
  edit: ({ env }) => joinCommand(env ?? []),
  read: (text, options) => {
    try {
      return withOption(options, 'env', splitCommand(text));
    } catch (error) {
      return { problem: error instanceof Error ? error.message : String(error) };
    }
  },
};

export const healthCommandOption: TextOption = {
  prompt: 'A line for the shell of the container. Its exit status 0 is healthy.',
  placeholder: 'wget -q -O /dev/null http://localhost:8080/',
  edit: ({ healthcheck }) => (healthcheck?.test?.[0] === 'CMD-SHELL' ? (healthcheck.test[1] ?? '') : ''),
  read: (text, options) => {
    if (text.trim() === '') return { problem: 'Write a command.' };
    return withOption(options, 'healthcheck', { ...options.healthcheck, test: ['CMD-SHELL', text.trim()] });
  },
};

export const healthIntervalOption: TextOption = {
  prompt: 'Time from one check to the next, like 10s or 1m30s. Empty: 30 seconds.',
  placeholder: '30s',
  edit: ({ healthcheck }) => (healthcheck?.intervalMs === undefined ? '' : durationForEditing(healthcheck.intervalMs)),
  read: (text, options) => {
    const { intervalMs: _, ...rest } = options.healthcheck ?? {};
    if (text.trim() === '') return withOption(options, 'healthcheck', rest);
    const intervalMs = parseDuration(text.replaceAll(/\s/g, ''));
    if (intervalMs === undefined) return { problem: 'Write a time, like 10s or 1m30s.' };
    return withOption(options, 'healthcheck', { ...rest, intervalMs });
  },
};

export const stopSignalOption: TextOption = {
  prompt: "Signal that asks it to end. Empty: the image's, else SIGTERM.",
  placeholder: 'SIGTERM',
  edit: ({ stopSignal }) => stopSignal ?? '',
  read: (text, options) => {
    const signal = text.trim().toUpperCase();
    if (!/^([A-Z][A-Z0-9+-]*|\d+|)$/.test(signal)) return { problem: 'Write the name of a signal, like SIGINT, or its number.' };
    return withOption(options, 'stopSignal', signal);
  },
};

export const stopTimeoutOption: TextOption = {
  prompt: 'How long it is given to end before it is killed, like 30s. Empty: 10 seconds.',
  placeholder: '10s',
  edit: ({ stopTimeoutMs }) => (stopTimeoutMs === undefined ? '' : durationForEditing(stopTimeoutMs)),
  read: (text, options) => {
    const typed = text.replaceAll(/\s/g, '');
    if (typed === '') return withOption(options, 'stopTimeoutMs', undefined);
    // People write seconds, as "docker stop" takes them.
    const ms = /^\d+$/.test(typed) ? Number(typed) * 1000 : parseDuration(typed);
    if (ms === undefined) return { problem: 'Write a time, like 30s or 2m.' };
    if (ms > MAX_STOP_MS) return { problem: 'It is given an hour at most.' };
    return withOption(options, 'stopTimeoutMs', Math.round(ms));
  },
};

export const logSizeOption: TextOption = {
  prompt: `Size at which a segment of the log is closed and the next begun. Empty: ${formatBytes(DEFAULT_LOG_LIMITS.maxSize)}.`,
  placeholder: bytesForEditing(DEFAULT_LOG_LIMITS.maxSize),
  edit: ({ logMaxSize }) => (logMaxSize === undefined ? '' : bytesForEditing(logMaxSize)),
  read: (text, options) => {
    if (text.trim() === '') return withOption(options, 'logMaxSize', undefined);
    const bytes = parseBytes(text);
    return bytes === undefined ? { problem: 'Write a size, like 10m.' } : withOption(options, 'logMaxSize', bytes);
  },
};

export const logFilesOption: TextOption = {
  prompt: `How many segments are kept; the oldest goes first. Empty: ${DEFAULT_LOG_LIMITS.maxFiles}.`,
  placeholder: String(DEFAULT_LOG_LIMITS.maxFiles),
  edit: ({ logMaxFiles }) => (logMaxFiles === undefined ? '' : String(logMaxFiles)),
  read: (text, options) => {
    if (text.trim() === '') return withOption(options, 'logMaxFiles', undefined);
    return /^\d+$/.test(text.trim())
      ? withOption(options, 'logMaxFiles', Number(text.trim()))
      : { problem: 'Write how many, as a whole number.' };
  },
};

const MAX_STOP_MS = 3_600_000;

/** Options with one changed, if the helper would take it: its own schema is what refuses, in its own words. */
export function withOption<K extends keyof RunOptions>(options: RunOptions, key: K, value: RunOptions[K]): ReadOption {
  const { [key]: _, ...rest } = options;
  const isNothing = value === undefined || value === '' || (typeof value === 'object' && Object.keys(value).length === 0);
  if (isNothing) return { next: rest };
  const problem = createOptionsSchema.shape[key].safeParse(value).error?.issues[0]?.message;
  return problem === undefined ? { next: { ...rest, [key]: value } } : { problem: sentence(problem) };
}

/** What each row of the form says of the present choice. */
export const optionWords = {
  name: ({ name }: RunOptions): string => name ?? 'made up',
  environment: ({ env = [] }: RunOptions): string =>
    env.length === 0 ? "the image's alone" : `the image's and ${env.map((entry) => entry.split('=', 1).join('')).join(', ')}`,
  restarts: ({ restartPolicy }: RunOptions): string => (restartPolicy === undefined ? 'never' : restartWords(restartPolicy)),
  health: ({ healthcheck }: RunOptions): string => {
    const { test, intervalMs } = healthcheck ?? {};
    if (test === undefined) return 'as the image says';
    return test[0] === 'NONE' ? 'never' : `every ${timeWords(intervalMs ?? 30_000)}: ${test.slice(1).join(' ')}`;
  },
  init: ({ init }: RunOptions): string =>
    init === true ? "Strata's own: it reaps processes that lose their parent and hands signals on" : 'the command itself',
  stop: ({ stopSignal, stopTimeoutMs }: RunOptions): string =>
    `${stopSignal ?? "the image's signal"}, killed after ${timeWords(stopTimeoutMs ?? 10_000)}`,
  logs: ({ logMaxSize = DEFAULT_LOG_LIMITS.maxSize, logMaxFiles = DEFAULT_LOG_LIMITS.maxFiles }: RunOptions): string =>
    `${logMaxFiles} ${logMaxFiles === 1 ? 'segment' : 'segments'} of ${formatBytes(logMaxSize)}`,
} as const;

/** A span of a minute and more is told by its two largest units. */
function timeWords(ms: number): string {
  return ms < 60_000 ? `${ms / 1000} s` : formatDuration(ms);
}

function durationForEditing(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}
