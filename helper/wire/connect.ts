import * as net from 'node:net';
import { WebSocket } from 'ws';
import { LIMITS, type MethodResult, PROTOCOL_VERSION, StrataError, SUBPROTOCOL } from '../protocol/index.ts';
import { Connection } from './connection.ts';

export interface ConnectOptions {
  readonly socketPath: string;
  readonly client: { readonly name: string; readonly version: string };
  readonly timeoutMs?: number;
}

export interface Connected {
  readonly connection: Connection;
  readonly hello: MethodResult<'hello'>;
}

/**
 * Opens the helper's unix socket and says hello.
 * Throws what the socket said (`code` ENOENT, ECONNREFUSED, EACCES, …) or a StrataError (PROTOCOL_MISMATCH, TIMEOUT).
 */
export async function connect(options: ConnectOptions): Promise<Connected> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const socket = await openSocket(options.socketPath, timeoutMs);
  const connection = new Connection(socket, { allocatesStreams: false });
  try {
    const hello = await connection.request('hello', { protocol: { ...PROTOCOL_VERSION }, client: { ...options.client } }, { timeoutMs });
    return { connection, hello };
  } catch (error) {
    connection.close();
    throw error;
  }
}

function openSocket(socketPath: string, timeoutMs: number): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    // The path in the URL is not used (it could not hold every character that a path may have), but the scheme counts: VS Code patches
    // `http` in the extension host to go through proxies, which ignores `createConnection` unless the request is for a unix socket.
    const socket = new WebSocket('ws+unix:/helper:/', SUBPROTOCOL, {
      createConnection: () => net.connect(socketPath),
      perMessageDeflate: false,
      maxPayload: LIMITS.maxMessageBytes,
      handshakeTimeout: timeoutMs,
    });
    socket.once('open', () => {
      socket.off('error', reject);
      resolve(socket);
    });
    socket.once('error', reject);
    socket.once('unexpected-response', (_request, response) => {
      reject(
        new StrataError('PROTOCOL_MISMATCH', `what listens on ${socketPath} is no Strata helper of this version`, {
          details: { httpStatus: response.statusCode ?? 0 },
        }),
      );
      socket.terminate();
    });
  });
}
