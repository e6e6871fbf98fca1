import { isatty } from 'node:tty';
import type { Command } from 'commander';
import { writeWhole } from '../../archive/writeWhole.ts';
import type { Change, ChangeDetail } from '../../protocol/index.ts';
import { ContainerArchive } from '../../wire/containerArchive.ts';
import { refuseTerminal, toStdout } from '../archiveStreams.ts';
import { type Context, print, withConnection } from '../context.ts';
import { plainText } from '../output.ts';
import { UsageError } from '../values.ts';

interface DiffFlags {
  readonly detail?: true;
  readonly json?: true;
  readonly tar?: string;
}

export function addDiffCommand(program: Command, context: () => Context): void {
  program
    .command('diff')
    .description('what a container added (A), changed (C) and deleted (D) in its root file system')
    .argument('<container>')
    .option('--detail', 'compare content: a word for each change, and in what it differs; what was only copied up, too')
    .option('--json', 'a line of JSON for each, with kind and size')
    .option('--tar <file>', "the changes themselves, as a layer's tar, to a file or, as -, to the standard output")
    .action(async (container: string, flags: DiffFlags) => {
      if (flags.tar !== undefined) {
        if (flags.detail === true || flags.json === true) throw new UsageError('--tar goes without --detail and --json');
        await exportChanges(context(), container, flags.tar);
        return;
      }
      const details = flags.detail === true;
      await withConnection(context(), async (connection) => {
        for await (const change of new ContainerArchive(connection, container).changes({ details })) {
          if (flags.json === true) print(`${JSON.stringify(change)}\n`);
          // What is in a directory tells that it was changed.
          else if (change.detail !== 'contains') print(changeLine(change));
        }
      });
    });
}

async function exportChanges(context: Context, container: string, file: string): Promise<void> {
  if (file === '-') refuseTerminal('--tar FILE');
  await withConnection(context, async (connection) => {
    const bytes = await new ContainerArchive(connection, container).exportChanges();
    await (file === '-' ? toStdout(bytes) : writeWhole(bytes, file));
  });
}

export const detailWords: Readonly<Record<ChangeDetail, string>> = {
  added: 'added',
  modified: 'modified',
  metadata: 'metadata',
  typeChanged: 'type changed',
  deleted: 'deleted',
  copiedUp: 'copied up',
  contains: 'contains changes',
};

/** "A /x", or with details "metadata      /x (mode, owner)". Names are the container's: what would steer a terminal is shown as "?". */
function changeLine(change: Change): string {
  const path = isatty(1) ? plainText(change.path, 4096) : change.path;
  if (change.detail === undefined) return `${change.change} ${path}\n`;
  const remark = remarkOn(change);
  return `${detailWords[change.detail].padEnd(13)} ${path}${remark === undefined ? '' : ` (${remark})`}\n`;
}

function remarkOn({ detail, kind, below, differs, movedFrom }: Change): string | undefined {
  if (movedFrom !== undefined) return `moved from ${plainText(movedFrom, 4096)}`;
  if (detail === 'typeChanged' && below !== undefined) return `${below.kind}, now ${kind}`;
  if (detail === 'metadata') return (differs ?? []).join(', ');
  return undefined;
}
