import { connect, type Socket } from 'node:net';
import * as z from 'zod';
import { fromSupervisor } from '../native/errors.ts';
import { StrataError } from '../protocol/index.ts';
import { exitRecordSchema, supervisorErrorSchema } from './record.ts';
import {
  encodeSupervisorFrame,
  MAX_SUPERVISOR_PAYLOAD,
  type SupervisorFrame,
  SupervisorFrameReader,
  SupervisorFrameType,
} from './supervisorFrames.ts';

/** Versions of docs/supervisor.md: those before are of supervisors that cannot be spoken to any more. */
const wire = { oldest: 1, newest: 2 } as const;

const helloSchema = z.looseObject({
  version: z.int(),
  /** What this supervisor can beyond the first version's methods. */
  features: z.array(z.string().max(64)).max(64).optional(),
  id: z.string(),
  phase: z.enum(['sandbox', 'created', 'running', 'exited']),
  supervisor: z.looseObject({ pid: z.int() }),
  init: z.looseObject({ pid: z.int() }),
  startedAt: z.string().optional(),
  exit: exitRecordSchema.optional(),
});
const startedSchema = z.looseObject({ pid: z.int(), startedAt: z.string() });
const execSchema = z.looseObject({ session: z.int().min(1), pid: z.int() });
const sessionsSchema = z.looseObject({
  sessions: z.array(
    z.looseObject({
      session: z.int().min(1),
      id: z.string().max(64),
      pid: z.int(),
      startedAt: z.string(),
      command: z.array(z.string()),
      user: z.string(),
      terminal: z.boolean(),
      detached: z.boolean(),
    }),
  ),
  more: z.boolean(),
});
const endedSessionsSchema = z.looseObject({
  sessions: z.array(
    z.looseObject({
      session: z.int().min(1),
      id: z.string().max(64),
      code: z.int().nullable(),
      signal: z.int().nullable(),
      endedAt: z.string(),
    }),
  ),
});
const followSchema = z.looseObject({ size: z.number() });
const emptySchema = z.looseObject({});

/** Methods of docs/supervisor.md and what they answer. */
const results = {
  hello: helloSchema,
  create: emptySchema,
  start: startedSchema,
  run: startedSchema,
  kill: emptySchema,
  exec: execSchema,
  resize: emptySchema,
  sessions: sessionsSchema,
  endedSessions: endedSessionsSchema,
  signalExec: emptySchema,
  follow: followSchema,
  discard: emptySchema,
} as const;
type SupervisorMethod = keyof typeof results;
/** Groups of methods and parameters that only newer supervisors know. */
export type SupervisorFeature = 'execEnds' | 'execSessions' | 'logRotation' | 'signalNotes';
export type SupervisorResult<M extends SupervisorMethod> = z.infer<(typeof results)[M]>;

const responseSchema = z.looseObject({ id: z.int(), result: z.unknown().optional(), error: supervisorErrorSchema.optional() });
const eventSchema = z.discriminatedUnion('event', [
  z.looseObject({ event: z.literal('started'), pid: z.int(), startedAt: z.string() }),
  z.looseObject({ event: z.literal('exited'), exit: exitRecordSchema }),
  z.looseObject({ event: z.literal('logged'), size: z.number() }),
  z.looseObject({ event: z.literal('execExited'), session: z.int(), code: z.int().nullable(), signal: z.int().nullable() }),
]);
export type SupervisorEvent = z.infer<typeof eventSchema>;

/** Where the output of an exec session goes. Credit is given back as `output` resolves. */
export interface SessionSink {
  output(channel: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void>;
  ended(channel: 'stdout' | 'stderr'): void;
}

interface Pending {
  readonly method: SupervisorMethod;
  readonly doing: string;
  readonly settle: (result: unknown) => void;
  readonly fail: (error: Error) => void;
}

interface StdinSide {
  credit: number;
  queue: { bytes: Uint8Array; done: () => void; failed: (error: Error) => void }[];
  /** Its end is to be sent after what is queued. */
  ended: boolean;
}

const outputWindowBytes = 256 * 1024;

/**
 * One connection to a supervisor.
 *
 * Invariants: every request settles, at the latest when the connection closes; stdin is never sent without credit; events
 * are said in the order they came.
 */
export class SupervisorClient {
  /** Resolves when the connection is gone: the supervisor has ended, or this side closed it. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #reader = new SupervisorFrameReader();
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<(event: SupervisorEvent) => void>();
  readonly #sinks = new Map<number, SessionSink>();
  readonly #stdin = new Map<number, StdinSide>();
  #features: readonly string[] = [];
  #version: number | undefined;
  #lastId = 0;
  #isClosed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', () => {}); // followed by 'close'
    // The supervisor ends its side when it is done; then so is this one.
    socket.on('end', () => socket.end());
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#finish();
        resolve();
      });
    });
  }

  static async connect(path: string): Promise<SupervisorClient> {
    return await new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new SupervisorClient(socket));
      });
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What it is and how far it has come; from then on it tells its events. */
  async hello(): Promise<SupervisorResult<'hello'>> {
    const answer = await this.request('hello', { version: wire.oldest, maxVersion: wire.newest }, { doing: 'speak to the supervisor' });
    this.#version = answer.version;
    this.#features = answer.features ?? [];
    if (answer.version >= wire.oldest && answer.version <= wire.newest) return answer;
    throw new StrataError('RUNTIME_FAILED', `a supervisor speaks version ${answer.version}, this helper ${wire.oldest} to ${wire.newest}`, {
      hint: 'Stop the container with the version that started it.',
    });
  }

  /** Its supervisor is as new as this helper, as far as both can tell. */
  get isCurrent(): boolean {
    return this.#version === wire.newest;
  }

  /** As it said in its hello. */
  supports(feature: SupervisorFeature): boolean {
    return this.#features.includes(feature);
  }

  /**
   * `onResult` is called before anything that came after the answer is looked at. `doing` begins the message of an
   * error.
   */
  async request<M extends SupervisorMethod>(
    method: M,
    params: object,
    options: { doing: string; onResult?: (result: SupervisorResult<M>) => void },
  ): Promise<SupervisorResult<M>> {
    if (this.#isClosed) throw gone(options.doing);
    this.#lastId += 1;
    const id = this.#lastId;
    const payload = Buffer.from(JSON.stringify({ id, method, params }));
    if (payload.byteLength > MAX_SUPERVISOR_PAYLOAD) {
      throw new StrataError('INVALID_REQUEST', `${options.doing}: command, environment and labels together are larger than 1 MiB`, {
        hint: 'Pass large values in a file.',
      });
    }
    return await new Promise((resolve, reject) => {
      this.#pending.set(id, {
        method,
        doing: options.doing,
        settle: (value) => {
          const result = value as SupervisorResult<M>; // parsed by the schema of this method just before
          options.onResult?.(result);
          resolve(result);
        },
        fail: reject,
      });
      this.#send({ type: SupervisorFrameType.request, session: 0, payload });
    });
  }

  onEvent(listener: (event: SupervisorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begins to take the output of an exec session. To be called from `onResult` of the request that made it. */
  openSession(session: number, sink: SessionSink): void {
    this.#sinks.set(session, sink);
    this.#grant(session, outputWindowBytes);
  }

  /** Resolves when the bytes have been sent, which waits until the process reads. */
  async writeStdin(session: number, bytes: Uint8Array): Promise<void> {
    if (this.#isClosed) throw gone('write to the standard input');
    if (bytes.byteLength === 0) return;
    await new Promise<void>((done, failed) => {
      this.#stdinSide(session).queue.push({ bytes, done, failed });
      this.#pumpStdin(session);
    });
  }

  endStdin(session: number): void {
    const side = this.#stdinSide(session);
    if (side.ended || this.#isClosed) return;
    side.ended = true;
    this.#pumpStdin(session);
  }

  /**
   * What is sent within goes out as one write. A write to a supervisor that has just ended would make Node drop the
   * connection with all that the supervisor said before and that was not read yet; what goes together cannot come late.
   */
  together<T>(action: () => T): T {
    this.#socket.cork();
    try {
      return action();
    } finally {
      this.#socket.uncork();
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(frame: SupervisorFrame): void {
    this.#socket.write(encodeSupervisorFrame(frame));
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#handle(frame);
    } catch (error) {
      this.#socket.destroy(error instanceof Error ? error : undefined);
    }
  }

  #handle(frame: SupervisorFrame): void {
    switch (frame.type) {
      case SupervisorFrameType.response:
        this.#settle(responseSchema.parse(parseJson(frame.payload)));
        return;
      case SupervisorFrameType.event: {
        const event = eventSchema.safeParse(parseJson(frame.payload));
        // A supervisor that is newer than this helper may say more.
        if (event.success) for (const listener of [...this.#listeners]) listener(event.data);
        return;
      }
      case SupervisorFrameType.stdout:
        this.#output(frame, 'stdout');
        return;
      case SupervisorFrameType.stderr:
        this.#output(frame, 'stderr');
        return;
      case SupervisorFrameType.credit: {
        const { payload } = frame;
        if (payload.byteLength !== 4) throw new Error('a credit frame without a number');
        this.#stdinSide(frame.session).credit += new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
        this.#pumpStdin(frame.session);
        return;
      }
      case SupervisorFrameType.request:
      case SupervisorFrameType.stdin:
        throw new Error('a frame that only a helper sends');
      default:
        frame.type satisfies never;
    }
  }

  #settle(response: z.infer<typeof responseSchema>): void {
    const pending = this.#pending.get(response.id);
    if (pending === undefined) return;
    this.#pending.delete(response.id);
    if (response.error !== undefined) {
      pending.fail(fromSupervisor(response.error, pending.doing));
      return;
    }
    const parsed = results[pending.method].safeParse(response.result ?? {});
    if (parsed.success) pending.settle(parsed.data);
    else
      pending.fail(new StrataError('RUNTIME_FAILED', `${pending.doing}: the supervisor's answer cannot be read`, { cause: parsed.error }));
  }

  #output(frame: SupervisorFrame, channel: 'stdout' | 'stderr'): void {
    const sink = this.#sinks.get(frame.session);
    if (sink === undefined) return;
    if (frame.payload.byteLength === 0) {
      sink.ended(channel);
      return;
    }
    const size = frame.payload.byteLength;
    // The reader's buffer is shared by what comes after, and the sink may keep its bytes for long.
    sink.output(channel, Uint8Array.prototype.slice.call(frame.payload)).then(
      () => this.#grant(frame.session, size),
      () => {}, // nobody takes it any more; the session ends with its connection
    );
  }

  #grant(session: number, bytes: number): void {
    if (this.#isClosed) return;
    const payload = new Uint8Array(4);
    new DataView(payload.buffer).setUint32(0, bytes, true);
    this.#send({ type: SupervisorFrameType.credit, session, payload });
  }

  #stdinSide(session: number): StdinSide {
    let side = this.#stdin.get(session);
    if (side === undefined) {
      side = { credit: 0, queue: [], ended: false };
      this.#stdin.set(session, side);
    }
    return side;
  }

  #pumpStdin(session: number): void {
    const side = this.#stdinSide(session);
    while (side.credit > 0) {
      const write = side.queue[0];
      if (write === undefined) break;
      const size = Math.min(side.credit, write.bytes.byteLength);
      this.#send({ type: SupervisorFrameType.stdin, session, payload: write.bytes.subarray(0, size) });
      side.credit -= size;
      if (size < write.bytes.byteLength) {
        write.bytes = write.bytes.subarray(size);
      } else {
        side.queue.shift();
        write.done();
      }
    }
    if (side.ended && side.queue.length === 0) {
      this.#send({ type: SupervisorFrameType.stdin, session, payload: new Uint8Array(0) });
      // Its credit holds: a terminal takes more after an end, and another client may go on to the end of what it has.
      side.ended = false;
    }
  }

  #finish(): void {
    this.#isClosed = true;
    for (const pending of this.#pending.values()) pending.fail(gone(pending.doing));
    this.#pending.clear();
    for (const side of this.#stdin.values()) {
      for (const write of side.queue.splice(0)) write.failed(gone('write to the standard input'));
    }
    this.#sinks.clear();
  }
}

function parseJson(payload: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(payload));
}

function gone(doing: string): StrataError {
  return new StrataError('RUNTIME_FAILED', `${doing}: the container's supervisor has gone`, {
    hint: "See the helper's log, and the container's exit.",
  });
}
