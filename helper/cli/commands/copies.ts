import { isatty } from 'node:tty';
import type { Command } from 'commander';
import { type CopyOptions, copyIn, copyOut, putArchive } from '../../archive/copies.ts';
import { writeWhole } from '../../archive/writeWhole.ts';
import { formatBytes } from '../../protocol/index.ts';
import { ContainerArchive } from '../../wire/containerArchive.ts';
import { refuseTerminal, stdinBytes, toStdout } from '../archiveStreams.ts';
import { type Context, withConnection } from '../context.ts';
import { plainText } from '../output.ts';
import { UsageError } from '../values.ts';

export function addCopyCommands(program: Command, context: () => Context): void {
  addCp(program, context);
  program
    .command('export')
    .description("a tar of a container's whole root file system, running or not")
    .argument('<container>')
    .option('-o, --output <file>', 'to a file instead of the standard output')
    .action(async (container: string, flags: { output?: string }) => {
      if (flags.output === undefined) refuseTerminal('-o FILE');
      await withConnection(context(), async (connection) => {
        const bytes = await new ContainerArchive(connection, container).export();
        await (flags.output === undefined ? toStdout(bytes) : writeWhole(bytes, flags.output));
      });
    });
}

interface CopyFlags {
  readonly archive?: true;
  readonly followLink?: true;
  readonly quiet?: true;
}

function addCp(program: Command, context: () => Context): void {
  program
    .command('cp')
    .description('copy files between a container, running or not, and this host; - is a tar on the standard input or output')
    .argument('<source>', 'CONTAINER:PATH, a path of this host, or -')
    .argument('<destination>', 'the same')
    .option('-a, --archive', 'keep owner and group (else what is copied in belongs to root, what is copied out to you)')
    .option('-L, --follow-link', 'copy what a link leads to, not the link')
    .option('-q, --quiet', 'without a word about how far it is')
    .action(async (source: string, destination: string, flags: CopyFlags) => {
      const [from, to] = [parseEnd(source), parseEnd(destination)];
      if ((from.container === undefined) === (to.container === undefined)) {
        throw new UsageError(
          from.container === undefined
            ? 'one of the two must be CONTAINER:PATH'
            : `between containers it goes by way of a tar: strata cp ${source} - | strata cp - ${destination}`,
        );
      }
      const progress = new Progress(flags.quiet === true);
      const options: CopyOptions = {
        follow: flags.followLink,
        keepOwners: flags.archive,
        progress: (bytes) => progress.show(bytes),
        skipped: (path) => progress.say(`strata: warning: ${path} is left out: it is no file, directory or link`),
      };
      await withConnection(context(), async (connection) => {
        const container = new ContainerArchive(connection, from.container ?? to.container ?? '');
        if (to.container !== undefined) {
          const { bytes, leftOut } = await (from.path === '-'
            ? putArchive(container, stdinBytes(), to.path, options)
            : copyIn(container, from.path, to.path, options));
          if (leftOut > 0) progress.say(`strata: warning: ${leftOut} device nodes are left out: the container cannot have them`);
          progress.end(bytes, destination);
        } else if (to.path === '-') {
          refuseTerminal('a file name');
          await toStdout(await container.get(from.path, flags.followLink === true));
        } else {
          progress.end((await copyOut(container, from.path, to.path, options)).bytes, destination);
        }
      });
    });
}

interface End {
  /** Absent: this host. */
  readonly container?: string;
  readonly path: string;
}

/** As Docker reads it: a path with a colon is one of this host where it is absolute, or starts with a dot. Pure. */
export function parseEnd(text: string): End {
  const colon = text.indexOf(':');
  if (text === '-' || colon === -1 || /^[./]/.test(text)) return { path: text };
  const [container, path] = [text.slice(0, colon), text.slice(colon + 1)];
  if (container === '' || path === '') throw new UsageError(`"${text}" is not CONTAINER:PATH`);
  // A container has no working directory for others: its paths start at its root.
  return { container, path: path.startsWith('/') ? path : `/${path}` };
}

const stepMs = 200;

/** How much was copied, on a terminal. */
class Progress {
  readonly #shows: boolean;
  readonly #quiet: boolean;
  #shownAt = 0;
  #hasLine = false;

  constructor(quiet: boolean) {
    this.#quiet = quiet;
    this.#shows = !quiet && isatty(2);
  }

  show(bytes: number): void {
    if (!this.#shows || performance.now() - this.#shownAt < stepMs) return;
    this.#shownAt = performance.now();
    this.#hasLine = true;
    process.stderr.write(`\r\u001b[K${formatBytes(bytes)}`);
  }

  say(line: string): void {
    this.#clear();
    process.stderr.write(`${plainText(line, 4096)}\n`);
  }

  /** `bytes`: of the files. */
  end(bytes: number, destination: string): void {
    this.#clear();
    if (!this.#quiet) process.stderr.write(`Copied ${formatBytes(bytes)} to ${destination}\n`);
  }

  #clear(): void {
    if (this.#hasLine) process.stderr.write('\r\u001b[K');
    this.#hasLine = false;
  }
}
