import * as http from 'node:http';
import * as https from 'node:https';
import type { Readable } from 'node:stream';
import { fromNative } from '../../native/errors.ts';
import { StrataError } from '../../protocol/index.ts';
import { plain } from '../imageText.ts';
import type { TlsOptions } from './registrySettings.ts';

/** Of a connection on which nothing moves, and of a request that gets no answer. */
const usualIdleMs = 60_000;
const connectMs = 15_000;
const maxRedirects = 5;
const redirects = new Set([301, 302, 303, 307, 308]);
/** The same request again, with its body (RFC 9110, 15.4). */
const repeatingRedirects = new Set([307, 308]);

export type HttpMethod = 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT';

/** What is sent; opened anew for each try. */
export interface RequestBody {
  readonly sizeBytes: number;
  open(): Readable;
}

export interface HttpRequest {
  readonly method?: HttpMethod;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text holds secrets: it goes to no other origin. */
  readonly body?: string | RequestBody;
  /** How long nothing may move before the request is given up. */
  readonly idleMs?: number;
  /** The origin that our certificates are for; absent: the one that is asked. */
  readonly home?: string;
  readonly signal: AbortSignal;
}

/** Nobody is there, which a second try in a moment does not change. */
const lasting = new Set(['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'NO_CONNECTION']);

/** Nobody answered, or the connection broke. */
export class ConnectionError extends StrataError {
  /** Whether a second try in a moment may work. */
  readonly mayPass: boolean;

  constructor(url: URL, cause: unknown) {
    const why = cause instanceof Error ? cause.message || ('code' in cause ? String(cause.code) : cause.name) : String(cause);
    super('REGISTRY_UNREACHABLE', `${url.host} cannot be reached: ${why}`, { details: { host: url.host }, cause });
    this.mayPass = !(cause instanceof Error && 'code' in cause && (lasting.has(String(cause.code)) || isOfTls(String(cause.code))));
  }
}

/** Requests over http and https with connections that are kept, redirects, and time limits. The status is the caller's to judge. */
export class HttpClient {
  readonly #tls: TlsOptions;
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true, maxSockets: 8 }),
    'https:': new https.Agent({ keepAlive: true, maxSockets: 8 }),
  };

  constructor(tls: TlsOptions) {
    this.#tls = tls;
  }

  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  /** The answer with its body unread. A redirect away from the host loses the authorization, and never leads from https to http. */
  async send(url: URL, request: HttpRequest): Promise<http.IncomingMessage> {
    const home = request.home ?? url.origin;
    let target = url;
    let headers = request.headers ?? {};
    for (let hop = 0; ; hop++) {
      const answer = await this.#exchange(target, { ...request, headers }, target.origin === home);
      const { location } = answer.headers;
      if (!redirects.has(answer.statusCode ?? 0) || location === undefined) return answer;
      answer.resume();
      const next = URL.parse(location, target.href);
      if (hop >= maxRedirects || next === null || !isAllowed(target, next) || !isRepeated(request, answer.statusCode ?? 0, target, next)) {
        throw new StrataError('REGISTRY_FAILED', `${target.host} redirects to where Strata does not follow: ${plain(location)}`);
      }
      if (next.origin !== target.origin) headers = Object.fromEntries(Object.entries(headers).filter(([name]) => !isSecret(name)));
      target = next;
    }
  }

  #exchange(url: URL, request: HttpRequest, isOwn: boolean): Promise<http.IncomingMessage> {
    const { method = 'GET', headers = {}, body = '', idleMs = usualIdleMs, signal } = request;
    const isTls = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const asked = (isTls ? https : http).request(
        url,
        {
          method,
          headers: { 'user-agent': 'strata', ...lengthOf(method, body), ...headers },
          agent: this.#agents[isTls ? 'https:' : 'http:'],
          timeout: idleMs,
          signal,
          // What vouches for a registry says nothing of the storage that it sends us to.
          ...(isTls && isOwn ? this.#tls : {}),
        },
        resolve,
      );
      const late = Object.assign(new Error(`no connection within ${connectMs / 1000} s`), { code: 'NO_CONNECTION' });
      const connecting = setTimeout(() => asked.destroy(late), connectMs);
      asked.once('socket', (socket) => {
        if (!socket.connecting) clearTimeout(connecting);
        else socket.once('connect', () => clearTimeout(connecting));
      });
      asked.once('timeout', () => asked.destroy(new Error(`no answer for ${idleMs / 1000} s`)));
      asked.once('error', (error) => reject(signal.aborted ? cancelled() : new ConnectionError(url, error)));
      asked.once('close', () => clearTimeout(connecting));
      if (typeof body === 'string') asked.end(body);
      else sendBody(asked, body, reject);
    });
  }
}

/** What changes something has a length, also where that is 0: some registries want to hear it. */
function lengthOf(method: HttpMethod, body: string | RequestBody): Record<string, string> {
  if (method === 'GET' || method === 'HEAD') return {};
  return { 'content-length': String(typeof body === 'string' ? Buffer.byteLength(body) : body.sizeBytes) };
}

function sendBody(asked: http.ClientRequest, body: RequestBody, fail: (error: unknown) => void): void {
  const source = body.open();
  source.once('error', (error) => {
    fail(fromNative(error, 'read what is sent'));
    asked.destroy();
  });
  asked.once('close', () => source.destroy());
  asked.once('response', (answer) => {
    // A refusal may come before all is sent, and the rest is of no use then.
    if (!source.readableEnded) answer.once('end', () => asked.destroy());
    else return;
    source.unpipe(asked);
    source.pause();
  });
  source.pipe(asked);
}

function isRepeated({ method = 'GET', body }: HttpRequest, status: number, from: URL, to: URL): boolean {
  if (method === 'GET' || method === 'HEAD') return true;
  return repeatingRedirects.has(status) && (typeof body !== 'string' || from.origin === to.origin);
}

/** Certificates that nobody vouches for, and what speaks no TLS. */
function isOfTls(code: string): boolean {
  return /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|EPROTO)/.test(code);
}

/** Never from https to http, and to nothing else. */
export function isAllowed(from: URL, to: URL): boolean {
  return to.protocol === 'https:' || (to.protocol === 'http:' && from.protocol === 'http:');
}

function isSecret(header: string): boolean {
  return ['authorization', 'cookie'].includes(header.toLowerCase());
}

export function cancelled(): StrataError {
  return new StrataError('CANCELLED', 'the transfer was cancelled');
}

/** A body of at most so many bytes. */
export async function readBody(answer: http.IncomingMessage, mostBytes: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    const bytes = chunk as Buffer; // no encoding is set
    size += bytes.byteLength;
    if (size > mostBytes) {
      answer.destroy();
      throw new StrataError('REGISTRY_FAILED', `the registry sent more than ${mostBytes} bytes where less is due`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}
