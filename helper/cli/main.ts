import { Command, CommanderError } from 'commander';
import { StrataError } from '../protocol/index.ts';
import { VERSION } from '../version.ts';
import { addBootstrapCommand } from './commands/bootstrap.ts';
import { addCheckCommand } from './commands/check.ts';
import { addCommitCommand, addSquashCommand } from './commands/commit.ts';
import { addContainerCommands } from './commands/containers.ts';
import { addCopyCommands } from './commands/copies.ts';
import { addDiffCommand } from './commands/diff.ts';
import { addDiskUsage } from './commands/diskUsage.ts';
import { addEventsCommand } from './commands/events.ts';
import { addExecCommands } from './commands/exec.ts';
import { addHostCommands } from './commands/host.ts';
import { addImageArchiveCommands } from './commands/imageArchives.ts';
import { addImageCommands } from './commands/images.ts';
import { addLogs } from './commands/logs.ts';
import { addImagePrune } from './commands/prune.ts';
import { addRunCommands } from './commands/run.ts';
import { addStatsCommand } from './commands/stats.ts';
import { type Context, createContext } from './context.ts';
import { inFlags } from './flagNames.ts';
import { OutputLoss } from './outputLoss.ts';
import { UsageError } from './values.ts';

/** Commands whose status is that of what they ran: a failure of Strata's own needs a number apart, and Docker's is 125. */
const runners = new Set(['run', 'create', 'start', 'exec', 'attach']);
/** Those that answer a question by their status, 0 or 1; as of grep(1) and diff(1), 2 is trouble. */
const judges = new Set(['check', 'image check']);

function createProgram(outputLoss: OutputLoss): Command {
  const program = new Command('strata');
  const context = (): Context => createContext(program.opts<{ socket?: string }>().socket, outputLoss);
  program
    .description('Containers you can look into')
    .version(VERSION, '--version')
    .option('--socket <path>', "the helper's socket (or STRATA_SOCKET)")
    .helpOption('--help')
    .enablePositionalOptions()
    .exitOverride()
    .configureHelp({ showGlobalOptions: true });
  addRunCommands(program, context);
  addExecCommands(program, context);
  addContainerCommands(program, context);
  addCopyCommands(program, context);
  addDiffCommand(program, context);
  addCommitCommand(program, context);
  addSquashCommand(program, context);
  addLogs(program, context);
  addStatsCommand(program, context);
  addImageCommands(program, context);
  addImageArchiveCommands(program, context);
  addBootstrapCommand(program, context);
  addHostCommands(program, context);
  addEventsCommand(program, context);
  addCheckCommand(program, context);
  const image = program.command('image').description('what is rarely done with images');
  addImagePrune(image, context);
  addCheckCommand(image, context);
  addDiskUsage(program.command('system').description('what is done with all that Strata has'), context);
  refine(program, program.name());
  return program;
}

/** Errors and help in one form, at every depth. */
function refine(command: Command, name: string): void {
  command.helpOption('--help').exitOverride();
  command.configureOutput({ outputError: (text, write) => write(usageText(text, name)) });
  for (const child of command.commands) refine(child, `${name} ${child.name()}`);
}

/** Commander's "error: unknown option '--x'" as all our errors look. */
function usageText(text: string, command: string): string {
  return `strata: ${text.replace(/^error: /, '').trimEnd()}\n${seeHelp(command)}\n`;
}

function seeHelp(command: string): string {
  return `See "${command} --help".`;
}

function failureStatus(error: unknown, command: string | undefined): number {
  if (error instanceof StrataError && error.code === 'COMMAND_NOT_FOUND') return 127;
  if (error instanceof StrataError && error.code === 'COMMAND_NOT_EXECUTABLE') return 126;
  if (command !== undefined && judges.has(command)) return 2;
  return command !== undefined && runners.has(command) ? 125 : 1;
}

function report(error: unknown, argv: readonly string[], command: string | undefined): void {
  if (error instanceof UsageError) {
    process.stderr.write(`strata: ${error.message}\n${seeHelp(command === undefined ? 'strata' : `strata ${command}`)}\n`);
  } else if (error instanceof StrataError) process.stderr.write(`strata: ${inFlags(error, argv)}\n${error.hint}\n`);
  else process.stderr.write(`strata: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
}

/** The words that name it: "run", "image prune". */
function commandOf(program: Command, argv: readonly string[]): string | undefined {
  const at = argv.findIndex((word) => program.commands.some((known) => known.name() === word));
  const first = program.commands.find((known) => known.name() === argv[at]);
  if (first === undefined) return undefined;
  const second = first.commands.find((known) => known.name() === argv[at + 1]);
  return second === undefined ? first.name() : `${first.name()} ${second.name()}`;
}

async function main(argv: readonly string[]): Promise<number> {
  const outputLoss = new OutputLoss();
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // Who reads has had enough ("strata logs x | head"): nothing to say, and nobody to say it to.
      if (error.code === 'EPIPE') outputLoss.happened((status) => process.exit(status));
      else process.exit(1);
    });
  }
  const program = createProgram(outputLoss);
  const command = commandOf(program, argv);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    // That ends the process, with a status of its own.
    await outputLoss.handled;
    return Number(process.exitCode ?? 0);
  } catch (error) {
    await outputLoss.handled;
    // Help, the version and usage errors have been printed by commander.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : failureStatus(error, command);
    report(error, argv, command);
    return failureStatus(error, command);
  }
}

main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    report(error, [], undefined);
    process.exit(1);
  },
);
