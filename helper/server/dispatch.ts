import * as z from 'zod';
import type { Logger } from '../log.ts';
import {
  LIMITS,
  type Method,
  type MethodName,
  type MethodResult,
  methods,
  type Params,
  type Role,
  StrataError,
} from '../protocol/index.ts';

/** What dispatch must know of who asks. */
export interface Caller {
  readonly role: Role;
  /** `hello` has been answered. */
  greeted: boolean;
  inFlight: number;
}

export type Handler<C, M extends MethodName> = (
  params: Params<M>,
  caller: C,
  signal: AbortSignal,
) => MethodResult<M> | Promise<MethodResult<M>>;

/** One handler for each method of the protocol: a missing one does not compile. */
export type Handlers<C> = { readonly [M in MethodName]: Handler<C, M> };

const rank: Readonly<Record<Role, number>> = { observe: 0, control: 1 };

/** From a message to a handler: everything between is refused by default. */
export class Dispatcher<C extends Caller> {
  readonly #handlers: Handlers<C>;
  readonly #log: Logger;

  constructor(handlers: Handlers<C>, log: Logger) {
    this.#handlers = handlers;
    this.#log = log;
  }

  /** Answers with the result, or throws the StrataError to answer with. */
  async dispatch(caller: C, name: string, params: unknown, signal: AbortSignal): Promise<unknown> {
    if (!isMethodName(name)) throw new StrataError('UNKNOWN_METHOD', `there is no method "${name.slice(0, 64)}"`);
    if (!caller.greeted && name !== 'hello') {
      throw new StrataError('INVALID_REQUEST', 'the first message of a connection is hello', {
        hint: "Say hello with the protocol's version first.",
      });
    }
    const method: Method = methods[name];
    if (rank[caller.role] < rank[method.role]) {
      throw new StrataError('PERMISSION_DENIED', `${name} needs the role ${method.role}; this connection may only ${caller.role}`);
    }
    if (caller.inFlight >= LIMITS.maxRequestsInFlight) {
      throw new StrataError('TOO_MANY_REQUESTS', `this connection has ${caller.inFlight} requests under way already`);
    }
    caller.inFlight += 1;
    try {
      return await this.#call(caller, name, params, signal);
    } catch (error) {
      throw this.#translate(error, name, signal);
    } finally {
      caller.inFlight -= 1;
    }
  }

  async #call(caller: C, name: MethodName, params: unknown, signal: AbortSignal): Promise<unknown> {
    const parsed = methods[name].params.safeParse(params ?? {});
    if (!parsed.success) throw invalidParams(name, parsed.error);
    // The table ties each handler to the schema under the same name; a lookup by a variable loses that.
    const handler = this.#handlers[name] as Handler<C, MethodName>;
    const { timeoutMs } = methods[name];
    if (timeoutMs === 0) return await handler(parsed.data, caller, signal);
    const timeout = new AbortController();
    const over = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      timeout.abort();
      over.reject(new StrataError('TIMEOUT', `${name} took longer than ${timeoutMs / 1000} s`));
    }, timeoutMs);
    try {
      return await Promise.race([handler(parsed.data, caller, AbortSignal.any([signal, timeout.signal])), over.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #translate(error: unknown, name: MethodName, signal: AbortSignal): StrataError {
    if (error instanceof StrataError) {
      const level = error.code === 'INTERNAL' || error.code === 'RUNTIME_FAILED' ? 'error' : 'debug';
      this.#log[level]({ err: error, method: name, details: error.details }, 'request refused');
      return error;
    }
    if (signal.aborted) return new StrataError('CANCELLED', `${name} was cancelled`);
    this.#log.error({ err: error, method: name }, 'unexpected error');
    return new StrataError('INTERNAL', `${name} met an unexpected error`, { cause: error });
  }
}

function isMethodName(name: string): name is MethodName {
  return Object.hasOwn(methods, name);
}

function invalidParams(name: MethodName, error: z.ZodError): StrataError {
  const issue = error.issues[0];
  const path = issue?.path.join('.') ?? '';
  // The limits' messages have a code of their own on the wire.
  const code = path.split('.').includes('limits') ? 'LIMIT_INVALID' : 'INVALID_REQUEST';
  return new StrataError(code, `${path === '' ? name : path}: ${issue?.message ?? 'the parameters are not valid'}`, {
    details: { method: name, path, issues: z.prettifyError(error).slice(0, 2000) },
  });
}
