import { type Command, Option } from 'commander';
import { methods, type Params } from '../../protocol/index.ts';
import { type Context, withConnection } from '../context.ts';
import { runForeground } from '../foreground.ts';
import { parseMoment, parseWithin, ranges, UsageError } from '../values.ts';

type Format = NonNullable<Params<'container.logs'>['format']>;

interface LogFlags {
  readonly follow?: true;
  readonly tail?: string;
  readonly since?: string;
  readonly until?: string;
  readonly timestamps?: true;
  readonly stdout?: true;
  readonly stderr?: true;
  readonly format?: Format;
  readonly json?: true;
}

export function addLogs(program: Command, context: () => Context): void {
  program
    .command('logs')
    .description('what a container wrote')
    .argument('<container>')
    .option('-f, --follow', 'go on as it writes')
    .option('-n, --tail <lines>', 'the last lines only; "all" for all')
    .option('--since <time>', 'from this time on: RFC 3339, seconds since the epoch, or how long ago (10m)')
    .option('--until <time>', 'up to this time')
    .option('-t, --timestamps', 'with times')
    .option('--stdout', 'only what it wrote to stdout')
    .option('--stderr', 'only what it wrote to stderr')
    .addOption(
      new Option('--format <format>', 'raw: as it was written; json: an object for each line with time, stream, text').choices(
        methods['container.logs'].params.shape.format.unwrap().options,
      ),
    )
    .option('--json', 'as --format json')
    .action(async (container: string, flags: LogFlags) => {
      const params = logParams(container, flags, Date.now());
      await withConnection(context(), async (connection) => {
        const { stream } = await connection.request('container.logs', params);
        await runForeground({
          connection,
          stream: connection.stream(stream),
          stdin: false,
          tty: false,
          resize: () => Promise.resolve(),
          ...(params.format === 'json' ? { isContent: true } : {}),
        });
      });
    });
}

/** Pure. */
export function logParams(container: string, flags: LogFlags, nowMs: number): Params<'container.logs'> {
  const { tail, since, until, stdout, stderr } = flags;
  const format = flags.json === true ? 'json' : flags.format;
  if (format === 'json' && flags.format === 'raw') throw new UsageError('--json is --format json: leave out --format raw');
  if (format === 'json' && flags.timestamps === true)
    throw new UsageError('--timestamps is for --format raw: each line has its time in JSON');
  // Who names one of them does not want the other; who names both wants what is given anyway.
  const only = stdout === stderr ? {} : stdout === true ? { stderr: false } : { stdout: false };
  return {
    container,
    follow: flags.follow,
    timestamps: flags.timestamps,
    format,
    tail: tail === undefined || tail === 'all' ? undefined : parseWithin('--tail', tail, ranges.tailLines, ', or "all"'),
    sinceMs: since === undefined ? undefined : parseMoment('--since', since, nowMs),
    untilMs: until === undefined ? undefined : parseMoment('--until', until, nowMs),
    ...only,
  };
}
