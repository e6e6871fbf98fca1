import type { Command } from 'commander';
import { type ContainerSummary, type EventParams, formatBytes, type Stats, StrataError } from '../../protocol/index.ts';
import type { Connection } from '../../wire/connection.ts';
import { type Context, print, printJson, untilClosed, withConnection } from '../context.ts';
import { table } from '../output.ts';

interface StatsFlags {
  readonly stream: boolean;
  readonly json?: true;
}

export function addStatsCommand(program: Command, context: () => Context): void {
  program
    .command('stats')
    .description('cpu, memory and processes of running containers')
    .argument('[containers...]')
    .option('--no-stream', 'one reading')
    .option('--json', 'as JSON, a line for each reading')
    .action(async (containers: string[], flags: StatsFlags) => {
      await withConnection(context(), (connection) => stats(connection, containers, flags));
    });
}

async function stats(connection: Connection, containers: string[], flags: StatsFlags): Promise<void> {
  const wanted = new Set<string>();
  for (const container of containers) wanted.add(await runningId(connection, container));
  if (!flags.stream) {
    const { samples } = await connection.request('stats.read', { containers: containers.length === 0 ? undefined : containers });
    await show(connection, samples, flags, false);
    return;
  }
  connection.onEvent((event, params) => {
    if (event !== 'stats.sampled') return;
    const { samples } = params as EventParams<'stats.sampled'>; // of this event
    const chosen = wanted.size === 0 ? samples : samples.filter(({ id }) => wanted.has(id));
    show(connection, chosen, flags, process.stdout.isTTY).catch(() => {}); // the connection has closed; see below
  });
  await connection.request('stats.subscribe', {});
  await untilClosed(connection);
}

async function runningId(connection: Connection, container: string): Promise<string> {
  const { id, name, state } = await connection.request('container.inspect', { container });
  if (state.kind !== 'running') throw new StrataError('CONTAINER_NOT_RUNNING', `container "${name}" does not run: it has no figures`);
  return id;
}

async function show(connection: Connection, samples: readonly Stats[], flags: StatsFlags, redraw: boolean): Promise<void> {
  if (flags.json === true) {
    printJson(samples);
    return;
  }
  const { containers } = await connection.request('container.list', { all: false });
  const names = new Map<string, ContainerSummary>(containers.map((container) => [container.id, container]));
  const rows = samples.map((sample) => [
    sample.id.slice(0, 12),
    names.get(sample.id)?.name ?? '-',
    sample.cpuPercent === null ? '-' : `${sample.cpuPercent.toFixed(1)} %`,
    sample.throttledPercent === null ? '-' : `${sample.throttledPercent.toFixed(0)} %`,
    `${formatBytes(sample.memoryBytes)} / ${sample.memoryLimitBytes === null ? '-' : formatBytes(sample.memoryLimitBytes)}`,
    `${sample.pids} / ${sample.pidsLimit ?? '-'}`,
    `${formatBytes(sample.ioReadBytes)} / ${formatBytes(sample.ioWriteBytes)}`,
  ]);
  const text = table(['CONTAINER ID', 'NAME', 'CPU', 'THROTTLED', 'MEMORY / LIMIT', 'PIDS / LIMIT', 'READ / WRITTEN'], rows);
  // Home, and clear what was below: less flicker than clearing first.
  print(redraw ? `\u001b[H${text.replaceAll('\n', '\u001b[K\n')}\u001b[J` : text);
}
