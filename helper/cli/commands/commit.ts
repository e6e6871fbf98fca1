import type { Command } from 'commander';
import { type Context, print, printJson, withConnection } from '../context.ts';
import { createdTime } from '../createdTime.ts';
import { parseWithin, UsageError } from '../values.ts';

interface CommitFlags {
  readonly change: string[];
  readonly author?: string;
  readonly message?: string;
  readonly created?: string;
  readonly pause: string | boolean;
  readonly json?: true;
}

const repeated = (value: string, previous: string[]): string[] => [...previous, value];

export function addCommitCommand(program: Command, context: () => Context): void {
  program
    .command('commit')
    .description('an image of a container: its image, and what it changed as one layer more')
    .argument('<container>')
    .argument('[name]', 'of the image; else it is known by its id')
    .option('-c, --change <instruction>', 'as in a Dockerfile, for instance \'CMD ["nginx"]\'; may be given several times', repeated, [])
    .option('-a, --author <author>', 'such as "Ada <ada@example.org>"')
    .option('-m, --message <text>', 'for its history')
    .option('-p, --pause [yes]', 'whether a running container stands still meanwhile; --pause=false: no', true)
    .option('--no-pause', 'the same as --pause=false')
    .option('--created <time>', 'when it is to have been made (RFC 3339, or seconds since 1970; else $SOURCE_DATE_EPOCH, else now)')
    .option('--json', 'as JSON')
    .action(async (container: string, reference: string | undefined, flags: CommitFlags) => {
      const created = createdTime(flags.created, process.env['SOURCE_DATE_EPOCH']);
      const { image } = await withConnection(context(), (connection) =>
        connection.request('container.commit', {
          container,
          reference,
          changes: flags.change,
          author: flags.author,
          message: flags.message,
          created,
          pause: isYes(flags.pause),
        }),
      );
      if (flags.json === true) printJson(image);
      else print(`${image.id}\n`);
    });
}

interface SquashFlags {
  readonly keep?: string;
  readonly message?: string;
  readonly created?: string;
  readonly json?: true;
}

export function addSquashCommand(program: Command, context: () => Context): void {
  program
    .command('squash')
    .description('an image of an image, whose layers become one; the image itself stays')
    .argument('<image>')
    .argument('[name]', 'of the new image; else it is known by its id')
    .option('--keep <layers>', 'how many layers at the bottom stay as they are, for instance those of a base that others share')
    .option('-m, --message <text>', 'for its history')
    .option('--created <time>', 'when it is to have been made (RFC 3339, or seconds since 1970; else $SOURCE_DATE_EPOCH, else now)')
    .option('--json', 'as JSON')
    .action(async (image: string, reference: string | undefined, { keep, message, created, json }: SquashFlags) => {
      const asked = {
        ...{ image, reference, message },
        keep: keep === undefined ? undefined : parseWithin('--keep', keep, { min: 0, max: 1000 }),
        created: createdTime(created, process.env['SOURCE_DATE_EPOCH']),
      };
      const made = (await withConnection(context(), (connection) => connection.request('image.squash', asked))).image;
      if (json === true) printJson(made);
      else print(`${made.id}\n`);
    });
}

function isYes(value: string | boolean): boolean {
  if (typeof value === 'boolean') return value;
  if (/^(true|yes|1|t)$/i.test(value)) return true;
  if (/^(false|no|0|f)$/i.test(value)) return false;
  throw new UsageError(`--pause "${value}" is neither true nor false`);
}
