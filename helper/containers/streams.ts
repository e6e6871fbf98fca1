import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventHub } from '../events/hub.ts';
import { containerSubject, statusAttributes } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import { fromNative, hasCode } from '../native/errors.ts';
import {
  Channel,
  type ExecId,
  type ExecSession,
  execIdSchema,
  joinCommand,
  type LogPosition,
  type Params,
  StrataError,
  signalName,
  type TerminalSize,
} from '../protocol/index.ts';
import type { ByteStream } from './byteStream.ts';
import type { Container, RunningExec } from './container.ts';
import { type Attachment, connectStdin, consoleSizeOf, requireRunning, silent } from './launcher.ts';
import { advance, findTail, LogFile } from './logFile.ts';
import { LogPump } from './logPump.ts';
import type { OciProcess } from './ociConfig.ts';
import { requireUnpaused } from './pauses.ts';
import { mergeEnvironment } from './plan.ts';
import type { ContainerRegistry } from './registry.ts';
import { SupervisorClient } from './supervisorClient.ts';
import { supervisorAnswerMs, within } from './waiting.ts';

/** While the queue of a supervisor's socket is full. */
const connectAgainMs = 10;

/** Of what an event carries of a command. */
const maxCommandLength = 1024;

export interface ExecEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

/** Output, input and exec sessions of containers, on streams that a client has opened. */
export class ContainerStreams {
  readonly #registry: ContainerRegistry;
  readonly #hub: EventHub;
  readonly #log: Logger;

  constructor(options: { registry: ContainerRegistry; hub: EventHub; log: Logger }) {
    this.#registry = options.registry;
    this.#hub = options.hub;
    this.#log = options.log;
  }

  isTty(reference: string): boolean {
    return this.#registry.find(reference).record.options.tty ?? false;
  }

  async logs(params: Params<'container.logs'>, stream: ByteStream): Promise<LogPosition> {
    const container = this.#registry.find(params.container);
    const { log, from } = await LogFile.openAt(container.paths.log, (opened) => startOf(opened, params, stream.signal));
    // Nothing comes from the client; its credit and its close do.
    stream.consume({ data: () => {} });
    const { sinceMs, timestamps } = params;
    const pump = new LogPump({ log, stream, from, sinceMs, timestamps, logger: this.#log });
    if (params.follow === true && container.state.kind !== 'exited') container.addReader(pump);
    else pump.finish();
    return from;
  }

  async attach(reference: string, { stream, size }: Attachment): Promise<void> {
    const container = this.#registry.find(reference);
    const client = requireRunning(container);
    const { log, from } = await LogFile.openAt(container.paths.log, (opened) => opened.size());
    container.addReader(new LogPump({ log, stream, from: { offset: from, skip: 0 }, logger: this.#log }));
    connectStdin(client, stream, container.record.options.openStdin ?? false);
    this.#noteAttached(container, stream.signal);
    if (size !== undefined && container.record.options.tty === true) await answered(container, resizeSession(client, 0, size));
  }

  /** With its end the container closes the stream, too: that is no leaving. */
  #noteAttached(container: Container, signal: AbortSignal): void {
    const note = (action: string): void => this.#hub.note(containerSubject(container.summary()), action);
    note('attach');
    const onClose = (): void => {
      if (container.state.kind === 'running') note('detach');
    };
    signal.addEventListener('abort', onClose, { once: true });
  }

  async resize(reference: string, exec: ExecId | undefined, size: TerminalSize): Promise<void> {
    const container = this.#registry.find(reference);
    const client = requireRunning(container);
    if (exec === undefined) {
      await answered(container, resizeSession(client, 0, size));
      return;
    }
    const running = container.execs.get(exec);
    // It may have ended while the window was dragged.
    if (running !== undefined) await answered(container, resizeSession(running.client, running.supervisorSession, size));
  }

  /** A connection of its own: its close is what hangs the session up. */
  async exec(
    params: Params<'container.exec'>,
    stream: ByteStream,
    onExit: (id: ExecId, end: ExecEnd) => void,
  ): Promise<{ exec: ExecId; pid: number }> {
    const container = this.#registry.find(params.container);
    requireRunning(container);
    requireUnpaused(container);
    const starting = this.#exec(container, params, { stream, onExit });
    container.execStarts.add(starting);
    try {
      return await starting;
    } finally {
      container.execStarts.delete(starting);
    }
  }

  async #exec(
    container: Container,
    params: Params<'container.exec'>,
    { stream, onExit }: { stream: ByteStream; onExit: (id: ExecId, end: ExecEnd) => void },
  ): Promise<{ exec: ExecId; pid: number }> {
    const client = await connectTo(container, stream.signal);
    // Who gave up must not find it run later: what was not asked for yet is not asked for any more.
    const hangUp = (): void => client.close();
    if (stream.signal.aborted) hangUp();
    stream.signal.addEventListener('abort', hangUp, { once: true });
    const id = execIdSchema.parse(randomBytes(8).toString('hex'));
    const note = (action: string, attributes = {}): void =>
      this.#hub.note(containerSubject(container.summary()), action, { execId: id, ...attributes });
    const onEnd = (end: ExecEnd): void => {
      note('exec_die', statusAttributes(end));
      onExit(id, end);
    };
    const relay = new ExecRelay({ client, stream, tty: params.tty ?? false, onEnd });
    try {
      const consoleSize = params.tty === true ? consoleSizeOf(params.size) : undefined;
      // First and alone: a supervisor that is stopped would take what comes with it for an order when it goes on.
      await answered(container, client.request('hello', { version: 1 }, { doing: 'speak to the supervisor' }));
      const started = await client.request(
        'exec',
        {
          process: execProcess(container, params),
          attachStdin: params.stdin ?? false,
          ...(consoleSize === undefined ? {} : { consoleSize }),
        },
        {
          doing: `run ${params.command[0] ?? ''} in container "${container.record.name}"`,
          onResult: (result) => relay.begin(result.session),
        },
      );
      note('exec_create', { command: joinCommand(params.command).slice(0, maxCommandLength) });
      note('exec_start');
      const session: ExecSession = {
        id,
        command: params.command,
        tty: params.tty ?? false,
        pid: started.pid,
        startedAt: new Date().toISOString(),
      };
      const running: RunningExec = { session, client, supervisorSession: started.session };
      container.execs.set(id, running);
      void client.closed.then(() => container.execs.delete(id));
      // Nobody is there any more to read, to type or to hang up.
      if (stream.signal.aborted) throw new StrataError('CANCELLED', 'the client went away');
      relay.takeInput(params.stdin ?? false);
      return { exec: id, pid: started.pid };
    } catch (error) {
      client.close();
      throw error;
    }
  }
}

/** Between one exec session and one stream. */
class ExecRelay {
  readonly #client: SupervisorClient;
  readonly #stream: ByteStream;
  readonly #open: Set<'stdout' | 'stderr'>;
  readonly #onEnd: (end: ExecEnd) => void;
  readonly #writes = new Set<Promise<void>>();
  #session: number | undefined;
  #ended = false;
  #end: ExecEnd | undefined;

  constructor(options: { client: SupervisorClient; stream: ByteStream; tty: boolean; onEnd: (end: ExecEnd) => void }) {
    this.#client = options.client;
    this.#stream = options.stream;
    this.#onEnd = options.onEnd;
    // A terminal has one output.
    this.#open = new Set(options.tty ? ['stdout'] : ['stdout', 'stderr']);
  }

  begin(session: number): void {
    this.#session = session;
    this.#client.onEvent((event) => {
      if (event.event !== 'execExited' || event.session !== session) return;
      this.#end = { code: event.code, signal: event.signal === null ? null : signalName(event.signal) };
      this.#finishWhenDrained();
    });
    this.#client.openSession(session, {
      output: (channel, bytes) => this.#output(channel, bytes),
      ended: (channel) => {
        this.#open.delete(channel);
        this.#finishWhenDrained();
      },
    });
    // With the container the supervisor goes, maybe before it has told of the end.
    void this.#client.closed.then(() => this.#finish(this.#end ?? { code: null, signal: null }));
  }

  takeInput(stdin: boolean): void {
    const session = this.#session;
    this.#stream.consume({
      data: async (channel, bytes) => {
        if (channel !== Channel.stdin || !stdin || session === undefined) return;
        await this.#client.writeStdin(session, bytes).catch(() => {}); // a process that has ended takes no input
      },
      end: (channel) => {
        if (channel === Channel.stdin && stdin && session !== undefined) this.#client.endStdin(session);
      },
    });
  }

  #output(channel: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void> {
    const write = this.#stream.write(channel === 'stdout' ? Channel.stdout : Channel.stderr, bytes);
    const settled = write.catch(() => {}).finally(() => this.#writes.delete(settled));
    this.#writes.add(settled);
    return write;
  }

  #finishWhenDrained(): void {
    if (this.#end !== undefined && this.#open.size === 0) void this.#finish(this.#end);
  }

  /** The event comes after the last output, and then the close of the stream. */
  async #finish(end: ExecEnd): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    // The answer that names the session goes out first.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all(this.#writes);
    this.#onEnd(end);
    this.#stream.end(Channel.stdout);
    this.#stream.end(Channel.stderr);
    this.#stream.close();
    this.#client.close();
  }
}

function execProcess(container: Container, params: Params<'container.exec'>): OciProcess {
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

async function connectTo(container: Container, signal: AbortSignal): Promise<SupervisorClient> {
  const { name } = container.record;
  try {
    return await connectSoon(container, signal);
  } catch (cause) {
    if (hasCode(cause, 'ENOENT') || hasCode(cause, 'ECONNREFUSED')) {
      throw new StrataError('CONTAINER_NOT_RUNNING', `container "${name}" is just ending`, { cause });
    }
    if (signal.aborted) throw new StrataError('CANCELLED', 'the request was given up');
    throw fromNative(cause, `speak to the supervisor of container "${name}"`);
  }
}

/** EAGAIN: it is there, and the queue of its socket is full, as many who ask at once can make it. */
async function connectSoon(container: Container, signal: AbortSignal): Promise<SupervisorClient> {
  for (const end = performance.now() + supervisorAnswerMs; performance.now() < end; await sleep(connectAgainMs, undefined, { signal })) {
    try {
      return await SupervisorClient.connect(container.paths.socket);
    } catch (error) {
      if (!hasCode(error, 'EAGAIN')) throw error;
    }
  }
  throw silent(container);
}

async function answered<T extends object>(container: Container, answer: Promise<T>): Promise<T> {
  const result = await within(answer, supervisorAnswerMs);
  if (result === undefined) throw silent(container);
  return result;
}

async function resizeSession(client: SupervisorClient, session: number, size: TerminalSize): Promise<object> {
  return await client.request('resize', { session, columns: size.columns, rows: size.rows }, { doing: 'resize the terminal' });
}

function startOf(log: LogFile, { tail, resume }: Params<'container.logs'>, signal: AbortSignal): Promise<LogPosition> {
  if (resume !== undefined) return advance(log, resume.from, resume.receivedBytes, signal);
  return tail === undefined ? Promise.resolve({ offset: 0, skip: 0 }) : findTail(log, tail, signal);
}
