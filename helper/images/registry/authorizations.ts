import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import { type RegistryCredentials, StrataError } from '../../protocol/index.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { type HttpClient, readBody } from './http.ts';
import { parseJson, refusalOf } from './refusal.ts';

const maxTokenBytes = 1024 * 1024;

const tokenSchema = z.looseObject({ token: z.string().optional(), access_token: z.string().optional() });

/** What a request may do: distribution's token scopes, "repository:NAME:pull,push". */
export type Scopes = readonly string[];

/** What was refused: the value of the Authorization header that it had, and the challenge that came for it. */
export interface Refused {
  readonly authorization: string | undefined;
  readonly challenge: string;
  readonly what: string;
}

/** Who asks one registry, as values of the Authorization header: one for each set of scopes, asked for when it is first needed. */
export class Authorizations {
  readonly #origin: string;
  readonly #http: HttpClient;
  readonly #credentials: RegistryCredentials | undefined;
  readonly #values = new Map<string, string>();
  readonly #asking = new Map<string, Promise<string>>();
  /** Where the registry takes the password itself, which no scope changes. */
  #basic: string | undefined;

  constructor(origin: string, http: HttpClient, credentials: RegistryCredentials | undefined) {
    this.#origin = origin;
    this.#http = http;
    this.#credentials = credentials;
  }

  of(scopes: Scopes): string | undefined {
    return this.#basic ?? this.#values.get(key(scopes));
  }

  /** After a 401: the first time, or when a token has run out. Several requests that meet it at once ask for one token. */
  async renew(scopes: Scopes, refused: Refused, signal: AbortSignal): Promise<void> {
    if (this.of(scopes) !== refused.authorization) return;
    const name = key(scopes);
    const asking = this.#asking.get(name) ?? this.#ask(scopes, refused, signal);
    this.#asking.set(name, asking);
    try {
      this.#values.set(name, await asking);
    } finally {
      if (this.#asking.get(name) === asking) this.#asking.delete(name);
    }
  }

  denied(what: string): StrataError {
    const { host } = new URL(this.#origin);
    return new StrataError(
      'REGISTRY_DENIED',
      this.#credentials === undefined
        ? `${host} wants to know who you are for ${what}`
        : `${host} does not take these credentials for ${what}`,
      { details: { host } },
    );
  }

  async #ask(scopes: Scopes, { challenge, what }: Refused, signal: AbortSignal): Promise<string> {
    const challenges = parseChallenges(challenge);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer !== undefined) return `Bearer ${await this.#token(bearer, scopes, what, signal)}`;
    if (challenges.some(({ scheme }) => scheme === 'basic') && this.#credentials?.kind === 'password') {
      this.#basic = basic(this.#credentials);
      return this.#basic;
    }
    throw this.denied(what);
  }

  /** Of the token service that the registry names (distribution's token authentication). */
  async #token({ parameters }: Challenge, scopes: Scopes, what: string, signal: AbortSignal): Promise<string> {
    const realm = URL.parse(parameters['realm'] ?? '');
    // Credentials go only where nobody else can read them, unless the registry itself is that open.
    if (realm === null || (realm.protocol !== 'https:' && !this.#origin.startsWith('http:'))) {
      const { host } = new URL(this.#origin);
      throw new StrataError('REGISTRY_FAILED', `${host} names no token service that can be used`, { details: { host } });
    }
    const answer = await this.#askRealm(realm, parameters['service'], scopes, signal);
    const status = answer.statusCode ?? 0;
    if (status === 401 || status === 403) {
      answer.resume();
      throw this.denied(what);
    }
    if (status < 200 || status >= 300) throw await refusalOf(answer, { host: realm.host, what: 'a token', isWrite: false });
    const parsed = tokenSchema.safeParse(parseJson(await readBody(answer, maxTokenBytes)));
    const token = parsed.data?.token ?? parsed.data?.access_token;
    if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) {
      throw new StrataError('REGISTRY_FAILED', `the token service ${realm.host} gave no token`, { details: { host: realm.host } });
    }
    return token;
  }

  async #askRealm(realm: URL, service: string | undefined, scopes: Scopes, signal: AbortSignal): Promise<IncomingMessage> {
    const credentials = this.#credentials;
    const named = service === undefined ? {} : { service };
    if (credentials?.kind === 'identityToken') {
      // OAuth2 has one scope parameter, with spaces between.
      const form = {
        scope: scopes.join(' '),
        ...named,
        grant_type: 'refresh_token',
        client_id: 'strata',
        refresh_token: credentials.token,
      };
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return await this.#http.send(realm, { method: 'POST', headers, body: String(new URLSearchParams(form)), signal });
    }
    for (const scope of scopes) realm.searchParams.append('scope', scope);
    for (const [name, value] of Object.entries(named)) realm.searchParams.append(name, value);
    return await this.#http.send(realm, { headers: credentials === undefined ? {} : { authorization: basic(credentials) }, signal });
  }
}

function key(scopes: Scopes): string {
  return scopes.join(' ');
}

function basic(credentials: Extract<RegistryCredentials, { kind: 'password' }>): string {
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
}
