import type { EventHub } from '../events/hub.ts';
import { containerSubject } from '../events/subjects.ts';
import type { Image } from '../images/imageStore.ts';
import type { LayerStore } from '../images/layerStore.ts';
import type { Logger } from '../log.ts';
import type { Addon } from '../native/addon.ts';
import { fromSupervisor } from '../native/errors.ts';
import { DEFAULT_LOG_LIMITS, type Exit, StrataError, type TerminalSize } from '../protocol/index.ts';
import { Attachments, type Joining } from './attachments.ts';
import type { ByteStream } from './byteStream.ts';
import type { Container } from './container.ts';
import type { ContainerFiles } from './containerFiles.ts';
import { exitOf } from './exitReason.ts';
import type { ExitRecords } from './exitRecords.ts';
import { LogCursor } from './logs/cursor.ts';
import { endPlace } from './logs/places.ts';
import { LogPump } from './logs/pump.ts';
import { DEFAULT_NAMESPACES } from './ociConfig.ts';
import type { ExitRecord } from './record.ts';
import type { Sandbox, SandboxFactory } from './sandboxes.ts';
import type { SandboxPool } from './sandboxPool.ts';
import type { SeccompPrograms } from './seccomp.ts';
import type { SupervisorClient, SupervisorEvent } from './supervisorClient.ts';
import { supervisorAnswerMs, within } from './waiting.ts';

/** A stream that a client holds to a container. */
export interface Attachment {
  readonly stream: ByteStream;
  readonly size?: TerminalSize | undefined;
  /** False: it sends no input, where the container takes any. */
  readonly stdin?: boolean | undefined;
}

/** `signal`: who asks has given up, and nothing must run. */
export interface StartRequest {
  readonly attachment?: Attachment | undefined;
  readonly signal: AbortSignal;
}

export interface LaunchRequest extends StartRequest {
  readonly image: Image;
}

type BoundSandbox = Pick<Sandbox, 'client' | 'supervisorPid' | 'cgroup'>;

/**
 * What happens after an exit is the service's: removal of those that remove themselves, another start of those whose policy
 * says so. `hasRun`: its command was executed.
 */
export type AfterExit = (container: Container, end: { readonly exit: Exit; readonly hasRun: boolean }) => void;

/** An exec session of it has ended, or (undefined) all that it had. */
export type AfterExec = (container: Container, end: Extract<SupervisorEvent, { event: 'execExited' }> | undefined) => void;

export const lostReason = 'its supervisor ended unexpectedly';

/**
 * Starts containers in sandboxes and notes how they end.
 *
 * Invariants: an exit is noted once, after the start it belongs to was answered; a failed start leaves no process, cgroup
 * or run directory.
 */
export class Launcher {
  readonly #layers: LayerStore;
  readonly #addon: Addon;
  readonly #files: ContainerFiles;
  readonly #exits: ExitRecords;
  readonly #factory: SandboxFactory;
  readonly #pool: SandboxPool;
  readonly #seccomp: SeccompPrograms;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #onRunning: (container: Container) => void;
  readonly #bootId: string;
  #afterExit: AfterExit = () => {};
  #afterExec: AfterExec = () => {};
  #closing = false;
  /** Ends that nobody reported and that are just being noted. */
  readonly #losses = new Map<Container, Promise<void>>();

  constructor(options: {
    layers: LayerStore;
    addon: Addon;
    files: ContainerFiles;
    exits: ExitRecords;
    factory: SandboxFactory;
    pool: SandboxPool;
    seccomp: SeccompPrograms;
    hub: EventHub;
    log: Logger;
    bootId: string;
    /** Something began to run. */
    onRunning: (container: Container) => void;
  }) {
    this.#layers = options.layers;
    this.#addon = options.addon;
    this.#files = options.files;
    this.#exits = options.exits;
    this.#factory = options.factory;
    this.#pool = options.pool;
    this.#seccomp = options.seccomp;
    this.#hub = options.hub;
    this.#log = options.log;
    this.#bootId = options.bootId;
    this.#onRunning = options.onRunning;
  }

  get bootId(): string {
    return this.#bootId;
  }

  set afterExit(afterExit: AfterExit) {
    this.#afterExit = afterExit;
  }

  set afterExec(afterExec: AfterExec) {
    this.#afterExec = afterExec;
  }

  /** A sandbox for the container, whose id is that of a new one when it needs nothing unusual. */
  async sandboxFor(container: Container): Promise<Sandbox> {
    const { linux } = container.plan.config;
    return await this.#factory.make(container.id, {
      namespaces: container.plan.namespaces,
      uidMappings: linux.uidMappings,
      gidMappings: linux.gidMappings,
    });
  }

  isUsual(container: { plan: { namespaces: readonly string[] } }): boolean {
    return container.plan.namespaces.length === DEFAULT_NAMESPACES.length;
  }

  /** Runs the container in the sandbox. Its record says already that it was started. Returns its pid. */
  async launch(container: Container, sandbox: Sandbox, request: LaunchRequest): Promise<number> {
    const settled = Promise.withResolvers<void>();
    container.starting = settled.promise;
    try {
      return await this.#launch(container, sandbox, request);
    } catch (error) {
      await this.#clearFailedStart(container, sandbox);
      throw error;
    } finally {
      container.starting = undefined;
      settled.resolve();
      this.#pool.refill();
    }
  }

  /** Takes over the connection to a supervisor that a helper before this one left running. */
  adopt(container: Container, sandbox: BoundSandbox): void {
    this.#bind(container, sandbox);
    container.followAgain();
  }

  /** Notes an exit that nobody reported: the supervisor is gone. Once, whoever finds it, so that none comes after the next start. */
  noteLost(container: Container, reason: string): Promise<void> {
    const noted = this.#losses.get(container) ?? this.#noteLost(container, reason).finally(() => this.#losses.delete(container));
    this.#losses.set(container, noted);
    return noted;
  }

  async #noteLost(container: Container, reason: string): Promise<void> {
    await this.#addon.destroyCgroup(container.cgroup);
    await this.#files.removeSupervisorsTemporary(container.id);
    this.#noteExit(container, (await this.#readExit(container)) ?? (await this.#writeLost(container, reason)));
  }

  async #writeLost(container: Container, reason: string): Promise<ExitRecord> {
    const record: ExitRecord = {
      code: null,
      signal: null,
      oomKilled: false,
      startedAt: container.state.kind === 'running' ? container.state.startedAt : null,
      finishedAt: new Date().toISOString(),
      reason: container.lostReason ?? reason,
    };
    await this.#exits.keep(container.id, record, { volatile: container.autoRemove });
    return record;
  }

  /** False: nothing was run. A supervisor that came as far as the exec has written how it ended. */
  async noteFailedStart(container: Container): Promise<boolean> {
    const written = await this.#readExit(container);
    if (written !== undefined) this.#noteExit(container, written);
    return written !== undefined;
  }

  /** From now on a connection that closes says nothing about the container: it is this helper that goes. */
  close(): void {
    this.#closing = true;
  }

  async #launch(container: Container, sandbox: Sandbox, { image, attachment, signal }: LaunchRequest): Promise<number> {
    const { plan, record, paths } = container;
    const seccompProgram = plan.usesDefaultSeccomp ? await this.#seccomp.program(plan.capabilities) : undefined;
    const consoleSize = plan.config.process.terminal ? consoleSizeOf(attachment?.size) : undefined;
    const params = {
      config: plan.config,
      overlay: {
        lower: [paths.init, ...(await this.#layers.directories(image.chainIds.toReversed()))],
        upper: paths.upper,
        work: paths.work,
        // What is thrown away with the container needs no sync at unmount.
        volatile: container.autoRemove,
      },
      log: paths.log,
      logMaxBytes: record.options.logMaxSize ?? DEFAULT_LOG_LIMITS.maxSize,
      logMaxFiles: record.options.logMaxFiles ?? DEFAULT_LOG_LIMITS.maxFiles,
      exit: { path: paths.exit, durable: !container.autoRemove },
      openStdin: record.options.openStdin ?? false,
      ...(record.options.init === true ? { init: true } : {}),
      ...(consoleSize === undefined ? {} : { consoleSize }),
      ...(seccompProgram === undefined ? {} : { seccompProgram }),
    };
    const cursor = attachment === undefined ? undefined : await LogCursor.open(paths.log, await endPlace(paths.log));
    if (signal.aborted) {
      await cursor?.close();
      throw new StrataError('CANCELLED', `start ${describe(container)}: cancelled`);
    }
    this.#bind(container, sandbox);
    const { client } = sandbox;
    const running = client.together(() => {
      const answer = client.request('run', params, { doing: `start ${describe(container)}` });
      container.followAgain();
      if (attachment !== undefined && cursor !== undefined) this.#attach(container, attachment, cursor);
      return answer;
    });
    const started = await running.catch((error: unknown) => this.#explain(container, client, error));
    container.state = { kind: 'running', pid: started.pid, startedAt: started.startedAt };
    container.touch();
    this.#files.writeStarted(container.id, { pid: started.pid, startedAt: started.startedAt });
    this.#onRunning(container);
    this.#hub.publish('container.changed', { container: container.summary() }, { action: 'start' });
    return started.pid;
  }

  /**
   * An answer that was lost with its connection is in the record. A supervisor that went without a record had the order:
   * whether anything ran nobody knows, and the end of an earlier run must not stand for it.
   */
  async #explain(container: Container, client: SupervisorClient, error: unknown): Promise<never> {
    if (!client.isClosed) throw error;
    const record = (await this.#readExit(container)) ?? (await this.#writeLost(container, lostReason));
    throw record.error === undefined ? error : fromSupervisor(record.error, `start ${describe(container)}`);
  }

  #attach(container: Container, attachment: Attachment, cursor: LogCursor): void {
    const { stream } = attachment;
    container.addReader(new LogPump({ cursor, stream, logger: this.#log }));
    container.attachments?.join(stream, joiningOf(container, attachment));
  }

  #bind(container: Container, sandbox: BoundSandbox): void {
    const { client } = sandbox;
    container.client = client;
    container.lostReason = undefined;
    container.attachments = new Attachments({
      write: (bytes) => client.writeStdin(0, bytes),
      end: () => client.endStdin(0),
      // It may have ended just now, or its supervisor rest; the next use of a window asks again.
      resize: (size) => void resizeSession(client, 0, size).catch(() => {}),
    });
    container.cgroup = sandbox.cgroup;
    container.supervisorPid = sandbox.supervisorPid;
    client.onEvent((event) => this.#onEvent(container, event));
    void client.closed.then(() => this.#onClosed(container, client));
  }

  #onEvent(container: Container, event: SupervisorEvent): void {
    switch (event.event) {
      case 'logged':
        container.wakeReaders();
        return;
      case 'exited':
        void this.#afterStart(container).then(() => this.#noteExit(container, event.exit));
        return;
      case 'execExited':
        this.#afterExec(container, event);
        return;
      case 'started':
        return;
      default:
        event satisfies never;
    }
  }

  /** The answer to a start goes out before its exit is told. */
  async #afterStart(container: Container): Promise<void> {
    await container.starting;
    await new Promise((resolve) => setImmediate(resolve));
  }

  #noteExit(container: Container, record: ExitRecord): void {
    if (container.state.kind === 'exited' || container.gone) return;
    const exit = exitOf(record, container.record.limits.memoryMaxBytes);
    this.#afterExec(container, undefined);
    container.health?.stop();
    container.state = { kind: 'exited', exit, startedAt: record.startedAt ?? null };
    container.touch();
    if (record.lostLogBytes !== undefined) this.#log.warn({ container: container.id, bytes: record.lostLogBytes }, 'output was lost');
    this.#afterExit(container, { exit, hasRun: record.error === undefined });
    this.#publishExit(container, exit);
  }

  #publishExit(container: Container, exit: Exit): void {
    container.announceExit(exit);
    const summary = container.summary();
    if (exit.oomKilled) this.#hub.note(containerSubject(summary), 'oom');
    this.#hub.publish('container.exited', { id: container.id, exit, container: summary });
  }

  async #onClosed(container: Container, client: SupervisorClient): Promise<void> {
    await this.#afterStart(container);
    // It runs again, under another.
    if (container.client !== undefined && container.client !== client) return;
    container.client = undefined;
    container.supervisorPid = undefined;
    if (this.#closing || container.state.kind !== 'running' || container.gone) return;
    try {
      await this.noteLost(container, lostReason);
    } catch (error) {
      this.#log.error({ err: error, container: container.id }, 'cannot note the end of a container');
    }
  }

  /** The supervisor ends by itself after a start that failed; what does not is ended here. */
  async #clearFailedStart(container: Container, sandbox: Sandbox): Promise<void> {
    try {
      await this.#factory.discard(sandbox);
      await this.#files.removeRun(container.id);
    } catch (error) {
      this.#log.error({ err: error, container: container.id }, 'cannot clear away after a start that failed');
    }
  }

  async #readExit(container: Container): Promise<ExitRecord | undefined> {
    const found = await this.#exits.read(container.id);
    return found === 'damaged' ? undefined : found;
  }
}

/** What a client brings to a container: a window where that has a terminal, input where it takes any. */
export function joiningOf({ record: { options } }: Container, { size, stdin }: Attachment): Joining {
  return { size: options.tty === true ? size : undefined, stdin: options.openStdin === true && stdin !== false };
}

export async function resizeSession(client: SupervisorClient, session: number, size: TerminalSize): Promise<object> {
  return await client.request('resize', { session, columns: size.columns, rows: size.rows }, { doing: 'resize the terminal' });
}

/** Without a size programs in the terminal would see 0 columns. */
export function consoleSizeOf(size: TerminalSize | undefined): TerminalSize {
  return size ?? { columns: 80, rows: 24 };
}

/** A name that was made up a moment ago means nothing to who reads the error. */
function describe({ record }: Container): string {
  return record.options.name === undefined ? `a container of ${record.image}` : `container "${record.name}"`;
}

export function requireRunning(container: Container): SupervisorClient {
  const { client, state, record } = container;
  if (state.kind === 'running' && client !== undefined && !client.isClosed) return client;
  if (state.kind === 'running') throw silent(container);
  throw new StrataError('CONTAINER_NOT_RUNNING', `container "${record.name}" does not run`, {
    details: { container: container.id, state: state.kind },
  });
}

/** What a supervisor answers soon, unless it is silent. */
export async function answered<T extends object>(container: Container, answer: Promise<T>): Promise<T> {
  const result = await within(answer, supervisorAnswerMs);
  if (result === undefined) throw silent(container);
  return result;
}

/** Its supervisor is stopped, or waits for a disk. */
export function silent({ id, record, state }: Container): StrataError {
  return new StrataError('RUNTIME_FAILED', `the supervisor of container "${record.name}" does not answer`, {
    hint: 'Wait for it, or end the container: stop it, or force its removal.',
    details: { container: id, state: state.kind },
  });
}
