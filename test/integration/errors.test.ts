import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { CreateOptions, ErrorCode } from '../../helper/protocol/index.ts';
import { connect } from '../../helper/wire/connect.ts';
import { HelperProcess } from './support/helperProcess.ts';
import { failure, useStrata } from './support/strata.ts';

const context = useStrata();

describe('what cannot be run', () => {
  it.each<[Partial<CreateOptions>, ErrorCode, string]>([
    [{ image: 'nosuch' }, 'IMAGE_NOT_FOUND', 'nosuch'],
    [{ image: 'Not A Name' }, 'REFERENCE_INVALID', 'Not A Name'],
    [{ name: '-x' }, 'INVALID_REQUEST', 'name'],
    [{ user: 'ghost' }, 'USER_NOT_FOUND', 'ghost'],
    [{ command: ['nonsense'] }, 'COMMAND_NOT_FOUND', 'nonsense'],
    [{ command: ['/etc/passwd'] }, 'COMMAND_NOT_EXECUTABLE', '/etc/passwd'],
    [{ capAdd: ['CAP_NONSENSE'] }, 'INVALID_REQUEST', 'CAP_NONSENSE'],
    [{ env: ['no-equals-sign'] }, 'INVALID_REQUEST', 'env'],
    [{ stopSignal: 'SIGNONSENSE' }, 'INVALID_REQUEST', 'SIGNONSENSE'],
  ])('%j', async (options, code, named) => {
    const { connection } = context.strata;
    const error = await failure(
      connection.request('container.run', { options: { image: 'busybox', command: ['true'], autoRemove: true, ...options } }),
    );
    expect(error.code).toBe(code);
    expect(error.message).toContain(named);
    expect(error.hint.length).toBeGreaterThan(10);
  });

  it('leaves a container with status 127 or 126, as shells say it', async () => {
    const { strata } = context;
    const missing = await strata.connection.request('container.create', { options: { image: 'busybox', command: ['nonsense'] } });
    expect((await failure(strata.connection.request('container.start', { container: missing.id }))).code).toBe('COMMAND_NOT_FOUND');
    expect((await strata.find(missing.id)).state).toMatchObject({ kind: 'exited', exit: { code: 127 } });
    const refused = await strata.connection.request('container.create', { options: { image: 'busybox', command: ['/etc/passwd'] } });
    expect((await failure(strata.connection.request('container.start', { container: refused.id }))).code).toBe('COMMAND_NOT_EXECUTABLE');
    expect((await strata.find(refused.id)).state).toMatchObject({ kind: 'exited', exit: { code: 126 } });
  });
});

describe('clients', () => {
  it('of another major version are told to update', async () => {
    const { strata } = context;
    const error = await failure(
      strata.connection.request('hello', { protocol: { major: 99, minor: 0 }, client: { name: 'future', version: '9' } }),
    );
    expect(error.code).toBe('PROTOCOL_MISMATCH');
    expect(error.message).toMatch(/99/);
  });

  it('that send nonsense get INVALID_REQUEST with the field, and the connection goes on', async () => {
    const { strata } = context;
    // @ts-expect-error a client that does not keep to the types
    const error = await failure(strata.connection.request('container.inspect', { container: 5 }));
    expect(error).toMatchObject({ code: 'INVALID_REQUEST' });
    expect(error.message).toContain('container');
    // @ts-expect-error a method that does not exist
    expect((await failure(strata.connection.request('container.explode', {}, { timeoutMs: 5000 }))).code).toBe('UNKNOWN_METHOD');
    expect((await strata.connection.request('container.list', { all: true })).containers).toEqual([]);
  });

  it('meet ECONNREFUSED or ENOENT where nobody listens', async () => {
    const client = { name: 'test', version: '0' };
    await expect(connect({ socketPath: `${context.strata.place.run}/other.sock`, client })).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('a second helper', () => {
  it('refuses to share the directories of the first', async () => {
    await expect(HelperProcess.start(context.strata.place)).rejects.toThrow(/already|in use|another helper/i);
    expect((await context.strata.connection.request('host.info', {})).cgroup.controllers).toContain('memory');
  });

  it('replaces a socket that nobody listens on', async () => {
    const { strata } = context;
    await strata.helper.crash();
    expect(fs.existsSync(strata.place.socketPath)).toBe(true);
    await strata.restart();
    expect(await strata.sh('echo again')).toBe('again\n');
  });
});
