import * as fs from 'node:fs';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { MethodName, Params } from '../../helper/protocol/index.ts';
import { openDescriptors } from './support/leaks.ts';
import { failure, type Strata, until, useStrata } from './support/strata.ts';

const context = useStrata();
const options = { image: 'busybox', command: ['sleep', '1000'] };

async function supervisorOf(strata: Strata, container: string): Promise<number> {
  const { supervisorPid } = await strata.connection.request('container.inspect', { container });
  if (supervisorPid === null) throw new Error('the container has no supervisor');
  return supervisorPid;
}

/** Asks and does not wait; when this resolves the helper knows that nobody waits. */
async function giveUp<M extends MethodName>(strata: Strata, method: M, params: Params<M>): Promise<void> {
  expect((await failure(strata.connection.request(method, params, { timeoutMs: 300 }))).code).toBe('TIMEOUT');
  await strata.connection.request('container.list', { all: true });
}

describe('what was given up', () => {
  it('is not executed when the supervisor goes on', async () => {
    const { strata } = context;
    const id = await strata.start();
    const supervisor = await supervisorOf(strata, id);
    process.kill(supervisor, 'SIGSTOP');
    await giveUp(strata, 'container.exec', { container: id, command: ['touch', '/late'] });
    await giveUp(strata, 'container.exec', { container: id, command: ['touch', '/late'], detach: true });
    const left = strata.connection;
    await strata.reconnect();
    const unheard = strata.connection.request('container.exec', { container: id, command: ['touch', '/late'] }).catch(() => {});
    await strata.reconnect();
    left.close();
    await unheard;
    process.kill(supervisor, 'SIGCONT');
    // One after the other: what was asked before has been looked at when this is answered.
    expect((await strata.exec(id, ['ls', '/late'])).status).toBe(1);
    await until(
      async () => (await strata.connection.request('container.inspect', { container: id })).execSessions.length === 0,
      'no session',
    );
  });

  it('is not started when the supervisor goes on', async () => {
    const { strata } = context;
    const sandboxes = `${strata.place.run}/containers`;
    await strata.sh('true');
    const warm = (): string | undefined => {
      const ids = fs.readdirSync(sandboxes);
      return ids.length === 1 && strata.helper.log.includes(`"sandbox":"${ids[0]}"`) ? ids[0] : undefined;
    };
    await until(() => warm() !== undefined, 'the warm sandbox');
    const { supervisor } = JSON.parse(fs.readFileSync(`${sandboxes}/${warm()}/state.json`, 'utf8')) as { supervisor: { pid: number } };
    process.kill(supervisor.pid, 'SIGSTOP');
    await giveUp(strata, 'container.run', { options: { ...options, name: 'late' } });
    process.kill(supervisor.pid, 'SIGCONT');
    await until(async () => {
      const { containers } = await strata.connection.request('container.list', { all: true });
      return containers.length === 0;
    }, 'the container that nobody waits for to be gone');
    expect(await strata.sh('echo next', { name: 'late' })).toBe('next\n');
  });

  it('keeps no stream and no file', async () => {
    const { strata } = context;
    const id = await strata.start({ tty: true });
    const supervisor = await supervisorOf(strata, id);
    const files = (): string[] => openDescriptors(strata.helper.pid).filter((target) => target.includes(strata.place.root));
    const before = files();
    process.kill(supervisor, 'SIGSTOP');
    const size = { columns: 80, rows: 24 };
    await Promise.all(Array.from({ length: 64 }, () => giveUp(strata, 'container.attach', { container: id, size })));
    process.kill(supervisor, 'SIGCONT');
    await until(() => files().length <= before.length, 'the logs to be closed');
    const { stream } = await strata.connection.request('container.logs', { container: id });
    expect(stream).toBeGreaterThan(64);
  });
});

describe('a request that is refused', () => {
  it('keeps no stream of an upload', async () => {
    const { connection } = context.strata;
    for (let count = 0; count < 65; count += 1) {
      const { stream } = await connection.request('image.openUpload', {});
      connection.stream(stream).consume({ data: () => {} });
      const error = await failure(connection.request('image.import', { source: { kind: 'stream', stream }, reference: 'No Name' }));
      expect(error.code).toBe('REFERENCE_INVALID');
    }
  });

  it('keeps no file of a layer open', async () => {
    const { strata } = context;
    const { connection } = strata;
    const { layers } = await connection.request('layer.stack', { kind: 'image', image: 'busybox' });
    const [layer] = layers;
    if (layer === undefined) throw new Error('the image has no layer');
    await strata.reconnect();
    for (let count = 0; count < 64; count += 1) await strata.connection.request('image.openUpload', {});
    const error = await failure(strata.connection.request('layer.read', { layer: layer.reference, path: '/etc/passwd' }));
    expect(error.code).toBe('TOO_MANY_REQUESTS');
    expect(openDescriptors(strata.helper.pid).filter((target) => target.endsWith('/etc/passwd'))).toEqual([]);
    await strata.reconnect();
  });
});

describe('a supervisor', () => {
  it('whose queue is full is waited for, by the next helper, too', async () => {
    const { strata } = context;
    const id = await strata.start();
    const supervisor = await supervisorOf(strata, id);
    process.kill(supervisor, 'SIGSTOP');
    const path = `${strata.place.run}/containers/${id}/control.sock`;
    const queue: Socket[] = [];
    while (await joins(path, queue));
    expect(queue.length).toBeGreaterThan(0);
    await giveUp(strata, 'container.exec', { container: id, command: ['true'] });
    await strata.helper.crash();
    await strata.restart();
    expect((await strata.find(id)).state.kind).toBe('running');
    process.kill(supervisor, 'SIGCONT');
    for (const socket of queue) socket.destroy();
    await until(() => strata.helper.log.includes('a supervisor answers again'), 'the supervisor to be taken over');
    expect((await strata.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
  });
});

/** False: the queue of the socket is full. */
async function joins(path: string, queue: Socket[]): Promise<boolean> {
  const socket = connect(path);
  const joined = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  });
  if (joined) queue.push(socket);
  socket.on('error', () => {});
  return joined;
}
