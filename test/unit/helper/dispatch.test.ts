import { beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../../helper/log.ts';
import { LIMITS, type MethodName, methods, type Role, StrataError } from '../../../helper/protocol/index.ts';
import { type Caller, Dispatcher, type Handlers } from '../../../helper/server/dispatch.ts';
import { roleOf } from '../../../helper/server/peer.ts';

let calls: { method: string; params: unknown }[];
let behave: (signal: AbortSignal) => Promise<unknown>;
let dispatcher: Dispatcher<Caller>;
const never = new AbortController().signal;

beforeEach(() => {
  calls = [];
  behave = () => Promise.resolve({});
  const entries = Object.keys(methods).map((method) => [
    method,
    (params: unknown, _: Caller, signal: AbortSignal) => {
      calls.push({ method, params });
      return behave(signal);
    },
  ]);
  dispatcher = new Dispatcher(Object.fromEntries(entries) as Handlers<Caller>, createLogger('silent')); // one for each method
});

const caller = (role: Role, greeted = true): Caller => ({ role, greeted, inFlight: 0 });
const valid: Partial<Record<MethodName, unknown>> = {
  'container.list': { all: true },
  'container.kill': { container: 'x' },
  'host.info': {},
};
const send = (who: Caller, method: string, params: unknown = valid[method as MethodName] ?? {}, signal = never) =>
  dispatcher.dispatch(who, method, params, signal);

describe('refusals', () => {
  it('of what is no method', async () => {
    for (const name of ['nope', 'toString', '__proto__', 'constructor']) {
      await expect(send(caller('control'), name)).rejects.toMatchObject({ code: 'UNKNOWN_METHOD' });
    }
  });
  it('of anything before hello', async () => {
    await expect(send(caller('control', false), 'host.info')).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    const params = { protocol: { major: 1, minor: 0 }, client: { name: 't', version: '1' } };
    await expect(send(caller('control', false), 'hello', params)).resolves.toEqual({});
  });
  it('of changes by those who may only read, before their parameters are looked at', async () => {
    for (const [name, method] of Object.entries(methods)) {
      if (method.role === 'control')
        await expect(send(caller('observe'), name, 'nonsense')).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    }
    expect(calls).toEqual([]);
    await expect(send(caller('observe'), 'container.list')).resolves.toEqual({});
  });
  it('of parameters that do not fit, naming the field', async () => {
    await expect(send(caller('control'), 'container.list', { all: 1 })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringMatching(/^all:/) as unknown,
    });
    await expect(send(caller('control'), 'container.list', { all: true, more: 1 })).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    const limits = { container: 'x', limits: { memoryMaxBytes: -5 } };
    await expect(send(caller('control'), 'container.update', limits)).rejects.toMatchObject({ code: 'LIMIT_INVALID' });
    expect(calls).toEqual([]);
  });
  it('of too many requests at once', async () => {
    const release = Promise.withResolvers<unknown>();
    behave = () => release.promise;
    const who = caller('control');
    const many = Array.from({ length: LIMITS.maxRequestsInFlight }, () => send(who, 'host.info'));
    await expect(send(who, 'host.info')).rejects.toMatchObject({ code: 'TOO_MANY_REQUESTS' });
    release.resolve({});
    await Promise.all(many);
    await expect(send(who, 'host.info')).resolves.toEqual({});
  });
});

describe('errors', () => {
  it('that are typed go out as they are', async () => {
    behave = () => Promise.reject(new StrataError('NAME_IN_USE', 'taken'));
    await expect(send(caller('control'), 'host.info')).rejects.toMatchObject({ code: 'NAME_IN_USE' });
  });
  it('that nobody expected are INTERNAL and tell nothing of themselves', async () => {
    behave = () => Promise.reject(new TypeError('secret'));
    const error = await send(caller('control'), 'host.info').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'INTERNAL' });
    expect(String(error)).not.toContain('secret');
  });
  it('after a cancellation are CANCELLED', async () => {
    const abort = new AbortController();
    behave = (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
    const pending = send(caller('control'), 'container.wait', { container: 'x' }, abort.signal);
    abort.abort();
    await expect(pending).rejects.toMatchObject({ code: 'CANCELLED' });
  });
  it('leave nothing in flight', async () => {
    behave = () => Promise.reject(new Error('x'));
    const who = caller('control');
    await send(who, 'host.info').catch(() => {});
    expect(who.inFlight).toBe(0);
  });
});

describe('roles', () => {
  const peer = (uid: number, gid: number, groups: number[] = []) => ({ pid: 1, uid, gid, groups });
  it('are control for root, the owner and the group, else observe', () => {
    const rules = { ownerUid: 1000, groupGid: 77 };
    expect(roleOf(peer(0, 0), rules)).toBe('control');
    expect(roleOf(peer(1000, 1000), rules)).toBe('control');
    expect(roleOf(peer(5, 77), rules)).toBe('control');
    expect(roleOf(peer(5, 5, [4, 77]), rules)).toBe('control');
    expect(roleOf(peer(5, 5, [4]), rules)).toBe('observe');
    expect(roleOf(peer(5, 5), { ownerUid: undefined, groupGid: undefined })).toBe('observe');
  });
});
