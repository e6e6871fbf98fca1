import * as z from 'zod';
import { containerReferenceSchema } from '../ids.ts';
import type { Role } from '../model/host.ts';

/** A message of the wire: what it is for, what it takes and gives, who may send it, and how long it may take (0: no bound, cancel it instead). */
export interface Method<P extends z.ZodType = z.ZodType, R extends z.ZodType = z.ZodType> {
  readonly doc: string;
  readonly role: Role;
  readonly timeoutMs: number;
  readonly params: P;
  readonly result: R;
}

export function method<P extends z.ZodType, R extends z.ZodType>(definition: Method<P, R>): Method<P, R> {
  return definition;
}

export const SHORT_MS = 30_000;
export const LONG_MS = 0;

export const empty = z.strictObject({});
export const container = z.strictObject({ container: containerReferenceSchema });
