import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { type RegistryCredentials, StrataError } from '../../protocol/index.ts';
import { plain } from '../imageText.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { ConnectionError, cancelled, HttpClient, readBody } from './http.ts';
import type { Endpoint } from './registrySettings.ts';

const maxTokenBytes = 1024 * 1024;
const maxErrorBytes = 64 * 1024;
/** Retries of what may pass by itself, and the wait before the first of them; it doubles. */
const maxRetries = 4;
const firstWaitMs = 500;
/** A registry that wants us to wait for longer is told to the person instead. */
const longestWaitMs = 30_000;

const tokenSchema = z.looseObject({ token: z.string().optional(), access_token: z.string().optional() });
/** distribution-spec, error codes. */
const errorsSchema = z.looseObject({ errors: z.array(z.looseObject({ code: z.string(), message: z.string().optional() })).min(1) });

/** One registry (or a mirror of it), as distribution-spec has it. Knows who asks, and retries what may pass by itself. */
export class RegistryClient {
  readonly #endpoint: Endpoint;
  readonly #http: HttpClient;
  readonly #credentials: RegistryCredentials | undefined;
  /** By scope: the value of the Authorization header. */
  readonly #authorizations = new Map<string, string>();

  constructor(endpoint: Endpoint, credentials: RegistryCredentials | undefined) {
    this.#endpoint = endpoint;
    this.#http = new HttpClient(endpoint.tls);
    this.#credentials = credentials;
  }

  close(): void {
    this.#http.close();
  }

  get host(): string {
    return new URL(this.#endpoint.origin).host;
  }

  /** Whether somebody answers there, asked once. */
  async isThere(signal: AbortSignal): Promise<boolean> {
    try {
      (await this.#http.send(new URL('/v2/', this.#endpoint.origin), { signal })).resume();
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
    const url = new URL(`/v2/${repository}/${path}`, this.#endpoint.origin);
    const scope = `repository:${repository}:pull`;
    let isAuthorizedAnew = false;
    for (let retries = 0; ; ) {
      let waitMs = firstWaitMs * 2 ** retries;
      let failure: StrataError;
      try {
        const authorization = this.#authorizations.get(scope);
        const answer = await this.#http.send(url, {
          headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
          signal,
        });
        const status = answer.statusCode ?? 0;
        if (status >= 200 && status < 300) return answer;
        if (status === 401 && !isAuthorizedAnew) {
          // The first time, or the token has run out meanwhile.
          isAuthorizedAnew = true;
          answer.resume();
          await this.#authorize(scope, answer.headers['www-authenticate'] ?? '', signal);
          continue;
        }
        // Still, with what it was given.
        if (status === 401) {
          answer.resume();
          throw this.#denied();
        }
        failure = await this.#refusal(answer, what);
        if (status !== 429 && status < 500) throw failure;
        waitMs = Math.max(waitMs, retryAfterMs(answer.headers['retry-after']));
      } catch (error) {
        if (!(error instanceof ConnectionError) || !error.mayPass) throw error;
        failure = error;
      }
      if (retries >= maxRetries || waitMs > longestWaitMs) throw failure;
      retries += 1;
      await this.#wait(waitMs, signal);
    }
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await delay(ms * (0.75 + Math.random() / 2), undefined, { signal });
    } catch {
      throw cancelled();
    }
  }

  async #authorize(scope: string, header: string, signal: AbortSignal): Promise<void> {
    const challenges = parseChallenges(header);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) {
      this.#authorizations.set(scope, `Bearer ${await this.#token(bearer, scope, signal)}`);
    } else if (challenges.some(({ scheme }) => scheme === 'basic') && this.#credentials?.kind === 'password') {
      this.#authorizations.set(scope, basic(this.#credentials));
    } else {
      throw this.#denied();
    }
  }

  /** Of the token service that the registry names (distribution's token authentication). */
  async #token({ parameters }: Challenge, scope: string, signal: AbortSignal): Promise<string> {
    const realm = URL.parse(parameters['realm'] ?? '');
    // Credentials go only where nobody else can read them, unless the registry itself is that open.
    if (realm === null || (realm.protocol !== 'https:' && !this.#endpoint.origin.startsWith('http:'))) {
      throw new StrataError('REGISTRY_FAILED', `${this.host} names no token service that can be used`, { details: { host: this.host } });
    }
    const service = parameters['service'];
    const asked = new URLSearchParams({ scope, ...(service === undefined ? {} : { service }) });
    const credentials = this.#credentials;
    let answer: IncomingMessage;
    if (credentials?.kind === 'identityToken') {
      const body = new URLSearchParams({
        ...Object.fromEntries(asked),
        grant_type: 'refresh_token',
        client_id: 'strata',
        refresh_token: credentials.token,
      });
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      answer = await this.#http.send(realm, { method: 'POST', headers, body: String(body), signal });
    } else {
      for (const [name, value] of asked) realm.searchParams.append(name, value);
      answer = await this.#http.send(realm, { headers: credentials === undefined ? {} : { authorization: basic(credentials) }, signal });
    }
    const status = answer.statusCode ?? 0;
    if (status === 401 || status === 403) throw this.#denied();
    if (status < 200 || status >= 300) throw await this.#refusal(answer, 'a token');
    const parsed = tokenSchema.safeParse(parseJson(await readBody(answer, maxTokenBytes)));
    const token = parsed.data?.token ?? parsed.data?.access_token;
    if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) {
      throw new StrataError('REGISTRY_FAILED', `the token service ${realm.host} gave no token`, { details: { host: realm.host } });
    }
    return token;
  }

  #denied(): StrataError {
    return new StrataError(
      'REGISTRY_DENIED',
      this.#credentials === undefined ? `${this.host} wants to know who you are` : `${this.host} does not take these credentials`,
      { details: { host: this.host } },
    );
  }

  /** Consumes the body: the registry's own words are in it. */
  async #refusal(answer: IncomingMessage, what: string): Promise<StrataError> {
    const status = answer.statusCode ?? 0;
    const said = await saidIn(answer);
    const message = `${this.host} answers ${status} for ${what}${said === '' ? '' : `: ${said}`}`;
    const details = { host: this.host, status };
    if (status === 401 || status === 403) return new StrataError('REGISTRY_DENIED', message, { details });
    if (status === 404) {
      return new StrataError('IMAGE_NOT_FOUND', `${this.host} has no ${what}`, {
        hint: 'Check name and tag; a private repository may need a login: "docker login" makes one that Strata uses, too.',
        details,
      });
    }
    const hint = status === 429 ? 'The registry limits how often it is asked: wait, or log in.' : undefined;
    return new StrataError('REGISTRY_FAILED', message, { hint, details });
  }
}

function basic(credentials: Extract<RegistryCredentials, { kind: 'password' }>): string {
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}

/** In seconds, or a date (RFC 9110, 10.2.3). */
function retryAfterMs(value: string | undefined): number {
  if (value === undefined) return 0;
  const seconds = Number(value);
  const ms = Number.isNaN(seconds) ? Date.parse(value) - Date.now() : seconds * 1000;
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}

async function saidIn(answer: IncomingMessage): Promise<string> {
  try {
    const parsed = errorsSchema.safeParse(parseJson(await readBody(answer, maxErrorBytes)));
    const first = parsed.data?.errors[0];
    if (first === undefined) return '';
    return plain(first.message ?? first.code);
  } catch {
    return '';
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
