import { EventEmitter, once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Connect, HelperClient, type HelperLink, type HelperMessage } from '../../../extension/client/helperClient.ts';
import { backOffMs, type HelperStateKind, stateAfterFailure } from '../../../extension/client/helperState.ts';
import { SocketWatch } from '../../../extension/client/socketWatch.ts';
import { type EventPosition, type MethodName, StrataError } from '../../../helper/protocol/index.ts';
import type { EventListener } from '../../../helper/wire/connection.ts';
import { container, containerId, epoch } from './samples.ts';

const errno = (code: string): Error => Object.assign(new Error(code), { code });

/** A helper in memory: `isUp` decides whether a connection succeeds. */
class FakeHelper {
  isUp = true;
  failure: Error = errno('ECONNREFUSED');
  attempts = 0;
  snapshots = 0;
  /** Positions that a client asked to go on after. */
  readonly resumed: EventPosition[] = [];
  epoch = epoch;
  /** Where the first event that it still knows is. */
  firstHeld = 0;
  answersWhen: Promise<void> | undefined;
  containers = [container('1')];
  seq = 10;
  /** Says an event in the same turn as the snapshot that it follows. */
  eventWithSnapshot = false;
  #listeners: EventListener[] = [];
  #closed = Promise.withResolvers<{ code: number; reason: string }>();

  readonly connect: Connect = () => {
    this.attempts += 1;
    if (!this.isUp) return Promise.reject(this.failure);
    this.#listeners = [];
    this.#closed = Promise.withResolvers();
    const link = {
      request: async (method: MethodName, params: unknown) => {
        if (method === 'events.resume') return this.#resume(params as EventPosition); // what that method takes
        this.snapshots += 1;
        await this.answersWhen;
        const snapshot = { epoch: this.epoch, seq: this.seq, containers: this.containers, images: [] };
        if (this.eventWithSnapshot) this.remove();
        return snapshot;
      },
      onEvent: (listener: EventListener) => {
        this.#listeners.push(listener);
        return () => {};
      },
      stream: () => {
        throw new Error('no streams here');
      },
      close: () => this.#closed.resolve({ code: 1000, reason: '' }),
      closed: this.#closed.promise,
    };
    const hello = { protocol: { major: 1, minor: 0 }, helperVersion: '0.1.0', role: 'control' as const, capabilities: [] };
    return Promise.resolve({ connection: link as unknown as HelperLink, hello }); // request is generic; this fake answers two methods
  };

  remove(): void {
    this.#say(this.seq + 1);
  }

  /** As the real one: what has happened since comes before the answer. */
  #resume(position: EventPosition): { seq: number } {
    this.resumed.push(position);
    if (position.epoch !== this.epoch || position.seq + 1 < this.firstHeld) throw new StrataError('EVENTS_GONE', 'too long ago');
    for (let seq = position.seq + 1; seq <= this.seq; seq += 1) this.#say(seq);
    return { seq: this.seq };
  }

  #say(seq: number): void {
    for (const listener of this.#listeners) listener('container.removed', { seq, id: containerId('1') });
  }

  /** Ends this connection; the next one is taken. */
  hangUp(): void {
    this.#closed.resolve({ code: 1006, reason: '' });
  }

  die(): void {
    this.isUp = false;
    this.#closed.resolve({ code: 1006, reason: '' });
  }
}

let directory: string;
let client: HelperClient;
let helper: FakeHelper;
let messages: HelperMessage[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'strata-client-'));
  helper = new FakeHelper();
  messages = [];
  client = new HelperClient(join(directory, 'helper.sock'), helper.connect, { info: () => {}, warn: () => {} });
  client.onMessage((message) => messages.push(message));
});
afterEach(() => {
  client.dispose();
  rmSync(directory, { recursive: true, force: true });
});

function reached(kind: HelperStateKind): Promise<void> {
  return new Promise((resolve) => {
    const stop = client.onState((state) => {
      if (state.kind !== kind) return;
      stop();
      resolve();
    });
  });
}

describe('HelperClient', () => {
  it('takes a snapshot, then events, and says that it is connected', async () => {
    const connected = reached('connected');
    client.start();
    await connected;
    helper.remove();
    expect(messages.map(({ kind }) => kind)).toEqual(['snapshot', 'event']);
    expect(client.state).toEqual({ kind: 'connected', role: 'control', helperVersion: '0.1.0' });
  });

  it('holds an event back that comes before its snapshot was taken', async () => {
    helper.eventWithSnapshot = true;
    const connected = reached('connected');
    client.start();
    await connected;
    expect(messages.map(({ kind }) => kind)).toEqual(['snapshot', 'event']);
  });

  it('comes back after a restart without saying that the helper is gone', async () => {
    client.start();
    await reached('connected');
    const states: HelperStateKind[] = [];
    client.onState(({ kind }) => states.push(kind));
    const back = reached('connected');
    helper.die();
    await once(process, 'nothing', { signal: AbortSignal.timeout(100) }).catch(() => {});
    helper.isUp = true;
    await back;
    expect(states).toEqual(['connecting', 'connected']);
    expect(messages.map(({ kind }) => kind)).toEqual(['snapshot']);
  });

  it('goes on after the last event it saw when the connection is lost', async () => {
    client.start();
    await reached('connected');
    helper.remove();
    helper.seq = 13;
    const back = reached('connected');
    helper.hangUp();
    await back;
    expect(helper.resumed).toEqual([{ epoch, seq: 11 }]);
    expect(messages.map((message) => (message.kind === 'event' && 'seq' in message.params ? message.params.seq : message.kind))).toEqual([
      'snapshot',
      11,
      12,
      13,
    ]);
    expect(helper.snapshots).toBe(1);
  });

  it.each([
    ['it was away for too long', (fake: FakeHelper) => (fake.firstHeld = 100)],
    ['it is another helper', (fake: FakeHelper) => (fake.epoch = 'f'.repeat(16))],
  ])('takes a snapshot after a reconnect when %s', async (_, change) => {
    client.start();
    await reached('connected');
    const back = reached('connected');
    change(helper);
    helper.hangUp();
    await back;
    expect(messages.map(({ kind }) => kind)).toEqual(['snapshot', 'snapshot']);
  });

  it('does not go on after what it has cleared', async () => {
    client.start();
    await reached('connected');
    helper.failure = errno('EACCES');
    const away = reached('notPermitted');
    helper.die();
    await away;
    helper.isUp = true;
    const back = reached('connected');
    client.reconnect();
    await back;
    expect(helper.resumed).toEqual([]);
    expect(messages.map(({ kind }) => kind)).toEqual(['snapshot', 'cleared', 'snapshot']);
  });

  it('does not try in a hot loop where each connection is lost at once', async () => {
    client.onState(({ kind }) => {
      if (kind === 'connected') setImmediate(() => helper.hangUp());
    });
    client.start();
    await once(process, 'nothing', { signal: AbortSignal.timeout(500) }).catch(() => {});
    // At once, after 200 ms, after another 400 ms.
    expect(helper.attempts).toBeGreaterThan(1);
    expect(helper.attempts).toBeLessThan(4);
  });

  it('takes a fresh snapshot when it is asked to, and no event gets before it', async () => {
    client.start();
    await reached('connected');
    const answer = Promise.withResolvers<void>();
    helper.answersWhen = answer.promise;
    const refreshed = Promise.all([client.refresh(), client.refresh()]);
    helper.remove();
    expect(messages.map(({ kind }) => kind)).toEqual(['snapshot']);
    answer.resolve();
    await refreshed;
    expect(messages.map(({ kind }) => kind)).toEqual(['snapshot', 'snapshot', 'event']);
    expect(helper.snapshots).toBe(2);
  });

  it('loses no event to a refresh that fails', async () => {
    client.start();
    await reached('connected');
    helper.answersWhen = Promise.reject(new StrataError('TIMEOUT', 'no answer'));
    const refreshed = client.refresh();
    helper.remove();
    await expect(refreshed).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(messages.map(({ kind }) => kind)).toEqual(['snapshot', 'event']);
  });

  it('says when it knows whether there is a helper, and in time that it does not', async () => {
    await client.settled(20);
    expect(client.state.kind).toBe('connecting');
    client.start();
    await client.settled(60_000);
    expect(client.state.kind).toBe('connected');
    await client.settled(60_000);
  });

  it('does not look for a helper where none can run', async () => {
    const elsewhere = new HelperClient(join(directory, 'helper.sock'), helper.connect, { info: () => {}, warn: () => {} }, 'darwin');
    elsewhere.start();
    elsewhere.reconnect();
    await elsewhere.settled(0);
    expect(elsewhere.state).toEqual({ kind: 'unsupportedHost' });
    expect(helper.attempts).toBe(0);
    elsewhere.dispose();
  });

  it('clears what it told before it says that the helper is away', async () => {
    helper.isUp = false;
    const away = reached('notRunning');
    client.start();
    await away;
    expect(messages.map(({ kind }) => kind)).toEqual(['cleared']);
    await expect(client.request('container.list', { all: true })).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
  });

  it('notices at once that the socket has appeared', async () => {
    helper.isUp = false;
    client.start();
    await reached('notRunning');
    const connected = reached('connected');
    helper.isUp = true;
    writeFileSync(join(directory, 'helper.sock'), '');
    await connected;
    expect(helper.attempts).toBeLessThan(5);
  });

  it('goes to another socket when it is told to', async () => {
    helper.isUp = false;
    client.start();
    await reached('notRunning');
    helper.isUp = true;
    const connected = reached('connected');
    client.reconnect(join(directory, 'other.sock'));
    await connected;
    expect(client.socketPath).toBe(join(directory, 'other.sock'));
    // At once, not when the other one has answered: its containers are not these.
    messages.length = 0;
    helper.isUp = false;
    client.reconnect(join(directory, 'third.sock'));
    expect(messages.map(({ kind }) => kind)).toEqual(['cleared']);
  });
});

describe('what a failed attempt means', () => {
  it.each([
    [errno('ENOENT'), false, 'notInstalled'],
    [errno('ENOENT'), true, 'notRunning'],
    [errno('ECONNREFUSED'), true, 'notRunning'],
    [errno('EACCES'), true, 'notPermitted'],
    [new StrataError('PROTOCOL_MISMATCH', 'it speaks 2.0'), true, 'incompatible'],
    [new StrataError('PERMISSION_DENIED', 'not in the group'), true, 'notPermitted'],
    [new StrataError('TIMEOUT', 'no answer'), true, 'notRunning'],
    [new StrataError('ANSWER_TOO_LARGE', 'larger than a message'), true, 'tooLarge'],
  ] as const)('%s', (error, directoryExists, kind) => expect(stateAfterFailure(error, directoryExists).kind).toBe(kind));

  it('waits longer each time, up to a bound', () => {
    expect([0, 1, 2, 20].map(backOffMs)).toEqual([200, 400, 800, 30_000]);
  });
});

describe('SocketWatch', () => {
  it('sees a socket whose directory does not exist yet, and a change of its rights', async () => {
    const socket = join(directory, 'run', 'strata', 'helper.sock');
    const seen = new EventEmitter();
    const watch = new SocketWatch(socket, () => seen.emit('change'));
    const next = () => once(seen, 'change', { signal: AbortSignal.timeout(5000) });
    let change = next();
    mkdirSync(join(directory, 'run'));
    await change;
    change = next();
    mkdirSync(join(directory, 'run', 'strata'));
    await change;
    change = next();
    writeFileSync(socket, '');
    await change;
    change = next();
    chmodSync(socket, 0o660);
    await expect(change).resolves.toBeDefined();
    watch.dispose();
  });
});
