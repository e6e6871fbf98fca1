import { createInterface } from 'node:readline/promises';
import { isatty } from 'node:tty';
import type { Command } from 'commander';
import { formatBytes, type MethodResult } from '../../protocol/index.ts';
import { type Context, print, printJson, withConnection } from '../context.ts';
import { parseMoment, UsageError } from '../values.ts';

interface PruneFlags {
  readonly all?: true;
  readonly until?: string;
  readonly label: readonly string[];
  readonly force?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

/** `strata image prune`. */
export function addImagePrune(image: Command, context: () => Context): void {
  image
    .command('prune')
    .description('remove images that no container uses')
    .option('-a, --all', 'those that have names, too')
    .option('--until <time>', 'only those made before: a date, or a time that has passed, such as 24h')
    .option('--label <label>', 'only those with this label: KEY or KEY=VALUE; may be given more than once', collect, [])
    .option('-f, --force', 'do not ask')
    .option('--dry-run', 'only say what would go')
    .option('--json', 'as JSON')
    .action(async (flags: PruneFlags) => {
      const asked = {
        all: flags.all,
        untilMs: flags.until === undefined ? undefined : parseMoment('--until', flags.until, Date.now()),
        labels: [...flags.label],
      };
      await withConnection(context(), async (connection) => {
        const result = await connection.request('image.prune', { ...asked, dryRun: true });
        const goOn = flags.dryRun !== true && result.removed.length > 0 && (flags.force === true || (await confirmed(result)));
        const done = goOn ? await connection.request('image.prune', asked) : result;
        if (flags.json === true) printJson(done);
        else print(pruneText(done, goOn ? 'done' : 'planned'));
      });
    });
}

type Pruned = MethodResult<'image.prune'>;

function pruneText({ untagged, removed, reclaimedBytes }: Pruned, when: 'done' | 'planned'): string {
  if (removed.length === 0) return 'Nothing to remove.\n';
  const [untag, remove, free] = when === 'done' ? ['Untagged', 'Removed', 'Freed'] : ['Would untag', 'Would remove', 'Would free'];
  return [
    ...untagged.map((name) => `${untag}: ${name}`),
    ...removed.map((id) => `${remove}: ${id}`),
    `${free}: ${formatBytes(reclaimedBytes)}`,
  ]
    .map((line) => `${line}\n`)
    .join('');
}

async function confirmed({ removed, untagged, reclaimedBytes }: Pruned): Promise<boolean> {
  if (!isatty(0) || !isatty(2)) throw new UsageError('this removes images: say --force, or --dry-run to see which');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const names = untagged.length === 0 ? '' : ` (${untagged.join(', ')})`;
    const answer = await lines.question(`Remove ${removed.length} images${names} and free ${formatBytes(reclaimedBytes)}? [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    lines.close();
  }
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}
