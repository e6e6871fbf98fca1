import { EventEmitter } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type ErrorCode,
  type EventName,
  type EventParams,
  type EventPosition,
  type MethodName,
  type MethodResult,
  type Params,
  StrataError,
} from '../../helper/protocol/index.ts';
import type { Connection, RequestOptions } from '../../helper/wire/connection.ts';
import type { WireStream } from '../../helper/wire/stream.ts';
import { backOffMs, type HelperState, stateAfterFailure } from './helperState.ts';
import { SocketWatch } from './socketWatch.ts';

/** What the client needs of a connection; tests give another. */
export type HelperLink = Pick<Connection, 'request' | 'onEvent' | 'stream' | 'close' | 'closed'>;
export type Connect = (socketPath: string) => Promise<{ readonly connection: HelperLink; readonly hello: MethodResult<'hello'> }>;

type HelperEvent = { [E in EventName]: { readonly kind: 'event'; readonly event: E; readonly params: EventParams<E> } }[EventName];

/**
 * What a model is fed with: a snapshot, then events that are newer. After a reconnect they go on where they ended, or there is
 * another snapshot.
 */
export type HelperMessage =
  | { readonly kind: 'snapshot'; readonly snapshot: MethodResult<'events.subscribe'> }
  | { readonly kind: 'cleared' }
  | HelperEvent;

interface ClientEvents {
  state: [state: HelperState];
  message: [message: HelperMessage];
}

/** So long a helper may take to come back before the views say that it is gone. */
const RESTART_GRACE_MS = 2500;
/** They say that no delta is to be had; UNKNOWN_METHOD: it is an older helper. */
const snapshotInstead: ReadonlySet<string> = new Set(['EVENTS_GONE', 'UNKNOWN_METHOD'] satisfies ErrorCode[]);
/** A connection that lasted so long was a good one; one that is lost sooner each time must not be made in a hot loop. */
const STEADY_MS = 5000;

export interface ClientLog {
  info(message: string): void;
  warn(message: string): void;
}

/**
 * Keeps one connection to the helper for as long as it lives: finds the socket, says hello, takes a snapshot, passes
 * events on, and when the connection ends goes on with another.
 *
 * Invariants: at most one attempt or connection at a time (`#generation` tells late answers from current ones); what was
 * told is whole up to `#position`, by a snapshot and every event since; `cleared` comes before a state that says the helper
 * is away, and after it a snapshot before any event.
 */
export class HelperClient {
  readonly #events = new EventEmitter<ClientEvents>();
  readonly #connect: Connect;
  readonly #log: ClientLog;
  readonly #platform: NodeJS.Platform;
  #socketPath: string;
  #state: HelperState = { kind: 'connecting' };
  #link: HelperLink | undefined;
  #watch: SocketWatch | undefined;
  #timer: NodeJS.Timeout | undefined;
  #generation = 0;
  #attempts = 0;
  /** Connections in a row that were lost before they were steady. */
  #earlyLosses = 0;
  /** By performance.now(), as #lostAtMs: clocks get set while a window is open. */
  #connectedAtMs = 0;
  #lostAtMs = Number.NEGATIVE_INFINITY;
  /** Of what was told last; undefined: nothing that holds. */
  #position: EventPosition | undefined;
  /** Events that wait for a snapshot that was asked for. */
  #waiting: HelperEvent[] | undefined;
  #refreshing: Promise<void> | undefined;
  #isAttempting = false;
  #isDisposed = false;

  constructor(socketPath: string, connect: Connect, log: ClientLog, platform = process.platform) {
    this.#socketPath = socketPath;
    this.#connect = connect;
    this.#log = log;
    this.#platform = platform;
    this.#events.setMaxListeners(0); // one listener a terminal, as many as the user opens
  }

  get state(): HelperState {
    return this.#state;
  }

  get socketPath(): string {
    return this.#socketPath;
  }

  start(): void {
    if (this.#platform !== 'linux') {
      this.#setState({ kind: 'unsupportedHost' });
      return;
    }
    this.#watch = new SocketWatch(this.#socketPath, () => this.#socketChanged());
    this.#attempt();
  }

  dispose(): void {
    this.#isDisposed = true;
    this.#drop();
    this.#events.removeAllListeners();
  }

  /** Leaves the present helper and goes to the one at this path; also a way to try again at once. */
  reconnect(socketPath = this.#socketPath): void {
    if (this.#isDisposed) return;
    this.#drop();
    // What another helper told does not hold for this one, however long it takes to answer.
    if (socketPath !== this.#socketPath) this.#tell({ kind: 'cleared' });
    this.#socketPath = socketPath;
    this.#attempts = 0;
    this.#earlyLosses = 0;
    this.#lostAtMs = Number.NEGATIVE_INFINITY;
    this.#setState({ kind: 'connecting' });
    this.start();
  }

  /** Asks the helper for everything again, as after a connect. */
  async refresh(): Promise<void> {
    const link = this.#link;
    const generation = this.#generation;
    if (link === undefined) throw this.#awayError();
    this.#refreshing ??= this.#takeSnapshot(link, generation).finally(() => {
      if (generation !== this.#generation) return;
      this.#refreshing = undefined;
      // Without a snapshot they follow the one before.
      this.#passOnWaiting();
    });
    await this.#refreshing;
  }

  /** When it is known whether there is a helper; at the latest after this time. */
  async settled(timeoutMs: number): Promise<void> {
    if (this.#state.kind !== 'connecting') return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, timeoutMs);
      const stop = this.onState(({ kind }) => {
        if (kind !== 'connecting') done();
      });
      function done(): void {
        clearTimeout(timer);
        stop();
        resolve();
      }
    });
  }

  onState(listener: (state: HelperState) => void): () => void {
    this.#events.on('state', listener);
    return () => this.#events.off('state', listener);
  }

  onMessage(listener: (message: HelperMessage) => void): () => void {
    this.#events.on('message', listener);
    return () => this.#events.off('message', listener);
  }

  request<M extends MethodName>(method: M, params: Params<M>, options?: RequestOptions): Promise<MethodResult<M>> {
    const link = this.#link;
    return link === undefined ? Promise.reject(this.#awayError()) : link.request(method, params, options);
  }

  stream(id: number): WireStream {
    if (this.#link === undefined) throw this.#awayError();
    return this.#link.stream(id);
  }

  #awayError(): StrataError {
    return new StrataError('CONNECTION_CLOSED', `not connected to the Strata helper at ${this.#socketPath}`);
  }

  #drop(): void {
    this.#generation += 1;
    this.#refreshing = undefined;
    this.#isAttempting = false;
    clearTimeout(this.#timer);
    this.#watch?.dispose();
    this.#link?.close();
    this.#link = undefined;
  }

  #setState(state: HelperState): void {
    if (JSON.stringify(state) === JSON.stringify(this.#state)) return;
    this.#state = state;
    this.#log.info(`${state.kind}${'detail' in state ? `: ${state.detail}` : ''} (${this.#socketPath})`);
    if (state.kind !== 'connected' && state.kind !== 'connecting') this.#tell({ kind: 'cleared' });
    this.#events.emit('state', state);
  }

  #socketChanged(): void {
    if (this.#link !== undefined || this.#isAttempting) return;
    clearTimeout(this.#timer);
    // bind, chmod, chown and listen are several events: the last of them is the one that counts.
    this.#timer = setTimeout(() => this.#attempt(), 50);
  }

  #attempt(): void {
    clearTimeout(this.#timer);
    const generation = ++this.#generation;
    this.#refreshing = undefined;
    this.#isAttempting = true;
    this.#open(generation).then(
      () => {
        if (generation === this.#generation) this.#isAttempting = false;
      },
      (error: unknown) => {
        if (generation === this.#generation) this.#failed(error);
      },
    );
  }

  async #open(generation: number): Promise<void> {
    const { connection, hello } = await this.#connect(this.#socketPath);
    if (generation !== this.#generation) {
      connection.close();
      return;
    }
    connection.onEvent((event, params) => {
      if (generation !== this.#generation) return;
      const message = { kind: 'event', event, params } as HelperEvent; // one generic pair; the union cannot be inferred
      if (this.#waiting === undefined) this.#tell(message);
      else this.#waiting.push(message);
    });
    await this.#catchUp(connection, generation).catch((error: unknown) => {
      connection.close();
      throw error;
    });
    if (generation !== this.#generation) {
      connection.close();
      return;
    }
    this.#link = connection;
    this.#attempts = 0;
    this.#connectedAtMs = performance.now();
    this.#setState({ kind: 'connected', role: hello.role, helperVersion: hello.helperVersion });
    void connection.closed.then(() => {
      if (generation === this.#generation) this.#lost();
    });
  }

  /** What the helper that was connected before tells since; of another, or after too much, a snapshot. */
  async #catchUp(link: HelperLink, generation: number): Promise<void> {
    if (this.#position !== undefined && (await this.#resume(link, this.#position))) {
      if (generation === this.#generation) this.#passOnWaiting();
      return;
    }
    if (generation === this.#generation) await this.#takeSnapshot(link, generation);
  }

  async #resume(link: HelperLink, position: EventPosition): Promise<boolean> {
    this.#waiting = [];
    try {
      await link.request('events.resume', position);
      return true;
    } catch (error) {
      if (error instanceof StrataError && snapshotInstead.has(error.code)) return false;
      throw error;
    }
  }

  /** Events may come in the same turn as the answer that they follow: they wait for the snapshot. */
  async #takeSnapshot(link: HelperLink, generation: number): Promise<void> {
    this.#waiting = [];
    const snapshot = await link.request('events.subscribe', {});
    if (generation !== this.#generation) return;
    this.#tell({ kind: 'snapshot', snapshot });
    this.#passOnWaiting();
  }

  #passOnWaiting(): void {
    const held = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const message of held) this.#tell(message);
  }

  #tell(message: HelperMessage): void {
    if (message.kind === 'snapshot') this.#position = { epoch: message.snapshot.epoch, seq: message.snapshot.seq };
    else if (message.kind === 'cleared') this.#position = undefined;
    else if (this.#position !== undefined && 'seq' in message.params) {
      const { epoch, seq } = this.#position;
      this.#position = { epoch, seq: Math.max(seq, message.params.seq) };
    }
    this.#events.emit('message', message);
  }

  #lost(): void {
    this.#link = undefined;
    this.#lostAtMs = performance.now();
    this.#setState({ kind: 'connecting' });
    if (this.#lostAtMs - this.#connectedAtMs >= STEADY_MS) {
      this.#earlyLosses = 0;
      this.#attempt();
    } else {
      this.#timer = setTimeout(() => this.#attempt(), backOffMs(this.#earlyLosses));
      this.#earlyLosses += 1;
    }
  }

  #failed(error: unknown): void {
    this.#isAttempting = false;
    const inGrace = performance.now() - this.#lostAtMs < RESTART_GRACE_MS;
    const state = stateAfterFailure(error, existsSync(dirname(this.#socketPath)));
    // A helper that is being replaced is back at once; until then the views keep what they show.
    if (!inGrace || !mayBeRestarting(state)) this.#setState(state);
    this.#timer = setTimeout(() => this.#attempt(), backOffMs(this.#attempts));
    this.#attempts += 1;
  }
}

/** Not those that speak of a helper which answers, or of a user whom it does not let in. */
function mayBeRestarting({ kind }: HelperState): boolean {
  return kind === 'notRunning' || kind === 'notInstalled' || kind === 'connecting';
}
