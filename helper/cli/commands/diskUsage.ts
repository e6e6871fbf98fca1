import type { Command } from 'commander';
import { formatBytes, type MethodResult } from '../../protocol/index.ts';
import { type Context, print, printJson, withConnection } from '../context.ts';
import { table } from '../output.ts';

/** `strata system df`. */
export function addDiskUsage(system: Command, context: () => Context): void {
  system
    .command('df')
    .description('what images and containers take of the disk')
    .option('-v, --verbose', 'each image and container')
    .option('--json', 'as JSON')
    .action(async (flags: { verbose?: true; json?: true }) => {
      const usage = await withConnection(context(), (connection) => connection.request('host.diskUsage', {}));
      if (flags.json === true) printJson(usage);
      else print(flags.verbose === true ? `${totals(usage)}\n${images(usage)}\n${containers(usage)}` : totals(usage));
    });
}

type Usage = MethodResult<'host.diskUsage'>;

function totals({ images: all, containers: every, layers, blobs }: Usage): string {
  const upper = (of: Usage['containers']): number => of.reduce((sum, { upperBytes, logBytes }) => sum + (upperBytes ?? 0) + logBytes, 0);
  const used = all.filter((image) => image.containers.length > 0).length;
  const running = every.filter((container) => container.running);
  return table(
    ['TYPE', 'TOTAL', 'ACTIVE', 'SIZE', 'RECLAIMABLE'],
    [
      ['Images', String(all.length), String(used), formatBytes(layers.sizeBytes), formatBytes(layers.reclaimableBytes)],
      ['Blobs of images', String(blobs.count), '-', formatBytes(blobs.sizeBytes), formatBytes(blobs.reclaimableBytes)],
      [
        'Containers',
        String(every.length),
        String(running.length),
        formatBytes(upper(every)),
        formatBytes(upper(every.filter((container) => !container.running))),
      ],
    ],
  );
}

function images({ images: all }: Usage): string {
  return table(
    ['IMAGE', 'SIZE', 'SHARED', 'UNIQUE', 'BLOBS', 'CONTAINERS'],
    all.map(({ id, references, sizeBytes, sharedBytes, uniqueBytes, blobBytes, containers: users }) => [
      references[0] ?? id.slice('sha256:'.length, 'sha256:'.length + 12),
      ...[sizeBytes, sharedBytes, uniqueBytes, blobBytes].map(formatBytes),
      String(users.length),
    ]),
  );
}

function containers({ containers: every }: Usage): string {
  return table(
    ['CONTAINER', 'STATE', 'CHANGES', 'LOG'],
    every.map(({ name, running, upperBytes, logBytes }) => [
      name,
      running ? 'running' : 'stopped',
      upperBytes === null ? 'too many to count' : formatBytes(upperBytes),
      formatBytes(logBytes),
    ]),
  );
}
