import type { EventHub, HubEventName, HubMessage } from '../events/hub.ts';
import type { Logger } from '../log.ts';
import { type ContainerId, type EventParams, type EventPosition, type Role, type Stats, StrataError } from '../protocol/index.ts';
import type { Connection } from '../wire/connection.ts';
import type { WireStream } from '../wire/stream.ts';
import type { Caller, Dispatcher } from './dispatch.ts';

/** A client that lets this much pile up is cut off: it connects again and takes a snapshot. */
const maxBufferedBytes = 8 * 1024 * 1024;
/** What is sent at once to who resumes: more is no gain over a snapshot. */
const maxResumedBytes = 2 * 1024 * 1024;
/** RFC 6455's registry: "try again later". */
const tryAgainLater = 1013;

/**
 * One connection: who it is, and what it has asked to be told.
 *
 * Invariants: after `close` nothing is subscribed on its behalf; events go out in the order of the hub.
 */
export class Session implements Caller {
  readonly role: Role;
  readonly connection: Connection;
  /** Who it is, for people. */
  readonly user: string;
  greeted = false;
  inFlight = 0;
  readonly #hub: EventHub;
  readonly #log: Logger;
  /** Containers that this connection runs in the foreground: it hears of their exit without a subscription. */
  readonly #watched = new Set<ContainerId>();
  #unsubscribe: (() => void) | undefined;
  #subscribed = false;
  #stopStats: (() => void) | undefined;

  constructor(options: { role: Role; user: string; connection: Connection; hub: EventHub; log: Logger }) {
    this.role = options.role;
    this.user = options.user;
    this.connection = options.connection;
    this.#hub = options.hub;
    this.#log = options.log;
  }

  /** Answers requests until the connection is closed. */
  async serve(dispatcher: Dispatcher<Session>): Promise<void> {
    this.#unsubscribe = this.#hub.subscribe((event, params) => this.#onEvent(event, params));
    this.connection.onRequest((method, params, signal) => dispatcher.dispatch(this, method, params, signal));
    await this.connection.closed;
    this.#unsubscribe();
    this.#stopStats?.();
  }

  /** From the next event on. The snapshot belongs to the same tick. */
  subscribe(): void {
    this.#subscribed = true;
  }

  /** As `subscribe`, and before it what has happened since; EVENTS_GONE where that is not known, or is more than a snapshot. */
  resume({ epoch, seq }: EventPosition): void {
    const held = epoch === this.#hub.epoch ? this.#hub.after(seq) : undefined;
    const messages = held?.flatMap(({ message }) => message ?? []);
    if (messages === undefined || isMoreThan(maxResumedBytes, messages)) {
      throw new StrataError('EVENTS_GONE', `the events after number ${seq} cannot be told again`, {
        details: { epoch: this.#hub.epoch, seq: this.#hub.seq },
      });
    }
    this.#subscribed = true;
    for (const { event, params } of messages) this.connection.notify(event, params);
  }

  watch(id: ContainerId): void {
    this.#watched.add(id);
  }

  setStats(stop: (() => void) | undefined): void {
    this.#stopStats?.();
    this.#stopStats = stop;
  }

  sendStats(samples: Stats[]): void {
    if (this.#keepsUp()) this.connection.notify('stats.sampled', { samples });
  }

  /**
   * Runs an action on a new stream, which does not stay when the action fails, or comes to its end when nobody waits for it
   * any more: the client never learns of it.
   */
  async withStream<T extends object>(signal: AbortSignal, action: (stream: WireStream) => Promise<T>): Promise<T & { stream: number }> {
    const stream = this.connection.openStream();
    const finish = (): void => stream.finish(new StrataError('CANCELLED', 'the request was given up'));
    signal.addEventListener('abort', finish, { once: true });
    try {
      return { ...(await action(stream)), stream: stream.id };
    } catch (error) {
      stream.finish();
      throw error;
    } finally {
      signal.removeEventListener('abort', finish);
    }
  }

  #onEvent<E extends HubEventName>(event: E, params: EventParams<E>): void {
    if (!this.#subscribed && !this.#isWatchedExit(event, params)) return;
    if (this.#keepsUp()) this.connection.notify(event, params);
  }

  #isWatchedExit<E extends HubEventName>(event: E, params: EventParams<E>): boolean {
    return event === 'container.exited' && 'id' in params && this.#watched.delete(params.id as ContainerId); // of container.exited it is one
  }

  #keepsUp(): boolean {
    if (this.connection.bufferedBytes <= maxBufferedBytes) return true;
    this.#log.warn({ bufferedBytes: this.connection.bufferedBytes }, 'a client does not keep up and is disconnected');
    this.connection.close(tryAgainLater, 'this client does not keep up with the events');
    return false;
  }
}

/** Looks no further than it must. */
function isMoreThan(bytes: number, messages: readonly HubMessage[]): boolean {
  let left = bytes;
  return messages.some((message) => {
    left -= JSON.stringify(message).length;
    return left < 0;
  });
}
