import type { IncomingMessage } from 'node:http';
import * as z from 'zod';
import { type ErrorCode, StrataError } from '../../protocol/index.ts';
import { plain } from '../imageText.ts';
import { ConnectionError, readBody } from './http.ts';

const maxErrorBytes = 64 * 1024;

/** distribution-spec, error codes. */
const errorsSchema = z.looseObject({ errors: z.array(z.looseObject({ code: z.string(), message: z.string().optional() })).min(1) });

/** What was asked of whom, for messages. */
export interface Question {
  readonly host: string;
  readonly what: string;
  /** Whether something was to be changed there. */
  readonly isWrite: boolean;
}

/** An answer that is a refusal, in the registry's own words. */
export class RegistryRefusal extends StrataError {
  readonly status: number;
  /** distribution-spec's, the first that it names; '' where it names none. */
  readonly registryCode: string;
  /** How long the registry wants to be left alone; 0: it does not say. */
  readonly retryAfterMs: number;

  constructor(code: ErrorCode, message: string, { hint, ...answer }: { hint: string | undefined } & AnswerFacts) {
    super(code, message, { hint, details: { host: answer.host, status: answer.status } });
    this.status = answer.status;
    this.registryCode = answer.registryCode;
    this.retryAfterMs = answer.retryAfterMs;
  }

  /** Whether a second try in a moment may work. */
  get mayPass(): boolean {
    return this.status === 408 || this.status === 429 || (this.status >= 500 && this.status !== 501);
  }
}

interface AnswerFacts {
  readonly host: string;
  readonly status: number;
  readonly registryCode: string;
  readonly retryAfterMs: number;
}

/** Of an error that a second try in a moment may not meet: how long to wait for it at least. Undefined: it would. */
export function passingAfterMs(error: unknown): number | undefined {
  if (error instanceof ConnectionError) return error.mayPass ? 0 : undefined;
  if (error instanceof RegistryRefusal) return error.mayPass ? error.retryAfterMs : undefined;
  return undefined;
}

/** Consumes the body: the registry's own words are in it. */
export async function refusalOf(answer: IncomingMessage, question: Question): Promise<RegistryRefusal> {
  const { host, what, isWrite } = question;
  const status = answer.statusCode ?? 0;
  const { code: registryCode, text } = await saidIn(answer);
  const facts = { host, status, registryCode, retryAfterMs: retryAfterMs(answer.headers['retry-after']) };
  if (!isWrite && status === 404) {
    const hint = 'Check name and tag; a private repository may need a login: "docker login" makes one that Strata uses, too.';
    return new RegistryRefusal('IMAGE_NOT_FOUND', `${host} has no ${what}`, { hint, ...facts });
  }
  const message = `${host} answers ${status} for ${what}${text === '' ? '' : `: ${text}`}`;
  return new RegistryRefusal(codeOf(status, registryCode), message, { hint: hintOf(status, registryCode, isWrite), ...facts });
}

function codeOf(status: number, registryCode: string): ErrorCode {
  if (status === 401 || status === 403) return 'REGISTRY_DENIED';
  if (registryCode === 'NAME_INVALID') return 'REFERENCE_INVALID';
  return 'REGISTRY_FAILED';
}

function hintOf(status: number, registryCode: string, isWrite: boolean): string | undefined {
  if (status === 429) return 'The registry limits how often it is asked: wait, or log in.';
  if (registryCode === 'NAME_INVALID') return 'The registry does not take this name: "strata tag" gives the image another.';
  if (!isWrite) return undefined;
  if (status === 401 || status === 403)
    return 'Log in as somebody who may push there: "docker login HOST" or "podman login HOST" is used by Strata, too.';
  if (status === 404) return 'The registry may want the repository to be made first.';
  if (status === 405) return 'The registry takes no pushes: it may be read-only, or a mirror.';
  if (status === 413)
    return 'The registry, or a proxy in front of it, limits how much may be sent at once: its administrator can raise that.';
  return undefined;
}

/** In seconds, or a date (RFC 9110, 10.2.3). */
export function retryAfterMs(value: string | undefined): number {
  if (value === undefined) return 0;
  const seconds = Number(value);
  const ms = Number.isNaN(seconds) ? Date.parse(value) - Date.now() : seconds * 1000;
  return Number.isNaN(ms) ? 0 : Math.max(0, ms);
}

/** distribution-spec's JSON, or a line of plain text; pages of proxies tell people nothing. */
async function saidIn(answer: IncomingMessage): Promise<{ code: string; text: string }> {
  try {
    const bytes = await readBody(answer, maxErrorBytes);
    const first = errorsSchema.safeParse(parseJson(bytes)).data?.errors[0];
    if (first !== undefined) return { code: plain(first.code), text: plain(first.message ?? first.code) };
    const isText = answer.headers['content-type']?.startsWith('text/plain') === true;
    return { code: '', text: isText ? plain(new TextDecoder().decode(bytes)) : '' };
  } catch {
    return { code: '', text: '' };
  }
}

export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
