import * as fs from 'node:fs/promises';
import * as http from 'node:http';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ResponseError } from 'vscode-jsonrpc/node';
import { WebSocket, WebSocketServer } from 'ws';
import { Channel, encodeFrame, LIMITS, PROTOCOL_VERSION, STRATA_RPC_ERROR, StrataError } from '../../../helper/protocol/index.ts';
import { connect } from '../../../helper/wire/connect.ts';
import { Connection } from '../../../helper/wire/connection.ts';

/** A real WebSocket on a real unix socket: the ends of a connection, without the helper behind it. */
class Listener {
  readonly directory: string;
  readonly socketPath: string;
  readonly server = http.createServer();
  readonly accepted: Promise<Connection>;
  readonly leftOut: string[] = [];
  onRequest: (method: string, params: unknown, signal: AbortSignal, connection: Connection) => Promise<unknown> = () =>
    Promise.reject(new StrataError('UNKNOWN_METHOD', 'nothing is served'));

  constructor(directory: string) {
    this.directory = directory;
    this.socketPath = path.join(directory, 'helper.sock');
    const sockets = new WebSocketServer({ server: this.server, maxPayload: LIMITS.maxMessageBytes });
    const { promise, resolve } = Promise.withResolvers<Connection>();
    this.accepted = promise;
    sockets.on('connection', (socket) => {
      const connection = new Connection(socket, { allocatesStreams: true, onEventTooLarge: (event) => this.leftOut.push(event) });
      connection.onRequest((method, params, signal) => {
        if (method === 'hello') {
          return Promise.resolve({ protocol: PROTOCOL_VERSION, helperVersion: '1', role: 'control', capabilities: [] });
        }
        return this.onRequest(method, params, signal, connection);
      });
      resolve(connection);
    });
  }

  async close(): Promise<void> {
    (await Promise.race([this.accepted, Promise.resolve(undefined)]))?.close();
    this.server.closeAllConnections();
    this.server.close();
    await fs.rm(this.directory, { recursive: true });
  }
}

let listener: Listener;
beforeEach(async () => {
  listener = new Listener(await fs.mkdtemp(path.join(os.tmpdir(), 'strata-wire-')));
  await new Promise<void>((resolve) => listener.server.listen(listener.socketPath, resolve));
});
afterEach(() => listener.close());

const client = { name: 'test', version: '0' };
async function open(): Promise<Connection> {
  return (await connect({ socketPath: listener.socketPath, client })).connection;
}

async function failure(promise: Promise<unknown>): Promise<StrataError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StrataError);
  return error as StrataError; // the line above
}

describe('requests', () => {
  it('carries an error with its code, message, hint and details', async () => {
    listener.onRequest = () =>
      Promise.reject(new StrataError('NAME_IN_USE', 'the name "web" is taken', { hint: 'Try "web2".', details: { name: 'web' } }));
    const error = await failure((await open()).request('container.list', { all: true }));
    expect(error).toMatchObject({ code: 'NAME_IN_USE', message: 'the name "web" is taken', hint: 'Try "web2".', details: { name: 'web' } });
  });

  it('answers an error where the answer would be larger than a message may be, and goes on', async () => {
    listener.onRequest = (method) =>
      method === 'host.info' ? Promise.resolve('ü'.repeat(LIMITS.maxMessageBytes / 2)) : Promise.resolve({ containers: [] });
    const connection = await open();
    expect((await failure(connection.request('host.info', {}))).code).toBe('ANSWER_TOO_LARGE');
    expect(await connection.request('container.list', { all: true })).toEqual({ containers: [] });
  });

  it('hides an unexpected error of the helper behind INTERNAL', async () => {
    listener.onRequest = () => Promise.reject(new TypeError('secret detail'));
    const error = await failure((await open()).request('container.list', { all: true }));
    expect(error.code).toBe('INTERNAL');
    expect(error.message).not.toContain('secret');
  });

  it('refuses an answer that does not fit the contract', async () => {
    listener.onRequest = () => Promise.resolve({ containers: 'none' });
    expect((await failure((await open()).request('container.list', { all: true }))).code).toBe('PROTOCOL_MISMATCH');
  });

  it('takes an answer that says more than this version knows', async () => {
    const exit = { code: 0, signal: null, oomKilled: false, reason: 'exited with status 0', finishedAt: '2026-01-01T00:00:00Z', cpuMs: 3 };
    listener.onRequest = (method) => Promise.resolve(method === 'host.info' ? { motd: 'nothing else' } : { exit, motd: 'hello' });
    const connection = await open();
    expect(await connection.request('container.wait', { container: 'x' })).toEqual({ exit, motd: 'hello' });
    // More is taken, less is not.
    expect((await failure(connection.request('host.info', {}))).code).toBe('PROTOCOL_MISMATCH');
  });

  it('takes an error whose code this version does not know, with its message and hint', async () => {
    listener.onRequest = (method) => {
      const data = { code: 'QUOTA_EXCEEDED', hint: 'Ask for more room.', details: { room: 3, more: ['x'] }, since: 2 };
      const message = 'the room of 3 is full';
      if (method === 'container.list') return Promise.reject(new ResponseError(STRATA_RPC_ERROR, message, data));
      return Promise.reject(new ResponseError(STRATA_RPC_ERROR, message, { code: 'QUOTA_EXCEEDED' }));
    };
    const connection = await open();
    const error = await failure(connection.request('container.list', { all: true }));
    expect(error).toMatchObject({ code: 'INTERNAL', message: 'the room of 3 is full (QUOTA_EXCEEDED)', hint: 'Ask for more room.' });
    expect(await failure(connection.request('host.info', {}))).toMatchObject({ code: 'INTERNAL', hint: '' });
  });

  it('tells the helper of a cancellation and does not wait for it', async () => {
    const { promise: cancelled, resolve } = Promise.withResolvers<void>();
    const abort = new AbortController();
    listener.onRequest = (_method, _params, signal) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
      abort.abort();
      return new Promise(() => {});
    };
    const connection = await open();
    const pending = failure(connection.request('container.wait', { container: 'x' }, { signal: abort.signal }));
    expect((await pending).code).toBe('CANCELLED');
    await cancelled;
  });

  it('gives up after the time limit', async () => {
    listener.onRequest = () => new Promise(() => {});
    const pending = (await open()).request('container.list', { all: true }, { timeoutMs: 20 });
    expect((await failure(pending)).code).toBe('TIMEOUT');
  });

  it('rejects what is pending when the helper goes away', async () => {
    listener.onRequest = () => {
      void listener.accepted.then((connection) => connection.close());
      return new Promise(() => {});
    };
    const connection = await open();
    expect((await failure(connection.request('container.wait', { container: 'x' }))).code).toBe('CONNECTION_CLOSED');
    expect((await failure(connection.request('container.list', { all: true }))).code).toBe('CONNECTION_CLOSED');
  });

  it('says so when what listens is no helper', async () => {
    listener.server.removeAllListeners('upgrade');
    listener.server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 404 Not Found\r\n\r\n'));
    expect((await failure(open())).code).toBe('PROTOCOL_MISMATCH');
  });
});

describe('events', () => {
  const sample = { seq: 1, id: 'a'.repeat(32) };

  it('are taken when they say more than this version knows', async () => {
    const connection = await open();
    const heard = new Promise((resolve) => connection.onEvent((event, params) => resolve([event, params])));
    (await listener.accepted).notify('container.removed', { ...sample, why: 'asked' } as never); // of a newer helper
    expect(await heard).toEqual(['container.removed', { ...sample, why: 'asked' }]);
  });

  it('are left out when no message can hold them, and the connection goes on', async () => {
    const connection = await open();
    const heard: unknown[] = [];
    const second = new Promise<void>((resolve) => {
      connection.onEvent((event, params) => {
        heard.push([event, params]);
        resolve();
      });
    });
    const end = await listener.accepted;
    end.notify('container.removed', { ...sample, why: 'x'.repeat(LIMITS.maxMessageBytes) } as never); // of no helper
    end.notify('container.removed', { ...sample, seq: 2 } as never); // a plain object; the id is branded
    await Promise.race([second, connection.closed]);
    expect(heard).toEqual([['container.removed', { ...sample, seq: 2 }]]);
    expect(listener.leftOut).toEqual(['container.removed']);
  });
});

describe('malformed input', () => {
  async function rawClose(send: (socket: WebSocket) => void): Promise<number> {
    const raw = new WebSocket(`ws+unix:${listener.socketPath}:/`);
    raw.on('error', () => {});
    await new Promise((resolve) => raw.once('open', resolve));
    const closed = new Promise<number>((resolve) => raw.once('close', (code) => resolve(code)));
    send(raw);
    return closed;
  }

  it.each(['not json', '[]', '{"id":1}', 'null'])('closes the connection on the text message %s', async (text) => {
    expect(await rawClose((socket) => socket.send(text))).toBe(1007);
  });

  it('closes the connection on a binary message that is no frame', async () => {
    expect(await rawClose((socket) => socket.send(Buffer.from([9, 9, 9])))).toBe(1007);
  });

  it('closes the connection on an oversized message and serves the next one', async () => {
    expect(await rawClose((socket) => socket.send('x'.repeat(LIMITS.maxMessageBytes + 1)))).toBe(1009);
    listener.onRequest = () => Promise.resolve({ containers: [] });
    expect(await (await open()).request('container.list', { all: true })).toEqual({ containers: [] });
  });
});

describe('streams', () => {
  it('delivers everything in order, then the end, then the close, to a slow reader', async () => {
    const total = LIMITS.streamWindowBytes * 3;
    listener.onRequest = async (_method, _params, _signal, connection) => {
      const stream = connection.openStream();
      const bytes = Uint8Array.from({ length: total }, (_, index) => index % 251);
      void stream.write(Channel.stdout, bytes).then(() => {
        stream.end(Channel.stdout);
        stream.close();
      });
      return { stream: stream.id, tty: false, from: { stdout: 0, stderr: 0 }, first: { stdout: 0, stderr: 0 } };
    };
    const connection = await open();
    const { stream } = await connection.request('container.logs', { container: 'x' });
    const seen: string[] = [];
    let received = 0;
    let inOrder = true;
    await new Promise<void>((resolve, reject) => {
      connection.stream(stream).consume({
        async data(channel, bytes) {
          await new Promise(setImmediate);
          inOrder &&= bytes.every((byte, index) => byte === (received + index) % 251);
          received += bytes.byteLength;
          if (seen.length === 0) seen.push(`data ${channel}`);
        },
        end: (channel) => void seen.push(`end ${channel}`),
        closed: (error) => (error === undefined ? resolve() : reject(error)),
      });
    });
    expect({ received, inOrder, seen }).toEqual({ received: total, inOrder: true, seen: ['data 1', 'end 1'] });
  });

  it('sends no more than the window to a reader that does not take it', async () => {
    let written = 0;
    listener.onRequest = async (_method, _params, _signal, connection) => {
      const stream = connection.openStream();
      void (async () => {
        for (;;) {
          await stream.write(Channel.stdout, new Uint8Array(64 * 1024));
          written += 64 * 1024;
        }
      })().catch(() => {});
      return { stream: stream.id, tty: false, from: { stdout: 0, stderr: 0 }, first: { stdout: 0, stderr: 0 } };
    };
    const connection = await open();
    const { stream } = await connection.request('container.logs', { container: 'x' });
    expect(written).toBe(0);
    const { promise: first, resolve } = Promise.withResolvers<void>();
    connection.stream(stream).consume({
      data: () => {
        resolve();
        return new Promise(() => {});
      },
    });
    await first;
    await connection.request('container.logs', { container: 'y' });
    expect(written).toBeLessThanOrEqual(LIMITS.streamWindowBytes);
  });

  it('hears of an end that came before anybody read', async () => {
    const { promise: ended, resolve } = Promise.withResolvers<Channel>();
    listener.onRequest = async (_method, _params, _signal, connection) => {
      const stream = connection.openStream();
      // As a helper that has to make room for an upload first, while the client has nothing to send.
      setTimeout(() => stream.consume({ data: () => {}, end: resolve }), 30);
      return { stream: stream.id, tty: false, from: { stdout: 0, stderr: 0 }, first: { stdout: 0, stderr: 0 } };
    };
    const connection = await open();
    const { stream: id } = await connection.request('container.logs', { container: 'x' });
    const stream = connection.stream(id);
    stream.consume({ data: () => {} });
    stream.end(Channel.bytes);
    expect(await ended).toBe(Channel.bytes);
  });

  it('is over for a sender that does not wait for credit', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<StrataError | undefined>();
    listener.onRequest = async (_method, _params, _signal, connection) => {
      const stream = connection.openStream();
      stream.consume({ data: () => new Promise(() => {}) });
      return { stream: stream.id, tty: false, from: { stdout: 0, stderr: 0 }, first: { stdout: 0, stderr: 0 } };
    };
    const raw = new WebSocket(`ws+unix:${listener.socketPath}:/`);
    await new Promise((opened) => raw.once('open', opened));
    const connection = new Connection(raw, { allocatesStreams: false });
    const { stream: id } = await connection.request('container.logs', { container: 'x' });
    connection.stream(id).consume({ data: () => {}, closed: resolve });
    const frame = encodeFrame({ kind: 'data', streamId: id, channel: Channel.bytes, payload: new Uint8Array(LIMITS.maxFrameBytes) });
    for (let sent = 0; sent <= LIMITS.streamWindowBytes; sent += LIMITS.maxFrameBytes) raw.send(frame);
    expect((await closed)?.code).toBe('INVALID_REQUEST');
  });

  it('carries the reason of a close that comes before anybody asked for the stream', async () => {
    listener.onRequest = (_method, _params, _signal, connection) => {
      const stream = connection.openStream();
      stream.close(new StrataError('PATH_NOT_FOUND', 'no /etc/x'));
      return Promise.resolve({ stream: stream.id, tty: false, from: { stdout: 0, stderr: 0 }, first: { stdout: 0, stderr: 0 } });
    };
    const connection = await open();
    const { stream } = await connection.request('container.logs', { container: 'x' });
    const error = await new Promise<StrataError | undefined>((resolve) => {
      connection.stream(stream).consume({ data: () => {}, closed: resolve });
    });
    expect(error).toMatchObject({ code: 'PATH_NOT_FOUND', message: 'no /etc/x' });
  });

  it("aborts the helper's end when the client goes away", async () => {
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    listener.onRequest = (_method, _params, _signal, connection) => {
      const stream = connection.openStream();
      stream.signal.addEventListener('abort', () => resolve());
      return Promise.resolve({ stream: stream.id, tty: false, from: { stdout: 0, stderr: 0 }, first: { stdout: 0, stderr: 0 } });
    };
    const connection = await open();
    await connection.request('container.logs', { container: 'x' });
    connection.close();
    await aborted;
    expect((await failure(listener.accepted.then((end) => Promise.resolve(end.stream(1))))).code).toBe('STREAM_NOT_FOUND');
  });
});

describe('a stream that the helper reads', () => {
  it('takes what is written though the helper was ready before the client knew of it', async () => {
    const got = Promise.withResolvers<string>();
    listener.onRequest = (_method, _params, _signal, connection) => {
      const stream = connection.openStream();
      stream.consume({ data: (_channel, bytes) => got.resolve(new TextDecoder().decode(bytes)) });
      stream.end(Channel.stderr);
      return Promise.resolve({ stream: stream.id });
    };
    const connection = await open();
    const { stream } = await connection.request('image.openUpload', {});
    const ended = Promise.withResolvers<Channel>();
    const upload = connection.stream(stream);
    upload.consume({ data: () => {}, end: ended.resolve });
    await upload.write(Channel.bytes, new TextEncoder().encode('hello'));
    expect(await got.promise).toBe('hello');
    expect(await ended.promise).toBe(Channel.stderr);
  });
});
