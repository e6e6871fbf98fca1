import * as path from 'node:path/posix';
import { type ImageConfig, parseDuration, StrataError, signalName, signalOf } from '../protocol/index.ts';
import { instructionWords } from './instructionWords.ts';

/** What a container is told by its image (image-spec's `config`). */
export type RuntimeConfig = NonNullable<ImageConfig['config']>;

type Apply = (config: RuntimeConfig, rest: string) => RuntimeConfig;

const defaultShell = ['/bin/sh', '-c'] as const;
const mostPorts = 65_536;

/** Pure. Dockerfile instructions that change no file, as `docker commit --change` takes them; INVALID_REQUEST names the one that cannot be. */
export function applyInstructions(config: RuntimeConfig, instructions: readonly string[]): RuntimeConfig {
  return instructions.reduce(applyInstruction, config);
}

function applyInstruction(config: RuntimeConfig, text: string): RuntimeConfig {
  const match = /^\s*([A-Za-z]+)(?:\s+([\s\S]*?))?\s*$/.exec(text);
  const name = match?.[1]?.toUpperCase() ?? '';
  const apply = known.get(name);
  if (match === null || apply === undefined) throw invalid(text, `it has to begin with one of ${[...known.keys()].join(', ')}`);
  try {
    return apply(config, match[2] ?? '');
  } catch (error) {
    throw error instanceof Refused ? invalid(text, error.message) : error;
  }
}

class Refused extends Error {}

function invalid(text: string, why: string): StrataError {
  const shown = text.length > 100 ? `${text.slice(0, 99)}…` : text;
  return new StrataError('INVALID_REQUEST', `the change "${shown}" cannot be made: ${why}`, {
    hint: 'Write it as in a Dockerfile, such as CMD ["nginx", "-g", "daemon off;"] or ENV MODE=production.',
    details: { path: 'changes' },
  });
}

const known: ReadonlyMap<string, Apply> = new Map<string, Apply>([
  ['CMD', (config, rest) => ({ ...config, Cmd: commandOf(config, rest) })],
  // The arguments that the image had were meant for what it had before.
  ['ENTRYPOINT', ({ Cmd: _, ...config }, rest) => ({ ...config, Entrypoint: commandOf(config, rest) })],
  ['ENV', (config, rest) => ({ ...config, Env: withVariables(config, assignments(config, rest)) })],
  [
    'EXPOSE',
    (config, rest) => ({ ...config, ExposedPorts: { ...sets(config['ExposedPorts']), ...asSet(words(config, rest).flatMap(ports)) } }),
  ],
  ['LABEL', (config, rest) => ({ ...config, Labels: { ...config.Labels, ...Object.fromEntries(assignments(config, rest)) } })],
  ['USER', (config, rest) => ({ ...config, User: single(config, rest, 'a user') })],
  ['VOLUME', (config, rest) => ({ ...config, Volumes: { ...sets(config['Volumes']), ...asSet(volumes(config, rest)) } })],
  [
    'WORKDIR',
    (config, rest) => ({ ...config, WorkingDir: path.resolve('/', config.WorkingDir ?? '', single(config, rest, 'a directory')) }),
  ],
  ['STOPSIGNAL', (config, rest) => ({ ...config, StopSignal: stopSignal(single(config, rest, 'a signal')) })],
  ['HEALTHCHECK', (config, rest) => ({ ...config, Healthcheck: healthcheck(rest) })],
  [
    'ONBUILD',
    (config, rest) => ({
      ...config,
      OnBuild: [...texts(config['OnBuild']), required(rest, 'an instruction')],
    }),
  ],
]);

function required(rest: string, what: string): string {
  if (rest === '') throw new Refused(`${what} is missing`);
  return rest;
}

/** The exec form is JSON; all else is a line for the shell. */
function commandOf({ Shell }: RuntimeConfig, rest: string): string[] {
  const list = jsonList(rest);
  if (list !== undefined) return list;
  const shell = Shell !== undefined && Shell !== null && Shell.length > 0 ? Shell : defaultShell;
  return [...shell, required(rest, 'a command')];
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((word) => typeof word === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}

function words(config: RuntimeConfig, rest: string): string[] {
  const variables = new Map((config.Env ?? []).map((entry) => split(entry, '=')));
  const found = instructionWords(required(rest, 'a value'), (name) => variables.get(name));
  if (found === undefined) throw new Refused('a quotation mark has no end');
  return found;
}

function single(config: RuntimeConfig, rest: string, what: string): string {
  const [word, ...more] = words(config, rest);
  if (word === undefined || word === '' || more.length > 0) throw new Refused(`it takes ${what} and nothing else`);
  return word;
}

/** `A=1 B="two words"`, or the old `A one and all that follows`. */
function assignments(config: RuntimeConfig, rest: string): [string, string][] {
  const found = words(config, rest);
  const [first = '', ...more] = found;
  const pairs: [string, string][] =
    first.includes('=') || more.length === 0
      ? found.map((word) => split(word, '=', true))
      : [[first, words(config, rest.replace(/^\S+\s+/, '')).join(' ')]];
  if (pairs.some(([name]) => name === '')) throw new Refused('a name is missing before "="');
  return pairs;
}

function split(text: string, at: string, strict = false): [string, string] {
  const index = text.indexOf(at);
  if (index === -1 && strict) throw new Refused(`"${text}" has no "${at}"`);
  return index === -1 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];
}

function withVariables({ Env }: RuntimeConfig, pairs: readonly (readonly [string, string])[]): string[] {
  const byName = new Map((Env ?? []).map((entry) => [split(entry, '=')[0], entry]));
  for (const [name, value] of pairs) byName.set(name, `${name}=${value}`);
  return [...byName.values()];
}

/** "80", "80/tcp", "8000-8010/udp" */
function ports(text: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || first > last || last >= mostPorts) throw new Refused(`"${text}" is no port, such as 80, 53/udp or 8000-8010`);
  const protocol = match[3]?.toLowerCase() ?? 'tcp';
  return Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${protocol}`);
}

function volumes(config: RuntimeConfig, rest: string): string[] {
  const found = (jsonList(rest) ?? words(config, rest)).filter((name) => name !== '');
  if (found.length === 0) throw new Refused('a directory is missing');
  return found;
}

function asSet(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((text: unknown): text is string => typeof text === 'string') : [];
}

/** image-spec's sets are objects whose values say nothing. */
function sets(value: unknown): object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}

function stopSignal(text: string): string {
  try {
    return signalName(signalOf(text));
  } catch {
    throw new Refused(`there is no signal "${text}"`);
  }
}

const healthFlags = { interval: 'Interval', timeout: 'Timeout', 'start-period': 'StartPeriod', 'start-interval': 'StartInterval' } as const;

function isTimeFlag(name: string): name is keyof typeof healthFlags {
  return Object.hasOwn(healthFlags, name);
}

/** `NONE`, or `[--interval=30s …] CMD command`; times are nanoseconds in the config. */
function healthcheck(text: string): NonNullable<RuntimeConfig['Healthcheck']> {
  const check: NonNullable<RuntimeConfig['Healthcheck']> = {};
  let rest = text;
  for (let flag = /^--([a-z-]+)=(\S+)\s*/.exec(rest); flag !== null; flag = /^--([a-z-]+)=(\S+)\s*/.exec(rest)) {
    const [whole, name = '', value = ''] = flag;
    rest = rest.slice(whole.length);
    if (isTimeFlag(name)) {
      const ms = parseDuration(value);
      if (ms === undefined) throw new Refused(`--${name} "${value}" is no time, such as 30s or 1m30s`);
      check[healthFlags[name]] = Math.round(ms * 1e6);
    } else if (name === 'retries' && /^\d{1,6}$/.test(value)) check.Retries = Number(value);
    else throw new Refused(`--${name}=${value} is not known here`);
  }
  if (/^NONE$/i.test(rest)) return { Test: ['NONE'] };
  const command = /^CMD\s+([\s\S]+)$/i.exec(rest)?.[1];
  if (command === undefined) throw new Refused('it takes NONE, or CMD and a command');
  const list = jsonList(command);
  return { ...check, Test: list === undefined ? ['CMD-SHELL', command] : ['CMD', ...list] };
}
