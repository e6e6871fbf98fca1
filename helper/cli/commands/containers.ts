import { isatty } from 'node:tty';
import type { Command } from 'commander';
import { type ContainerSummary, formatBytes, maxSummaryCommandLength, shellStatus } from '../../protocol/index.ts';
import type { Connection } from '../../wire/connection.ts';
import { type Context, forEach, print, printJson, printWarnings, withConnection } from '../context.ts';
import { addLimitFlags, collect, type LimitFlags, limitsOf } from '../createOptions.ts';
import { ago, commandText, duration, plainText, table } from '../output.ts';
import { parseFilter, parseRestartPolicy, parseWithin, ranges, UsageError } from '../values.ts';

const announceAfterMs = 1000;

const standstills = [
  { name: 'pause', method: 'container.pause', description: 'freeze every process of containers where it is' },
  { name: 'unpause', method: 'container.resume', description: 'let paused containers go on' },
] as const;

export function addContainerCommands(program: Command, context: () => Context): void {
  addPs(program, context);
  addEnding(program, context);
  addUpdate(program, context);
  program
    .command('top')
    .description('processes of a running container, with their pids on the host and inside')
    .argument('<container>')
    .option('--json', 'as JSON')
    .action(async (container: string, flags: { json?: true }) => {
      const { processes, truncated } = await withConnection(context(), (connection) =>
        connection.request('container.processes', { container }),
      );
      if (flags.json === true) printJson(processes);
      else {
        const rows = processes.map((p) => [
          String(p.containerPid),
          String(p.hostPid),
          String(p.containerUid ?? '-'),
          p.state,
          formatBytes(p.residentBytes),
          `${(p.cpuMs / 1000).toFixed(2)} s`,
          plainText(p.command, 60),
        ]);
        print(table(['PID', 'HOST PID', 'UID', 'STATE', 'MEMORY', 'CPU TIME', 'COMMAND'], rows));
        if (truncated) print('… and more than can be shown\n');
      }
    });
  program
    .command('rename')
    .description('give a container another name')
    .argument('<container>')
    .argument('<name>')
    .option('--json', 'as JSON')
    .action(async (container: string, name: string, flags: { json?: true }) => {
      await withConnection(context(), (connection) => connection.request('container.rename', { container, name }));
      if (flags.json === true) printJson({ container, name });
    });
  program
    .command('wait')
    .description('wait until containers have ended, and print their status')
    .argument('<containers...>')
    .option('--json', 'how each ended, as JSON')
    .action(async (containers: string[], flags: { json?: true }) => {
      await forEach(context(), containers, {
        json: flags.json,
        act: async (connection, container) => ({ container, exit: (await connection.request('container.wait', { container })).exit }),
        lines: ({ exit }) => [String(shellStatus(exit))],
      });
    });
}

interface PsFlags {
  readonly all?: true;
  readonly quiet?: true;
  readonly last?: string;
  readonly filter?: string[];
  readonly trunc: boolean;
  readonly json?: true;
}

function addPs(program: Command, context: () => Context): void {
  program
    .command('ps')
    .description('list containers')
    .option('-a, --all', 'those that do not run, too')
    .option('-q, --quiet', 'ids only')
    .option('-n, --last <count>', 'the newest ones, whether they run or not')
    .option(
      '--filter <filter>',
      'name=PART, status=created|running|paused|restarting|exited, health=starting|healthy|unhealthy|none or label=KEY[=value]',
      collect,
    )
    .option('--no-trunc', `whole ids, and commands up to ${maxSummaryCommandLength} characters`)
    .option('--json', 'as JSON')
    .action(async (flags: PsFlags) => {
      const last = flags.last === undefined ? Infinity : parseWithin('--last', flags.last, { min: 1, max: 1_000_000 });
      const filters = (flags.filter ?? []).map(parseFilter);
      // A status is asked for to see those that have it.
      const all = flags.all === true || last !== Infinity || filters.some(({ key }) => key === 'status');
      const answer = await withConnection(context(), (connection) => connection.request('container.list', { all }));
      const containers = answer.containers.filter((container) => filters.every(({ matches }) => matches(container))).slice(0, last);
      const id = (container: ContainerSummary): string => (flags.trunc ? container.id.slice(0, 12) : container.id);
      if (flags.json === true) printJson(containers);
      else if (flags.quiet === true) print(containers.map((container) => `${id(container)}\n`).join(''));
      else {
        const now = Date.now();
        const rows = containers.map((c) => [
          id(c),
          c.image,
          commandText(c.command, flags.trunc ? 30 : Infinity),
          ago(c.createdAt, now),
          statusText(c, now),
          c.name,
        ]);
        print(table(['CONTAINER ID', 'IMAGE', 'COMMAND', 'CREATED', 'STATUS', 'NAME'], rows));
      }
    });
}

/** Docker's words. */
const healthTexts = { starting: ' (health: starting)', healthy: ' (healthy)', unhealthy: ' (unhealthy)' } as const;

function statusText({ state, health }: ContainerSummary, now: number): string {
  switch (state.kind) {
    case 'created':
      return 'Created';
    case 'running':
      return `Up ${duration(Math.max(0, now - Date.parse(state.startedAt)))}${state.paused === true ? ' (Paused)' : health === undefined ? '' : healthTexts[health.status]}`;
    case 'exited':
      if (state.restartsAt !== undefined) return `Restarting (${shellStatus(state.exit)}) ${ago(state.exit.finishedAt, now)}`;
      return `Exited (${shellStatus(state.exit)}) ${ago(state.exit.finishedAt, now)}${state.exit.oomKilled ? ', out of memory' : ''}`;
  }
}

/** A stop, and maybe a start after it. */
const stops = [
  {
    name: 'stop',
    method: 'container.stop',
    description: 'ask containers to end, and kill them when the time is over',
    json: 'how each ended, as JSON',
  },
  { name: 'restart', method: 'container.restart', description: 'stop containers, and start them again', json: 'as JSON' },
] as const;

function addEnding(program: Command, context: () => Context): void {
  for (const { name, method, description, json } of stops) {
    program
      .command(name)
      .description(description)
      .argument('<containers...>')
      .option('-t, --time <seconds>', 'how long they are given to end')
      .option('-s, --signal <signal>', 'signal to ask with')
      .option('--json', json)
      .action(async (containers: string[], flags: { time?: string; signal?: string; json?: true }) => {
        const graceMs = flags.time === undefined ? undefined : parseWithin('--time', flags.time, ranges.graceS) * 1000;
        await forEach(context(), containers, {
          json: flags.json,
          parallel: true,
          act: async (connection, container) => {
            const stopping = connection.request(method, { container, graceMs, signal: flags.signal });
            return { container, ...(await announcingWait(connection, container, graceMs, stopping)) };
          },
        });
      });
  }
  for (const { name, method, description } of standstills) {
    program
      .command(name)
      .description(description)
      .argument('<containers...>')
      .option('--json', 'as JSON')
      .action(async (containers: string[], flags: { json?: true }) => {
        await forEach(context(), containers, {
          json: flags.json,
          act: async (connection, container) => {
            await connection.request(method, { container });
            return { container };
          },
        });
      });
  }
  program
    .command('kill')
    .description('send containers a signal')
    .argument('<containers...>')
    .option('-s, --signal <signal>', 'which', 'SIGKILL')
    .option('--json', 'as JSON')
    .action(async (containers: string[], flags: { signal: string; json?: true }) => {
      await forEach(context(), containers, {
        json: flags.json,
        act: async (connection, container) => {
          await connection.request('container.kill', { container, signal: flags.signal });
          return { container, signal: flags.signal };
        },
      });
    });
  program
    .command('rm')
    .description('remove containers')
    .argument('<containers...>')
    .option('-f, --force', 'kill those that run')
    .option('--json', 'as JSON')
    .action(async (containers: string[], flags: { force?: true; json?: true }) => {
      await forEach(context(), containers, {
        json: flags.json,
        act: async (connection, container) => ({
          container,
          ...(await connection.request('container.remove', { container, force: flags.force })),
        }),
      });
    });
}

/** Who sits at a terminal shall know what is waited for. */
async function announcingWait<T>(connection: Connection, container: string, graceMs: number | undefined, stopping: Promise<T>): Promise<T> {
  const announce = async (): Promise<void> => {
    const { stopTimeoutMs } = await connection.request('container.inspect', { container });
    process.stderr.write(`waiting up to ${(graceMs ?? stopTimeoutMs) / 1000} s for ${container} to end\n`);
  };
  // It may have ended and be gone just now.
  const timer = isatty(2) ? setTimeout(() => void announce().catch(() => {}), announceAfterMs) : undefined;
  try {
    return await stopping;
  } finally {
    clearTimeout(timer);
  }
}

function addUpdate(program: Command, context: () => Context): void {
  addLimitFlags(program.command('update'))
    .description('change limits, of a running container at once, and the restart policy')
    .argument('<containers...>')
    .option('--restart <policy>', 'no, on-failure[:count], always, unless-stopped')
    .option('--json', 'limits and warnings as JSON')
    .action(async (containers: string[], flags: LimitFlags & { restart?: string; json?: true }) => {
      const limits = limitsOf(flags);
      const restartPolicy = flags.restart === undefined ? undefined : parseRestartPolicy(flags.restart);
      if (Object.keys(limits).length === 0 && restartPolicy === undefined)
        throw new UsageError('say what to change, for instance --memory 64m');
      await forEach(context(), containers, {
        json: flags.json,
        act: async (connection, container) => {
          const updated = await connection.request('container.update', { container, limits, restartPolicy });
          printWarnings(updated.warnings);
          return { container, ...updated };
        },
        lines: ({ container }) => [container],
      });
    });
}
