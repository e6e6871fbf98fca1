import { isAbsolute, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { LOG_LEVELS, type LogLevel } from './log.ts';
import { StrataError } from './protocol/index.ts';

/** What stratad can be told. */
export interface HelperArguments {
  readonly root: string;
  readonly run: string;
  readonly socket: string;
  readonly ownerUid: number | undefined;
  readonly logLevel: LogLevel;
  readonly cgroupParent: string;
  readonly runtime: string;
  readonly addon: string;
  readonly images: string;
  readonly registries: string;
  readonly warm: { readonly least: number; readonly most: number };
  readonly trace: string | undefined;
}

export const USAGE = `Usage: stratad [options]

  --root DIR            what outlives a reboot: images, layers, containers (/var/lib/strata)
  --run DIR             what does not: sockets, seccomp programs (/run/strata)
  --socket FILE         where to listen (RUN/strata.sock)
  --owner UID           a user who may control this helper, besides root and the group "strata"
  --log-level LEVEL     ${LOG_LEVELS.join(', ')} (info)
  --cgroup-parent PATH  above the containers' cgroups (/strata)
  --runtime FILE        strata-runtime
  --images DIR          images to import at the first start
  --registries FILE     mirrors, insecure hosts, certificates (/etc/strata/registries.json)
  --warm LEAST[-MOST]   sandboxes kept ready for the next container: always, after a burst (1-8)
  --trace FILE          supervisors append what they did when, a line a step
`;

const options = {
  root: { type: 'string', default: '/var/lib/strata' },
  run: { type: 'string', default: '/run/strata' },
  socket: { type: 'string' },
  owner: { type: 'string' },
  'log-level': { type: 'string', default: 'info' },
  'cgroup-parent': { type: 'string', default: '/strata' },
  runtime: { type: 'string' },
  addon: { type: 'string' },
  images: { type: 'string' },
  registries: { type: 'string', default: '/etc/strata/registries.json' },
  warm: { type: 'string', default: '1-8' },
  trace: { type: 'string' },
} as const;

/** Pure. `productDir` is where the runtime, the addon and the images lie unless told otherwise. */
export function parseHelperArguments(argv: readonly string[], productDir: string): HelperArguments {
  const values = parse(argv);
  const run = resolve(values.run);
  return {
    root: resolve(values.root),
    run,
    socket: values.socket === undefined ? join(run, 'strata.sock') : resolve(values.socket),
    ownerUid: values.owner === undefined ? undefined : integer('owner', values.owner, 2 ** 32 - 2),
    logLevel: level(values['log-level']),
    cgroupParent: cgroupPath(values['cgroup-parent']),
    runtime: resolve(values.runtime ?? join(productDir, 'strata-runtime')),
    addon: resolve(values.addon ?? join(productDir, 'strata.node')),
    images: resolve(values.images ?? join(productDir, 'images')),
    registries: resolve(values.registries),
    warm: poolSize(values.warm),
    trace: values.trace === undefined ? undefined : resolve(values.trace),
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: false, strict: true }).values;
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
}

function integer(name: string, text: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= max) return value;
  throw wrong(`--${name} "${text}" is not a number from 0 to ${max}`);
}

function poolSize(text: string): HelperArguments['warm'] {
  const [least = '', most = least, ...rest] = text.split('-');
  const size = { least: integer('warm', least, 64), most: integer('warm', most, 64) };
  if (rest.length === 0 && size.least <= size.most) return size;
  throw wrong(`--warm "${text}" is not a number, or two as in 1-8`);
}

function level(text: string): LogLevel {
  const found = LOG_LEVELS.find((name) => name === text);
  if (found === undefined) throw wrong(`--log-level "${text}" is none of ${LOG_LEVELS.join(', ')}`);
  return found;
}

function cgroupPath(text: string): string {
  if (isAbsolute(text) && text !== '/' && !text.split('/').includes('..')) return text.replace(/\/+$/, '');
  throw wrong(`--cgroup-parent "${text}" is not a path such as /strata`);
}

function wrong(message: string): StrataError {
  return new StrataError('INVALID_REQUEST', message, { hint: 'stratad --help tells what there is.' });
}
