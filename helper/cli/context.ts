import { isatty } from 'node:tty';
import { containerReferenceSchema, DEFAULT_SOCKET_PATH, ERRORS, type ErrorCode, StrataError } from '../protocol/index.ts';
import { VERSION } from '../version.ts';
import { connect } from '../wire/connect.ts';
import type { Connection } from '../wire/connection.ts';
import type { OutputLoss } from './outputLoss.ts';

/** What every command needs. */
export interface Context {
  connect(): Promise<Connection>;
  readonly socketPath: string;
  readonly outputLoss: OutputLoss;
}

export function createContext(socket: string | undefined, outputLoss: OutputLoss): Context {
  const socketPath = socket ?? process.env['STRATA_SOCKET'] ?? DEFAULT_SOCKET_PATH;
  return {
    socketPath,
    outputLoss,
    connect: async () => {
      try {
        const { connection } = await connect({ socketPath, client: { name: 'strata', version: VERSION } });
        return connection;
      } catch (error) {
        throw connectError(error, socketPath);
      }
    },
  };
}

/** Runs an action over a connection, which is closed when it is over. */
export async function withConnection<T>(context: Context, action: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await context.connect();
  try {
    return await action(connection);
  } finally {
    connection.close();
  }
}

/** What a command does with each of several names, and how that is shown. */
export interface Task<T> {
  /** pretty: indented wherever it goes. */
  readonly json: true | 'pretty' | undefined;
  /** All at once, for what may take long; else one after the other. */
  readonly parallel?: true;
  readonly act: (connection: Connection, name: string) => Promise<T>;
  /** For people; absent: the name. */
  readonly lines?: (result: T) => readonly string[];
}

/** Does it with each name; one that fails does not keep it from the others. JSON is one array, of those that did not fail. */
export async function forEach<T>(context: Context, names: readonly string[], task: Task<T>): Promise<void> {
  await withConnection(context, async (connection) => {
    const results: T[] = [];
    const failures: StrataError[] = [];
    const one = async (name: string): Promise<void> => {
      try {
        const result = await task.act(connection, name);
        results.push(result);
        if (task.json === undefined) for (const line of task.lines?.(result) ?? [name]) print(`${line}\n`);
      } catch (error) {
        if (!(error instanceof StrataError) || error.code === 'CONNECTION_CLOSED') throw error;
        failures.push(error);
      }
    };
    if (task.parallel === true) await Promise.all(names.map(one));
    else for (const name of names) await one(name);
    if (task.json !== undefined) printJson(results, task.json === 'pretty' || isatty(1));
    const last = failures.pop();
    for (const failure of failures) process.stderr.write(`strata: ${failure.message}\n`);
    if (last !== undefined) throw last;
  });
}

/** Where a name was looked for among containers before, an error that names images alone would mislead. */
export function neither(error: unknown, name: string): unknown {
  if (!(error instanceof StrataError) || error.code !== 'IMAGE_NOT_FOUND') return error;
  return new StrataError('IMAGE_NOT_FOUND', `there is no container or image "${name}"`, {
    hint: 'List the containers with "strata ps --all", and the images with "strata images".',
  });
}

/** What a person names may be either; containers come first. */
export async function containerElseImage<T>(name: string, ofContainer: () => Promise<T>, ofImage: () => Promise<T>): Promise<T> {
  // Names of images may be longer than any of a container.
  if (containerReferenceSchema.safeParse(name).success) {
    try {
      return await ofContainer();
    } catch (error) {
      if (!(error instanceof StrataError) || error.code !== 'CONTAINER_NOT_FOUND') throw error;
    }
  }
  try {
    return await ofImage();
  } catch (error) {
    throw neither(error, name);
  }
}

export function print(text: string): void {
  process.stdout.write(text);
}

export function printJson(value: unknown, pretty = isatty(1)): void {
  print(`${JSON.stringify(value, undefined, pretty ? 2 : undefined)}\n`);
}

export function printWarnings(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`strata: warning: ${warning}\n`);
}

/** Until the helper goes, which is not how what follows its doings should end. */
export async function untilClosed(connection: Connection): Promise<never> {
  await connection.closed;
  throw new StrataError('CONNECTION_CLOSED', 'the helper has gone');
}

/** Of our terminal, for a program that gets one of its own. */
export function terminalSize(): { columns: number; rows: number } {
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
}

function connectError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('code' in error) || error instanceof StrataError) return error;
  const start = 'Start it: "npm start -- --no-ui" in the checkout; --socket or STRATA_SOCKET name another one.';
  const known: Readonly<Record<string, { code: ErrorCode; message: string; hint: string }>> = {
    ENOENT: { code: 'CONNECTION_CLOSED', message: `no helper runs here: there is no socket ${path}`, hint: start },
    ECONNREFUSED: { code: 'CONNECTION_CLOSED', message: `the helper has ended: nobody listens on ${path}`, hint: start },
    EACCES: {
      code: 'PERMISSION_DENIED',
      message: `permission denied: you may not use the socket ${path}`,
      hint: ERRORS.PERMISSION_DENIED.hint,
    },
  };
  const found = known[String(error.code)];
  return found === undefined ? error : new StrataError(found.code, found.message, { hint: found.hint, cause: error });
}
