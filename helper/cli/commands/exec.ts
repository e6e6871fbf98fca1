import type { Command } from 'commander';
import { type Params, shellStatus } from '../../protocol/index.ts';
import type { Connection } from '../../wire/connection.ts';
import { type Context, forEach, print, printJson, terminalSize, withConnection } from '../context.ts';
import { collect, environmentOf } from '../createOptions.ts';
import { Exits } from '../exits.ts';
import { runForeground } from '../foreground.ts';
import { ago, commandText, plainText, table } from '../output.ts';

/** Commands around what runs in a container beside its main process. */
export function addExecCommands(program: Command, context: () => Context): void {
  addExec(program, context);
  addExecs(program, context);
  addKillExec(program, context);
}

interface ExecFlags {
  readonly detach?: true;
  readonly interactive?: true;
  readonly tty?: true;
  readonly env?: string[];
  readonly envFile?: string[];
  readonly user?: string;
  readonly workdir?: string;
}

function addExec(program: Command, context: () => Context): void {
  program
    .command('exec')
    .description('run another command in a running container')
    .argument('<container>')
    .argument('<command...>')
    .option('-d, --detach', 'do not wait for it: print the id of its session')
    .option('-i, --interactive', 'send it what you type')
    .option('-t, --tty', 'give it a terminal')
    .option('-e, --env <entry>', 'NAME=value, or NAME to pass on your own', collect)
    .option('--env-file <file>', 'a file with such entries', collect)
    .option('-u, --user <user>', 'name|uid[:group|gid]')
    .option('-w, --workdir <path>', 'working directory')
    .passThroughOptions()
    .action(async (container: string, command: string[], flags: ExecFlags) => {
      const env = await environmentOf(flags);
      const asked = {
        ...{ container, command, env, user: flags.user, workingDirectory: flags.workdir },
        ...(flags.tty === true ? { tty: true, size: terminalSize() } : {}),
      };
      await withConnection(context(), async (connection) => {
        if (flags.detach === true) print(`${(await connection.request('container.exec', { ...asked, detach: true })).exec}\n`);
        else await exec(connection, { ...asked, stdin: flags.interactive ?? false });
      });
    });
}

async function exec(connection: Connection, params: Params<'container.exec'>): Promise<void> {
  const exits = new Exits(connection);
  const { container, stdin = false, tty = false } = params;
  const { exec: session, stream } = await connection.request('container.exec', params);
  if (stream === undefined) return;
  await runForeground({
    connection,
    stream: connection.stream(stream),
    stdin,
    tty,
    // Its stream's close would hang the session up, so it cannot be left running.
    detachKeys: 'none',
    resize: (size) => connection.request('container.resize', { container, exec: session, size }),
  });
  process.exitCode = shellStatus(await exits.ofExec(session));
}

function addExecs(program: Command, context: () => Context): void {
  program
    .command('execs')
    .description('list the exec sessions that run')
    .argument('[container]')
    .option('-q, --quiet', 'ids only')
    .option('--no-trunc', 'whole commands')
    .option('--json', 'as JSON')
    .action(async (container: string | undefined, flags: { quiet?: true; trunc: boolean; json?: true }) => {
      const { sessions } = await withConnection(context(), (connection) => connection.request('exec.list', { container }));
      if (flags.json === true) printJson(sessions);
      else if (flags.quiet === true) print(sessions.map(({ id }) => `${id}\n`).join(''));
      else {
        const now = Date.now();
        const rows = sessions.map((session) => [
          session.id,
          session.containerName,
          String(session.pid),
          plainText(session.user, 20),
          commandText(session.command, flags.trunc ? 30 : Infinity),
          ago(session.startedAt, now),
          session.detached ? 'no' : 'yes',
        ]);
        print(table(['EXEC ID', 'CONTAINER', 'HOST PID', 'USER', 'COMMAND', 'STARTED', 'ATTACHED'], rows));
      }
    });
}

function addKillExec(program: Command, context: () => Context): void {
  program
    .command('kill-exec')
    .description('send exec sessions a signal')
    .argument('<sessions...>')
    .option('-s, --signal <signal>', 'which', 'SIGKILL')
    .option('--json', 'as JSON')
    .action(async (sessions: string[], flags: { signal: string; json?: true }) => {
      await forEach(context(), sessions, {
        json: flags.json,
        act: async (connection, session) => ({
          ...(await connection.request('exec.kill', { session, signal: flags.signal })),
          signal: flags.signal,
        }),
        lines: ({ exec: id }) => [id],
      });
    });
}
