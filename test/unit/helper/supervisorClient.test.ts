import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SupervisorClient } from '../../../helper/containers/supervisorClient.ts';
import { encodeSupervisorFrame, type SupervisorFrame, SupervisorFrameReader } from '../../../helper/containers/supervisorFrames.ts';

/** The other side of docs/supervisor.md, as a test writes it. */
class FakeSupervisor {
  readonly frames: SupervisorFrame[] = [];
  readonly socket: Socket;
  #waiting: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    const reader = new SupervisorFrameReader();
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      this.frames.push(...reader.push(chunk).map((item) => ({ ...item, payload: Uint8Array.from(item.payload) })));
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }
  async next(count: number): Promise<SupervisorFrame[]> {
    while (this.frames.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.frames.splice(0, count);
  }
  async request(): Promise<{ id: number; method: string; params: unknown }> {
    const [frame] = await this.next(1);
    return JSON.parse(Buffer.from(frame?.payload ?? []).toString()) as { id: number; method: string; params: unknown };
  }
  send(type: SupervisorFrame['type'], session: number, payload: unknown): void {
    const bytes = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload));
    this.socket.write(encodeSupervisorFrame({ type, session, payload: bytes }));
  }
  credit(session: number, bytes: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(bytes);
    this.send(7, session, payload);
  }
}

let directory: string;
let server: Server;
let client: SupervisorClient;
let supervisor: FakeSupervisor;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'strata-supervisor-'));
  const path = join(directory, 's');
  const connected = new Promise<Socket>((resolve) => {
    server = createServer(resolve);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  client = await SupervisorClient.connect(path);
  supervisor = new FakeSupervisor(await connected);
});
afterEach(() => {
  client.close();
  server.close();
  rmSync(directory, { recursive: true });
});

const doing = 'test it';

describe('requests', () => {
  it('settle by their id, in any order', async () => {
    const first = client.request('follow', { on: true }, { doing });
    const second = client.request('start', {}, { doing });
    const [a, b] = [await supervisor.request(), await supervisor.request()];
    expect([a.method, b.method]).toEqual(['follow', 'start']);
    supervisor.send(2, 0, { id: b.id, result: { pid: 5, startTime: 1, startedAt: 'now' } });
    supervisor.send(2, 0, { id: a.id, result: { size: 3 } });
    expect((await second).pid).toBe(5);
    expect((await first).size).toBe(3);
  });
  it("translate the supervisor's errors", async () => {
    const failing = client.request('start', {}, { doing: 'start web' });
    const { id } = await supervisor.request();
    supervisor.send(2, 0, { id, error: { code: 'COMMAND_NOT_FOUND', message: 'no such file', hint: 'look' } });
    await expect(failing).rejects.toMatchObject({ code: 'COMMAND_NOT_FOUND', message: 'start web: no such file', hint: 'look' });
  });
  it('reject an answer that cannot be read', async () => {
    const failing = client.request('start', {}, { doing });
    const { id } = await supervisor.request();
    supervisor.send(2, 0, { id, result: { pid: 'five' } });
    await expect(failing).rejects.toMatchObject({ code: 'RUNTIME_FAILED' });
  });
  it('reject when the supervisor goes, and from then on', async () => {
    const failing = client.request('start', {}, { doing });
    await supervisor.request();
    supervisor.socket.destroy();
    await expect(failing).rejects.toMatchObject({ code: 'RUNTIME_FAILED' });
    await client.closed;
    await expect(client.request('start', {}, { doing })).rejects.toMatchObject({ code: 'RUNTIME_FAILED' });
  });
  it('refuse more than a frame holds', async () => {
    await expect(client.request('run', { env: 'x'.repeat(2 ** 20) }, { doing })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
  });
});

describe('sessions', () => {
  it('send stdin only as credit allows, and then its end', async () => {
    const written = client.writeStdin(0, Buffer.from('hello'));
    client.endStdin(0);
    supervisor.credit(0, 3);
    const [first] = await supervisor.next(1);
    expect(Buffer.from(first?.payload ?? []).toString()).toBe('hel');
    supervisor.credit(0, 10);
    const [second, end] = await supervisor.next(2);
    expect(Buffer.from(second?.payload ?? []).toString()).toBe('lo');
    expect(end?.payload.byteLength).toBe(0);
    await written;
  });
  it('take input after an end of it: of a terminal, or of another client', async () => {
    supervisor.credit(0, 10);
    await client.writeStdin(0, Buffer.from('first'));
    client.endStdin(0);
    const [, end] = await supervisor.next(2);
    expect(end?.payload.byteLength).toBe(0);
    await client.writeStdin(0, Buffer.from('more'));
    const [more] = await supervisor.next(1);
    expect(Buffer.from(more?.payload ?? []).toString()).toBe('more');
    client.endStdin(0);
    const [again] = await supervisor.next(1);
    expect(again?.payload.byteLength).toBe(0);
  });
  it('give credit back as output is taken', async () => {
    const taken = Promise.withResolvers<void>();
    const got = Promise.withResolvers<string>();
    client.openSession(4, {
      output: async (channel, bytes) => {
        got.resolve(`${channel} ${Buffer.from(bytes).toString()}`);
        await taken.promise;
      },
      ended: () => {},
    });
    const [initial] = await supervisor.next(1);
    expect(initial).toMatchObject({ type: 7, session: 4 });
    supervisor.send(5, 4, Buffer.from('out'));
    expect(await got.promise).toBe('stdout out');
    expect(supervisor.frames).toEqual([]);
    taken.resolve();
    const [credit] = await supervisor.next(1);
    expect(Buffer.from(credit?.payload ?? []).readUInt32LE()).toBe(3);
  });
});

it('ends the connection on bytes that are no frame', async () => {
  supervisor.socket.write(Buffer.alloc(64, 0xff));
  await client.closed;
  expect(client.isClosed).toBe(true);
});
