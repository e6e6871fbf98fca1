import { randomBytes } from 'node:crypto';
import type { EventHub } from '../events/hub.ts';
import { type Attributes, containerSubject, statusAttributes } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import {
  type ExecId,
  type ExecSession,
  type ExecSummary,
  execIdSchema,
  joinCommand,
  type Params,
  SIGNALS,
  StrataError,
  signalOf,
} from '../protocol/index.ts';
import type { ByteStream } from './byteStream.ts';
import { type Container, type RunningExec, shortenedCommand } from './container.ts';
import { type ExecEnd, ExecRelay, execEndOf } from './execRelay.ts';
import { answered, consoleSizeOf, type Launcher, requireRunning } from './launcher.ts';
import type { OciProcess } from './ociConfig.ts';
import { requireUnpaused } from './pauses.ts';
import { mergeEnvironment } from './plan.ts';
import type { ContainerRegistry } from './registry.ts';
import type { SupervisorClient, SupervisorResult } from './supervisorClient.ts';
import { closeOnAbort, connectTo } from './supervisorConnection.ts';

/** Of what an event carries of a command. */
const maxCommandLength = 1024;
/** Of sessions that have ended, so that who comes late learns that it has. */
const rememberedEnds = 512;

/** Of the ids of sessions that are health checks. */
export const healthSessionPrefix = 'health';

type ExecParams = Params<'container.exec'>;
type Listed = SupervisorResult<'sessions'>['sessions'][number];

/**
 * Exec sessions of containers. The supervisors own them; here is what is known of those that run.
 *
 * Invariants: a session is listed from its start until its process has ended, whoever has left it meanwhile; what ends is told
 * once; what nobody waits for any more before it has started does not run on.
 */
export class ContainerExecs {
  readonly #registry: ContainerRegistry;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #ended = new Map<ExecId, ExecEnd>();

  constructor(options: { registry: ContainerRegistry; launcher: Launcher; hub: EventHub; log: Logger }) {
    this.#registry = options.registry;
    this.#hub = options.hub;
    this.#log = options.log;
    options.launcher.afterExec = (container, end) => {
      if (end !== undefined) this.#end(container, end.session, execEndOf(end));
      else for (const { supervisorSession } of [...container.execs.values()]) this.#end(container, supervisorSession, unknownEnd);
    };
  }

  /** Of all containers, or of one; only what runs. */
  list(reference: string | undefined): ExecSummary[] {
    const containers = reference === undefined ? this.#registry.all() : [this.#registry.find(reference)];
    return containers.flatMap((container) =>
      [...container.execs.values()].map(({ session }) => ({
        ...session,
        container: container.id,
        containerName: container.record.name,
      })),
    );
  }

  /** With its streams. The stream's close is what hangs it up. */
  async run(params: ExecParams, stream: ByteStream, onExit: (id: ExecId, end: ExecEnd) => void): Promise<{ exec: ExecId; pid: number }> {
    const tty = params.tty ?? false;
    return await this.#begin(params, stream.signal, async (container, client, id) => {
      // Its close is what hangs it up.
      closeOnAbort(client, stream.signal);
      const relay = new ExecRelay({ client, stream, tty, onEnd: (end) => onExit(id, end) });
      const started = await this.#start(container, client, { id, params, onResult: (session) => relay.begin(session) });
      // Nobody is there any more to read, to type or to hang up.
      if (stream.signal.aborted) throw new StrataError('CANCELLED', 'the client went away');
      relay.takeInput(params.stdin ?? false);
      return { exec: id, pid: started.pid };
    });
  }

  /** Without streams: it goes on whoever leaves. */
  async runDetached(params: ExecParams, signal: AbortSignal): Promise<{ exec: ExecId; pid: number }> {
    return await this.#begin(params, signal, async (container, client, id) => {
      requireFeature(container, client, 'run it detached');
      const started = await this.#start(container, client, { id, params, onResult: () => {} });
      client.close();
      if (!signal.aborted) return { exec: id, pid: started.pid };
      await requireRunning(container).request(
        'signalExec',
        { session: started.session, signal: SIGNALS.SIGKILL, group: true },
        { doing: 'end it again' },
      );
      throw new StrataError('CANCELLED', 'the client went away');
    });
  }

  /** To the session's own process. */
  async kill(reference: string, signal: string | undefined): Promise<ExecId> {
    const { container, running } = this.#find(reference);
    const { id } = running.session;
    const client = requireRunning(container);
    requireFeature(container, client, 'signal it');
    const params = { session: running.supervisorSession, signal: signalOf(signal ?? 'SIGKILL') };
    await answered(container, client.request('signalExec', params, { doing: `signal exec session ${id}` }));
    return id;
  }

  /**
   * What runs in a container that a helper before this one left, and of what was told to run (`told`, ids) what has ended
   * since.
   */
  async recall(container: Container, client: SupervisorClient, told: readonly string[]): Promise<void> {
    if (!client.supports('execSessions')) return;
    try {
      for (const listed of await listSessions(container, client)) {
        if (listed.id.startsWith(healthSessionPrefix)) this.#endCheck(container, client, listed.session);
        else note(container, listed.session, sessionOf(listed));
      }
      await this.#recallEnds(container, client, told);
    } catch (error) {
      this.#log.warn({ err: error, container: container.id }, 'the exec sessions of a container are not known');
    }
  }

  async #recallEnds(container: Container, client: SupervisorClient, told: readonly string[]): Promise<void> {
    const doing = 'ask for exec sessions that have ended';
    const ended = client.supports('execEnds') ? (await answered(container, client.request('endedSessions', {}, { doing }))).sessions : [];
    for (const one of ended) {
      const id = execIdSchema.safeParse(one.id).data;
      if (id !== undefined && !one.id.startsWith(healthSessionPrefix)) this.#remember(id, execEndOf(one));
    }
    for (const execId of told) {
      if ([...container.execs.keys()].some((id) => id === execId)) continue;
      const end = ended.find(({ id }) => id === execId);
      const attributes = end === undefined ? {} : { ...statusAttributes(execEndOf(end)), finishedAt: end.endedAt };
      this.#hub.note(containerSubject(container.summary()), 'exec_die', { execId, ...attributes });
    }
  }

  /** Nobody waits for what a check of an earlier helper says. */
  #endCheck(container: Container, client: SupervisorClient, session: number): void {
    const kill = { session, signal: SIGNALS.SIGKILL, group: true };
    client.request('signalExec', kill, { doing: 'end a health check' }).catch((error: unknown) => {
      this.#log.debug({ err: error, container: container.id }, 'a health check has ended by itself');
    });
  }

  async #begin<T>(
    params: ExecParams,
    signal: AbortSignal,
    run: (container: Container, client: SupervisorClient, id: ExecId) => Promise<T>,
  ): Promise<T> {
    const container = this.#registry.find(params.container);
    requireRunning(container);
    requireUnpaused(container);
    return await container.whileExecStarts(async () => {
      // A connection of its own: who gave up must not find it run later.
      const client = await connectTo(container, signal);
      try {
        return await run(container, client, newExecId());
      } catch (error) {
        client.close();
        throw error;
      }
    });
  }

  async #start(
    container: Container,
    client: SupervisorClient,
    { id, params, onResult }: { id: ExecId; params: ExecParams; onResult: (session: number) => void },
  ): Promise<SupervisorResult<'exec'>> {
    const process = execProcess(container, params);
    const { tty = false, detach = false } = params;
    const consoleSize = tty ? consoleSizeOf(params.size) : undefined;
    const main = requireRunning(container);
    client.onEvent((event) => {
      // The next run counts its sessions from the beginning.
      if (event.event === 'execExited' && container.client === main) this.#end(container, event.session, execEndOf(event));
    });
    return await client.request(
      'exec',
      {
        id,
        process,
        attachStdin: params.stdin ?? false,
        ...(detach ? { detach } : {}),
        ...(consoleSize === undefined ? {} : { consoleSize }),
      },
      {
        doing: `run ${params.command[0] ?? ''} in container "${container.record.name}"`,
        onResult: (result) => {
          note(container, result.session, {
            id,
            command: shortenedCommand(params.command),
            user: process.user.username ?? '0:0',
            tty,
            detached: detach,
            pid: result.pid,
            startedAt: new Date().toISOString(),
          });
          this.#tell(container, id, 'exec_create', { command: joinCommand(params.command).slice(0, maxCommandLength) });
          this.#tell(container, id, 'exec_start');
          void client.closed.then(() => this.#reconcile(container, main, result.session));
          onResult(result.session);
        },
      },
    );
  }

  #tell(container: Container, id: ExecId, action: string, attributes: Attributes = {}): void {
    this.#hub.note(containerSubject(container.summary()), action, { execId: id, ...attributes });
  }

  #end(container: Container, supervisorSession: number, end: ExecEnd): void {
    const found = findSession(container, supervisorSession);
    if (found === undefined) return;
    const { id } = found.session;
    container.execs.delete(id);
    this.#remember(id, end);
    this.#tell(container, id, 'exec_die', statusAttributes(end));
  }

  #remember(id: ExecId, end: ExecEnd): void {
    this.#ended.set(id, end);
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size <= rememberedEnds) break;
      this.#ended.delete(oldest);
    }
  }

  /**
   * Its connection has closed, maybe before it told of the end; and the other connection may have told of that before anybody
   * knew the session. A supervisor that cannot be asked is taken to have ended what it hung up.
   */
  async #reconcile(container: Container, client: SupervisorClient, session: number): Promise<void> {
    const isKnown = (): boolean => container.client === client && findSession(container, session) !== undefined;
    if (client.isClosed || !isKnown()) return;
    try {
      const listed = client.supports('execSessions') ? await listSessions(container, client) : [];
      if (listed.some((one) => one.session === session) || !isKnown()) return;
    } catch (error) {
      this.#log.debug({ err: error, container: container.id }, 'cannot ask whether an exec session has ended');
      return;
    }
    this.#end(container, session, unknownEnd);
  }

  #find(reference: string): { container: Container; running: RunningExec } {
    const found = this.#registry
      .all()
      .flatMap((container) => [...container.execs.values()].map((running) => ({ container, running })))
      .filter(({ running }) => running.session.id.startsWith(reference));
    const [first, second] = found;
    if (second !== undefined) {
      throw new StrataError('INVALID_REQUEST', `"${reference}" is the start of ${found.length} exec session ids`, {
        hint: 'Give more digits.',
      });
    }
    if (first !== undefined) return first;
    const ended = [...this.#ended].find(([id]) => id.startsWith(reference));
    if (ended === undefined) {
      throw new StrataError('EXEC_NOT_FOUND', `there is no exec session "${reference}"`, { details: { exec: reference } });
    }
    const [exec, { code, signal }] = ended;
    throw new StrataError('EXEC_NOT_RUNNING', `the exec session ${exec} has ended`, { details: { exec, code, signal } });
  }
}

const unknownEnd: ExecEnd = { code: null, signal: null };

function note(container: Container, supervisorSession: number, session: ExecSession): void {
  container.execs.set(session.id, { session, supervisorSession });
}

function findSession(container: Container, supervisorSession: number): RunningExec | undefined {
  return [...container.execs.values()].find((running) => running.supervisorSession === supervisorSession);
}

function newExecId(): ExecId {
  return execIdSchema.parse(randomBytes(8).toString('hex'));
}

async function listSessions(container: Container, client: SupervisorClient): Promise<Listed[]> {
  const listed: Listed[] = [];
  for (let more = true; more; ) {
    const after = listed.at(-1)?.session ?? 0;
    const answer = await answered(container, client.request('sessions', { after }, { doing: 'list exec sessions' }));
    listed.push(...answer.sessions);
    more = answer.more;
  }
  return listed;
}

/** One that no helper began has no id that a helper gave. */
function sessionOf({ id, command, user, terminal, detached, pid, startedAt }: Listed): ExecSession {
  return {
    id: execIdSchema.safeParse(id).data ?? newExecId(),
    command: shortenedCommand(command),
    user,
    tty: terminal,
    detached,
    pid,
    startedAt,
  };
}

function requireFeature(container: Container, client: SupervisorClient, doing: string): void {
  if (client.supports('execSessions')) return;
  throw new StrataError(
    'FEATURE_MISSING',
    `cannot ${doing}: container "${container.record.name}" was started by an earlier version of Strata`,
    {
      hint: 'Restart the container; then this version looks after it.',
      details: { container: container.id },
    },
  );
}

/** The container's own process, but for what was asked for. */
export function execProcess(container: Container, params: ExecParams): OciProcess {
  const own = container.plan.config.process;
  const tty = params.tty ?? false;
  const username = params.user ?? own.user.username;
  return {
    ...own,
    terminal: tty,
    args: params.command,
    env: mergeEnvironment(tty ? ['TERM=xterm'] : [], own.env, params.env ?? []),
    cwd: params.workingDirectory ?? own.cwd,
    user: { uid: 0, gid: 0, ...(username === undefined ? {} : { username }) },
  };
}
