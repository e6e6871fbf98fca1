import * as fs from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeSupervisorFrame, SupervisorFrameReader } from '../../helper/containers/supervisorFrames.ts';
import { distFile } from './support/helperProcess.ts';
import { failure, useStrata } from './support/strata.ts';

const context = useStrata();

/** A runtime whose supervisors speak the version before. */
function olderRuntime(): string {
  const path = join(context.strata.place.directory, 'older-runtime');
  const runtime = distFile('strata-runtime');
  fs.writeFileSync(path, `#!/bin/sh\nif [ "$1" = supervise ]; then exec '${runtime}' "$@" --wire 1; fi\nexec '${runtime}' "$@"\n`, {
    mode: 0o755,
  });
  return path;
}

/** Asks a supervisor what a helper of any version might. */
async function ask(
  container: string,
  method: string,
  params: object,
): Promise<{ result?: Record<string, unknown>; error?: { code: string } }> {
  const socket = connect(`${context.strata.place.run}/containers/${container}/control.sock`);
  const reader = new SupervisorFrameReader();
  try {
    return await new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.on('data', (chunk) => {
        const frame = reader.push(chunk).find(({ type }) => type === 2);
        if (frame !== undefined) resolve(JSON.parse(Buffer.from(frame.payload).toString()) as Awaited<ReturnType<typeof ask>>); // the test looks at it
      });
      socket.write(encodeSupervisorFrame({ type: 1, session: 0, payload: Buffer.from(JSON.stringify({ id: 1, method, params })) }));
    });
  } finally {
    socket.destroy();
  }
}

describe('a supervisor of the version before', () => {
  it('is taken over, and says itself what it cannot do', async () => {
    const { strata } = context;
    await strata.helper.stop();
    await strata.restart(['--runtime', olderRuntime()]);
    const id = await strata.start({ openStdin: true, healthcheck: { test: ['CMD', 'true'], intervalMs: 100 } });
    expect((await ask(id, 'hello', { version: 1, maxVersion: 2 })).result).toMatchObject({ version: 1 });
    expect((await ask(id, 'sessions', {})).error?.code).toBe('INVALID_REQUEST');
    await strata.helper.crash();
    await strata.restart();
    const found = await strata.find(id);
    expect(found.state.kind).toBe('running');
    expect(found.limitations).toContain('its health is not checked');
    expect((await strata.exec(id, ['echo', 'works'])).stdout).toBe('works\n');
    const refused = await failure(strata.connection.request('container.exec', { container: id, command: ['true'], detach: true }));
    expect(refused.code).toBe('FEATURE_MISSING');
    expect(refused.hint).toMatch(/Restart the container/);
    expect((await strata.connection.request('exec.list', {})).sessions).toEqual([]);
    const inspected = await strata.connection.request('container.inspect', { container: id });
    expect(inspected.execSessions).toEqual([]);
    expect(inspected).not.toHaveProperty('health');
    expect(inspected.limitations).toContain('its health is not checked');
    expect(inspected.limitations).toContain('its log is not rotated and grows without bound');
    const { exit } = await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    expect(exit.reason).toBe('killed by SIGKILL');
    await strata.connection.request('container.start', { container: id });
    expect(await strata.connection.request('container.inspect', { container: id })).toMatchObject({
      health: { status: 'starting' },
      limitations: [],
    });
    expect(await strata.find(id)).not.toHaveProperty('limitations');
    expect(await strata.cli(['exec', '-d', id, 'sleep', '505'])).toMatchObject({ status: 0 });
  });
});

describe('a supervisor', () => {
  it('settles on the greatest version that both speak', async () => {
    const { strata } = context;
    const id = await strata.start();
    expect((await ask(id, 'hello', { version: 1 })).result).toMatchObject({ version: 1 });
    expect((await ask(id, 'hello', { version: 1, maxVersion: 2 })).result).toMatchObject({
      version: 2,
      features: ['execEnds', 'execSessions', 'logRotation', 'signalNotes'],
    });
    expect((await ask(id, 'hello', { version: 2, maxVersion: 9 })).result).toMatchObject({ version: 2 });
    expect((await ask(id, 'hello', { version: 3, maxVersion: 9 })).error?.code).toBe('INVALID_REQUEST');
    expect((await ask(id, 'hello', { version: 0 })).error?.code).toBe('INVALID_REQUEST');
    expect((await ask(id, 'hello', { version: 2, maxVersion: 1 })).error?.code).toBe('INVALID_REQUEST');
  });
});
