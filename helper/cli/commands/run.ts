import { type Command, Option } from 'commander';
import { type CreateOptions, StrataError, shellStatus, type TerminalSize } from '../../protocol/index.ts';
import type { Connection } from '../../wire/connection.ts';
import { type Context, forEach, print, printJson, printWarnings, terminalSize, withConnection } from '../context.ts';
import { addCreateFlags, type CreateFlags, createOptionsOf } from '../createOptions.ts';
import { parseDetachKeys } from '../detachKeys.ts';
import { Exits } from '../exits.ts';
import { type ForegroundOptions, runForeground } from '../foreground.ts';
import { type PullPolicy, withImage } from '../transfers.ts';
import { UsageError } from '../values.ts';

/** Commands that a person or script waits in: they end with the status of what they ran. */
export function addRunCommands(program: Command, context: () => Context): void {
  addCreateFlags(program.command('run'))
    .description('make a container and run it')
    .argument('<image>')
    .argument('[command...]')
    .option('-d, --detach', 'do not wait for it: print its id')
    .option('--json', 'with --detach: what was started, as JSON')
    .addOption(detachKeysOption())
    .passThroughOptions()
    .action(async (image: string, command: string[], flags: CreateFlags & JoinFlags & { detach?: true; json?: true }) => {
      if (flags.json === true && flags.detach !== true) throw new UsageError("--json is for --detach: the output is the container's own");
      const options = await createOptionsOf(image, command, flags);
      const joining = context();
      await withConnection(joining, (connection) =>
        withImage(connection, image, pullOf(flags), () =>
          flags.detach === true ? runDetached(connection, options, flags.json) : run(joining, connection, options, flags.detachKeys),
        ),
      );
    });
  addCreateFlags(program.command('create'))
    .description('make a container without starting it')
    .argument('<image>')
    .argument('[command...]')
    .option('--json', 'what was made, as JSON')
    .passThroughOptions()
    .action(async (image: string, command: string[], flags: CreateFlags & { json?: true }) => {
      const options = await createOptionsOf(image, command, flags);
      await withConnection(context(), async (connection) => {
        const created = await withImage(connection, image, pullOf(flags), () => connection.request('container.create', { options }));
        printWarnings(created.warnings);
        if (flags.json === true) printJson(created);
        else print(`${created.id}\n`);
      });
    });
  addStart(program, context);
  addAttach(program, context);
}

function pullOf({ pull, quiet }: CreateFlags): { policy: PullPolicy; quiet: true | undefined } {
  return { policy: pull ?? 'missing', quiet };
}

interface JoinFlags {
  readonly detachKeys?: readonly number[];
}

function detachKeysOption(): Option {
  return new Option('--detach-keys <keys>', 'what leaves it running, such as ctrl-p,ctrl-q (the usual)').argParser(parseDetachKeys);
}

async function runDetached(connection: Connection, options: CreateOptions, json: true | undefined): Promise<void> {
  const started = await connection.request('container.run', { options });
  printWarnings(started.warnings);
  if (json === true) printJson(started);
  else print(`${started.id}\n`);
}

async function run(context: Context, connection: Connection, options: CreateOptions, detachKeys: JoinFlags['detachKeys']): Promise<void> {
  const exits = new Exits(connection);
  const tty = options.tty ?? false;
  const started = await connection.request('container.run', { options, attach: true, ...(tty ? { size: terminalSize() } : {}) });
  printWarnings(started.warnings);
  const joined = { stream: started.stream, tty, stdin: options.openStdin ?? false, detachKeys };
  await follow(connection, exits, started.id, { ...joined, abandon: abandonment(context, connection, started.id, options.autoRemove) });
}

/** Who started a container in the foreground and reads no more has ended it: nobody would know of it. */
function abandonment(
  context: Context,
  connection: Connection,
  container: string,
  autoRemove: boolean | undefined,
): NonNullable<Joined['abandon']> {
  return {
    loss: context.outputLoss,
    // One that removes itself has nothing to put in order.
    step: () =>
      autoRemove === true ? connection.request('container.kill', { container }) : connection.request('container.stop', { container }),
  };
}

interface Joined extends Pick<ForegroundOptions, 'tty' | 'stdin' | 'detachKeys' | 'abandon'> {
  readonly stream: number | undefined;
}

async function follow(connection: Connection, exits: Exits, container: string, joined: Joined): Promise<void> {
  const { stream } = joined;
  if (stream === undefined) return;
  const outcome = await runForeground({
    ...joined,
    connection,
    stream: connection.stream(stream),
    resize: (size) => connection.request('container.resize', { container, stream, size }),
    forward: (signal) => connection.request('container.kill', { container, signal }),
  });
  if (outcome === 'detached') {
    process.stderr.write('\r\n');
    return;
  }
  const exit = await exits.ofContainer(container);
  // Who ran out of memory shall not have to guess.
  if (exit.oomKilled) process.stderr.write(`strata: ${exit.reason}\n`);
  process.exitCode = shellStatus(exit);
}

interface StartFlags extends JoinFlags {
  readonly attach?: true;
  readonly interactive?: true;
  readonly json?: true;
}

function addStart(program: Command, context: () => Context): void {
  program
    .command('start')
    .description('start containers that do not run')
    .argument('<containers...>')
    .option('-a, --attach', 'show its output and wait for its end')
    .option('-i, --interactive', 'send it what you type, too')
    .option('--json', 'what runs now, as JSON')
    .addOption(detachKeysOption())
    .action(async (containers: string[], flags: StartFlags) => {
      if (flags.attach === true || flags.interactive === true) await startAttached(context(), containers, flags);
      else await forEach(context(), containers, { json: flags.json, act: startOne });
    });
}

/** What runs already is as asked for, as with Docker. */
async function startOne(connection: Connection, container: string): Promise<{ container: string; pid: number | null }> {
  try {
    return { container, pid: (await connection.request('container.start', { container })).pid };
  } catch (error) {
    if (!(error instanceof StrataError) || error.code !== 'CONTAINER_RUNNING') throw error;
    const { state } = await connection.request('container.inspect', { container });
    return { container, pid: state.kind === 'running' ? state.pid : null };
  }
}

async function startAttached(context: Context, containers: readonly string[], flags: StartFlags): Promise<void> {
  const [container, second] = containers;
  if (container === undefined || second !== undefined)
    throw new UsageError('only one container can be started with --attach or --interactive');
  if (flags.json === true) throw new UsageError("--json is not for --attach: the output is the container's own");
  await withConnection(context, async (connection) => {
    const exits = new Exits(connection);
    const { id, tty, state, autoRemove } = await connection.request('container.inspect', { container });
    const joined = { tty, stdin: flags.interactive ?? false, detachKeys: flags.detachKeys };
    if (state.kind === 'running') {
      // Somebody else started it: it is joined, and not ended with this command.
      await connection.request('events.subscribe', {});
      const { stream } = await connection.request('container.attach', { container: id, stdin: joined.stdin, size: joiningSize() });
      await follow(connection, exits, id, { ...joined, stream });
      return;
    }
    const { stream } = await connection.request('container.start', {
      container: id,
      attach: true,
      stdin: joined.stdin,
      ...(tty ? { size: terminalSize() } : {}),
    });
    await follow(connection, exits, id, { ...joined, stream, abandon: abandonment(context, connection, id, autoRemove) });
  });
}

/** Others may look at that terminal already: who joins without one has no say in its size. */
function joiningSize(): TerminalSize | undefined {
  return process.stdout.isTTY ? terminalSize() : undefined;
}

function addAttach(program: Command, context: () => Context): void {
  program
    .command('attach')
    .description('join a running container (leave with ctrl-p ctrl-q)')
    .argument('<container>')
    .option('--no-stdin', 'send it nothing')
    .addOption(detachKeysOption())
    .action(async (reference: string, flags: JoinFlags & { stdin: boolean }) => {
      await withConnection(context(), async (connection) => {
        const exits = new Exits(connection);
        const { id, openStdin } = await connection.request('container.inspect', { container: reference });
        await connection.request('events.subscribe', {});
        const stdin = flags.stdin && openStdin;
        const { stream, tty } = await connection.request('container.attach', { container: id, stdin, size: joiningSize() });
        await follow(connection, exits, id, { stream, tty, stdin, detachKeys: flags.detachKeys });
      });
    });
}
