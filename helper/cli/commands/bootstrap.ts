import { type Command, Option } from 'commander';
import { bootstrapVariants, type EventParams } from '../../protocol/index.ts';
import { type Context, print, printJson, withConnection } from '../context.ts';

interface BootstrapFlags {
  readonly suite: string;
  readonly variant: (typeof bootstrapVariants)[number];
  readonly mirror?: string;
  readonly include?: string;
  readonly quiet?: true;
  readonly json?: true;
}

export function addBootstrapCommand(program: Command, context: () => Context): void {
  program
    .command('bootstrap')
    .description('make an image of a fresh Debian, or its like, with the mmdebstrap or debootstrap of the host')
    .argument('<name>', 'of the image')
    .requiredOption('--suite <suite>', 'such as bookworm')
    .addOption(new Option('--variant <variant>', 'how much of it').choices(bootstrapVariants).default('minbase'))
    .option('--mirror <address>', 'such as http://deb.debian.org/debian; else the one that the program knows')
    .option('--include <packages>', 'more packages, with commas between')
    .option('-q, --quiet', 'without what the program says')
    .option('--json', 'as JSON')
    .action(async (reference: string, flags: BootstrapFlags) => {
      const { suite, variant, mirror } = flags;
      const image = await withConnection(context(), async (connection) => {
        const stop = connection.onEvent((event, params) => {
          if (event !== 'image.bootstrapping' || flags.quiet === true) return;
          process.stderr.write(`${(params as EventParams<'image.bootstrapping'>).line}\n`); // of this event
        });
        try {
          const include = flags.include?.split(',');
          return (await connection.request('image.bootstrap', { reference, suite, variant, mirror, include, progress: 1 })).image;
        } finally {
          stop();
        }
      });
      if (flags.json === true) printJson(image);
      else print(`${image.id}\n`);
    });
}
