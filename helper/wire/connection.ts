import { type CancellationToken, CancellationTokenSource, createMessageConnection, type MessageConnection } from 'vscode-jsonrpc/node';
import type { RawData, WebSocket } from 'ws';
import {
  decodeFrame,
  type EventName,
  type EventParams,
  encodeFrame,
  events,
  type Frame,
  LIMITS,
  type MethodName,
  type MethodResult,
  methods,
  type Params,
  StrataError,
} from '../protocol/index.ts';
import { fromResponseError, toResponseError } from './errorPayload.ts';
import { parseReceived } from './received.ts';
import { ignoreSendError, SocketReader, SocketWriter } from './socketTransport.ts';
import { WireStream } from './stream.ts';

export type RequestHandler = (method: string, params: unknown, signal: AbortSignal) => Promise<unknown>;
export type EventListener = <E extends EventName>(event: E, params: EventParams<E>) => void;

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Replaces the method's own bound; 0: none. */
  readonly timeoutMs?: number | undefined;
}

export interface ConnectionOptions {
  /** The helper's end. */
  readonly allocatesStreams: boolean;
  /** Hears of an event that is left out, because it is larger than a message may be. */
  readonly onEventTooLarge?: (event: string) => void;
}

/**
 * One end of a connection: JSON-RPC 2.0 requests and notifications as text messages, streams as binary ones. Both ends
 * are alike but for who chooses stream ids (the helper does).
 *
 * Invariants: every request settles, at the latest when the socket closes; every stream is finished then; what comes
 * in is parsed before anybody sees it; a malformed message closes this connection and touches nothing else.
 */
export class Connection {
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #socket: WebSocket;
  readonly #rpc: MessageConnection;
  readonly #allocatesStreams: boolean;
  readonly #streams = new Map<number, WireStream>();
  readonly #listeners = new Set<EventListener>();
  #lastStreamId = 0;
  #isClosed = false;

  constructor(socket: WebSocket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#allocatesStreams = options.allocatesStreams;
    // Each request under way listens for the close.
    socket.setMaxListeners(0);
    this.#rpc = createMessageConnection(new SocketReader(socket), new SocketWriter(socket, (event) => options.onEventTooLarge?.(event)));
    socket.on('message', (data, isBinary) => {
      if (isBinary) this.#receiveFrame(data);
    });
    // A protocol error (1009, 1002, …) is answered by ws itself and followed by `close`; unheard it would be thrown.
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => {
        this.#finish();
        resolve({ code, reason: reason.toString() });
      });
    });
    this.#rpc.onNotification((method, params) => this.#receiveEvent(method, params));
    this.#rpc.onError(() => {});
    this.#rpc.listen();
  }

  /** Bytes that the socket has not taken yet: how far the other side lags behind. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  async request<M extends MethodName>(method: M, params: Params<M>, options: RequestOptions = {}): Promise<MethodResult<M>> {
    if (this.#isClosed) throw new StrataError('CONNECTION_CLOSED', `${method}: not connected to the helper`);
    const timeoutMs = options.timeoutMs ?? methods[method].timeoutMs;
    const source = new CancellationTokenSource();
    const gaveUp = giveUp(method, timeoutMs, options.signal);
    try {
      const result: unknown = await Promise.race([this.#rpc.sendRequest(method, params, source.token), gaveUp.promise]);
      const parsed = parseReceived(methods[method].result, result);
      if (!parsed.success) throw unexpectedMessage(`the answer to ${method}`, parsed.error);
      return parsed.data as MethodResult<M>; // the table ties the schema to the type; a lookup by a generic key loses it
    } catch (error) {
      source.cancel();
      if (this.#isClosed) throw new StrataError('CONNECTION_CLOSED', `${method}: the connection to the helper was closed`);
      throw fromResponseError(error, method);
    } finally {
      gaveUp.dispose();
      source.dispose();
    }
  }

  /** Answers every request by this handler; it throws a StrataError to answer an error. */
  onRequest(handler: RequestHandler): void {
    this.#rpc.onRequest(async (method: string, params: unknown, token: CancellationToken) => {
      const abort = new AbortController();
      const subscription = token.onCancellationRequested(() => abort.abort());
      const onClosed = (): void => abort.abort();
      this.#socket.once('close', onClosed);
      try {
        return await handler(method, params, abort.signal);
      } catch (error) {
        return toResponseError(error);
      } finally {
        subscription.dispose();
        this.#socket.off('close', onClosed);
      }
    });
  }

  notify<E extends EventName>(event: E, params: EventParams<E>): void {
    // vscode-jsonrpc rejects only after dispose; an event to a client that has gone needs no answer.
    if (!this.#isClosed) void this.#rpc.sendNotification(event, params).catch(() => {});
  }

  onEvent(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The helper's side: a new stream, whose id goes to the client in the answer to its request. */
  openStream(): WireStream {
    if (!this.#allocatesStreams) throw new Error('only the helper opens streams');
    if (this.#streams.size >= LIMITS.maxStreams) {
      throw new StrataError('TOO_MANY_REQUESTS', `this connection has ${LIMITS.maxStreams} streams open already`);
    }
    this.#lastStreamId += 1;
    return this.#addStream(this.#lastStreamId);
  }

  /** The stream that an answer named. On the helper's side, one that this connection has open. */
  stream(id: number): WireStream {
    const known = this.#streams.get(id);
    if (known !== undefined) return known;
    if (this.#allocatesStreams) throw new StrataError('STREAM_NOT_FOUND', `stream ${id} is not open on this connection`);
    return this.#addStream(id);
  }

  close(code = 1000, reason = ''): void {
    this.#socket.close(code, reason);
  }

  #addStream(id: number): WireStream {
    const stream = new WireStream(id, {
      send: (frame) => this.#sendFrame(frame),
      forget: () => this.#streams.delete(id),
      closesAfterCredit: this.#allocatesStreams,
    });
    if (this.#isClosed) stream.finish(new StrataError('CONNECTION_CLOSED', 'the connection to the helper was closed'));
    else this.#streams.set(id, stream);
    return stream;
  }

  #sendFrame(frame: Frame): void {
    if (!this.#isClosed) this.#socket.send(encodeFrame(frame), { binary: true }, ignoreSendError);
  }

  #receiveFrame(data: RawData): void {
    const frame = decodeFrame(toBytes(data));
    if (frame === undefined) {
      this.#socket.close(1007, 'not a stream frame');
      return;
    }
    // A frame of a stream that this side has finished already crossed its end on the way: nothing to do.
    this.#streams.get(frame.streamId)?.receive(frame);
  }

  #receiveEvent(method: string, params: unknown): void {
    if (!Object.hasOwn(events, method)) return; // a newer helper may say more than this client knows
    const name = method as EventName; // hasOwn has just shown it
    const parsed = parseReceived(events[name].params, params);
    if (!parsed.success) {
      this.#socket.close(1007, `malformed event ${name}`);
      return;
    }
    for (const listener of this.#listeners) listener(name, parsed.data as EventParams<typeof name>); // see request()
  }

  #finish(): void {
    this.#isClosed = true;
    const error = new StrataError('CONNECTION_CLOSED', 'the connection to the helper was closed');
    for (const stream of [...this.#streams.values()]) stream.finish(error);
    this.#rpc.dispose();
  }
}

function toBytes(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}

/** Rejects at the time limit or when the caller aborts; the helper is told, but nobody waits for its answer. */
function giveUp(method: string, timeoutMs: number, signal: AbortSignal | undefined): { promise: Promise<never>; dispose(): void } {
  // Not Promise.withResolvers: the extension hosts of engines.vscode run Node 20, which has none.
  let reject: (error: StrataError) => void = () => {};
  const promise = new Promise<never>((_, rejectPromise) => {
    reject = rejectPromise;
  });
  const timer = timeoutMs > 0 ? setTimeout(onTimeout, timeoutMs) : undefined;
  function onTimeout(): void {
    reject(new StrataError('TIMEOUT', `${method}: no answer from the helper within ${timeoutMs / 1000} s`));
  }
  function onAbort(): void {
    reject(new StrataError('CANCELLED', `${method} was cancelled`));
  }
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted === true) onAbort();
  return {
    promise,
    dispose: () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}

function unexpectedMessage(what: string, cause: unknown): StrataError {
  return new StrataError('PROTOCOL_MISMATCH', `${what} is not what this version expects`, { cause });
}
