import type { IncomingMessage } from 'node:http';
import { type RegistryCredentials, StrataError } from '../../protocol/index.ts';
import { Authorizations, type Scopes } from './authorizations.ts';
import { ConnectionError, HttpClient, type HttpMethod, type RequestBody } from './http.ts';
import { refusalOf } from './refusal.ts';
import type { Endpoint } from './registrySettings.ts';
import { Retries } from './retries.ts';

export interface RegistryRequest {
  readonly method?: HttpMethod;
  readonly scopes: Scopes;
  /** For messages: what is asked for, or to be changed. */
  readonly what: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** How long to wait for the answer where nothing moves. */
  readonly idleMs?: number;
  readonly signal: AbortSignal;
}

/** One registry (or a mirror of it), as distribution-spec has it. Knows who asks, and retries what may pass by itself. */
export class RegistryClient {
  /** As URLs have it: one host has many spellings. */
  readonly #origin: string;
  readonly #http: HttpClient;
  readonly #authorizations: Authorizations;

  constructor(endpoint: Endpoint, credentials: RegistryCredentials | undefined) {
    this.#origin = new URL(endpoint.origin).origin;
    this.#http = new HttpClient(endpoint.tls);
    this.#authorizations = new Authorizations(this.#origin, this.#http, credentials);
  }

  close(): void {
    this.#http.close();
  }

  get host(): string {
    return new URL(this.#origin).host;
  }

  /** Of something below /v2/. */
  url(repository: string, path: string): URL {
    return new URL(`/v2/${repository}/${path}`, this.#origin);
  }

  /** Whether somebody answers there, asked once. */
  async isThere(signal: AbortSignal): Promise<boolean> {
    try {
      (await this.#http.send(new URL('/v2/', this.#origin), { signal })).resume();
      return true;
    } catch (error) {
      if (error instanceof ConnectionError) return false;
      throw error;
    }
  }

  /** A successful answer to a GET below /v2/, its body unread; `what` is for messages. */
  async get(
    repository: string,
    path: string,
    { what, headers = {}, signal }: { what: string; headers?: Readonly<Record<string, string>>; signal: AbortSignal },
  ): Promise<IncomingMessage> {
    return await this.request(this.url(repository, path), { what, headers, signal, scopes: [`repository:${repository}:pull`] });
  }

  /** A successful answer, its body unread. Only for what may be asked twice. */
  async request(url: URL, asked: RegistryRequest): Promise<IncomingMessage> {
    const retries = new Retries(asked.signal);
    for (;;) {
      try {
        return await this.requestOnce(url, asked);
      } catch (error) {
        await retries.next(error);
      }
    }
  }

  /** The same for what is not tried again as a whole, but when the registry wants to know anew who asks. */
  async requestOnce(url: URL, asked: RegistryRequest): Promise<IncomingMessage> {
    const { method = 'GET', scopes, what, headers, body, idleMs, signal } = asked;
    // Where else a registry sends us is no place for credentials.
    const isOwn = url.origin === this.#origin;
    for (let isAuthorizedAnew = false; ; isAuthorizedAnew = true) {
      const authorization = isOwn ? this.#authorizations.of(scopes) : undefined;
      const answer = await this.#http.send(url, {
        method,
        headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
        ...(body === undefined ? {} : { body }),
        ...(idleMs === undefined ? {} : { idleMs }),
        home: this.#origin,
        signal,
      });
      const status = answer.statusCode ?? 0;
      if (status >= 200 && status < 300) return answer;
      if (status !== 401 || !isOwn) throw await refusalOf(answer, { host: url.host, what, isWrite: method !== 'GET' && method !== 'HEAD' });
      answer.resume();
      // Still, with what it was given.
      if (isAuthorizedAnew) throw this.#authorizations.denied(what);
      await this.#authorizations.renew(scopes, { authorization, challenge: answer.headers['www-authenticate'] ?? '', what }, signal);
    }
  }
}

/** The registry itself, never a mirror, by the first of its addresses where somebody answers. */
export async function reachRegistry(
  endpoints: readonly Endpoint[],
  credentials: RegistryCredentials | undefined,
  signal: AbortSignal,
): Promise<RegistryClient> {
  const own = endpoints.filter(({ isMirror }) => !isMirror);
  for (const [index, endpoint] of own.entries()) {
    const client = new RegistryClient(endpoint, credentials);
    let isReached = false;
    try {
      // What is wrong with the last the request itself tells best.
      isReached = index === own.length - 1 || (await client.isThere(signal));
    } finally {
      if (!isReached) client.close();
    }
    if (isReached) return client;
  }
  throw new StrataError('INTERNAL', 'no address of the registry is known');
}
