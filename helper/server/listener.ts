import { chmodSync, chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import { connect, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Logger } from '../log.ts';
import { fromNative, hasCode } from '../native/errors.ts';
import { LIMITS, StrataError, SUBPROTOCOL } from '../protocol/index.ts';
import type { AccessRules } from './peer.ts';

/** Called for each WebSocket that was opened, with the socket below it. */
export type OnConnection = (webSocket: WebSocket, socket: Socket) => void;

/** The helper's unix socket: HTTP only as far as the WebSocket handshake. */
export class Listener {
  readonly #path: string;
  readonly #server: Server;
  readonly #webSockets: WebSocketServer;
  readonly #log: Logger;
  #listening = false;

  constructor(options: { path: string; log: Logger; onConnection: OnConnection }) {
    this.#path = options.path;
    this.#log = options.log;
    this.#webSockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: LIMITS.maxMessageBytes,
      handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    this.#server = createServer((_, response) => {
      response.writeHead(426, { 'content-type': 'text/plain', upgrade: 'websocket' });
      response.end(`This is Strata's helper; it speaks ${SUBPROTOCOL} over WebSocket.\n`);
    });
    this.#server.on('upgrade', (request, socket, head) => {
      // A server on a unix socket is only ever given net.Sockets.
      this.#upgrade(request, socket as Socket, head, options.onConnection);
    });
  }

  /** Takes the place of a socket that a dead helper left; a live one is an error. */
  async listen(access: AccessRules): Promise<void> {
    await this.#clearStale();
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o755 });
    // Made where nobody else can come (mkdtemp's 0700), whatever the umask is, and put in its place as it shall be.
    const making = mkdtempSync(join(dirname(this.#path), '.'));
    const made = join(making, 's');
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', (error) => reject(fromNative(error, `listen on ${this.#path}`)));
        this.#server.listen(made, resolve);
      });
      chownSync(made, access.ownerUid ?? 0, access.groupGid ?? 0);
      chmodSync(made, access.groupGid === undefined ? 0o600 : 0o660);
      renameSync(made, this.#path);
      this.#listening = true;
    } finally {
      rmSync(making, { recursive: true });
    }
  }

  /** No new connections; those that are open are closed with "going away". */
  async close(): Promise<void> {
    for (const client of this.#webSockets.clients) client.close(1001, 'the helper ends');
    if (!this.#listening) return;
    // While it still listens: no other helper can have taken the place. Node would remove it under the name it was made by.
    rmSync(this.#path, { force: true });
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    // A client that does not answer its close is not waited for.
    const timer = setTimeout(() => {
      for (const client of this.#webSockets.clients) client.terminate();
    }, 500);
    await closed;
    clearTimeout(timer);
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer, onConnection: OnConnection): void {
    socket.on('error', () => {}); // ws takes over after the handshake
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (!offered.includes(SUBPROTOCOL)) {
      refuse(socket, 400, `this helper speaks ${SUBPROTOCOL}\n`);
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      try {
        onConnection(webSocket, socket);
      } catch (error) {
        this.#log.error({ err: error }, 'a connection cannot be served');
        webSocket.close(1011, 'the helper met an unexpected error');
      }
    });
  }

  async #clearStale(): Promise<void> {
    const outcome = await new Promise<'live' | 'stale' | 'absent' | Error>((resolve) => {
      const probe = connect(this.#path);
      probe.once('connect', () => {
        probe.destroy();
        resolve('live');
      });
      probe.once('error', (error) => {
        if (hasCode(error, 'ECONNREFUSED')) resolve('stale');
        else resolve(hasCode(error, 'ENOENT') ? 'absent' : error);
      });
    });
    if (outcome === 'live') {
      throw new StrataError('INTERNAL', `another helper listens on ${this.#path} already`, {
        hint: 'Stop it first, or choose another socket with --socket or --run.',
        details: { path: this.#path },
      });
    }
    if (outcome instanceof Error) throw fromNative(outcome, `look at ${this.#path}`);
    if (outcome === 'stale') unlinkSync(this.#path);
  }
}

function refuse(socket: Socket, status: number, text: string): void {
  const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, 'connection: close', `content-length: ${Buffer.byteLength(text)}`];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
}
