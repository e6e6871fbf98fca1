import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { Channel } from '../../helper/protocol/index.ts';
import { failure, streamOf, until, useStrata } from './support/strata.ts';

const context = useStrata();

describe('exec', () => {
  it('runs in the container, with its own status and output', async () => {
    const { strata } = context;
    const id = await strata.start({ hostname: 'inside' });
    expect(await strata.exec(id, ['sh', '-c', 'hostname; echo err >&2; exit 5'])).toEqual({
      status: 5,
      stdout: 'inside\n',
      stderr: 'err\n',
    });
    expect((await strata.exec(id, ['cat'], { stdin: 'through' })).stdout).toBe('through');
    expect((await strata.exec(id, ['sh', '-c', 'id -un; echo $X'], { user: 'nobody', env: ['X=1'] })).stdout).toBe('nobody\n1\n');
  });

  it('has the privileges and the cgroup of the container, not of the helper', async () => {
    const { strata } = context;
    const id = await strata.start({ limits: { pidsMax: 50 } });
    const { stdout } = await strata.exec(id, [
      'sh',
      '-c',
      'grep -E "CapEff|Seccomp:|NoNewPrivs" /proc/self/status; ps -o comm | grep -c sleep',
    ]);
    expect(stdout).toBe('CapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n1\n');
    const { processes } = await strata.connection.request('container.processes', { container: id });
    expect(processes.length).toBe(1);
  });

  it('says so when there are too many sessions', async () => {
    const { strata } = context;
    const id = await strata.start();
    const held = Array.from({ length: 64 }, () => connect(`${strata.place.run}/containers/${id}/control.sock`));
    try {
      await Promise.all(held.map((socket) => once(socket, 'connect')));
      const error = await failure(strata.exec(id, ['true']));
      expect(error.code).toBe('TOO_MANY_REQUESTS');
      expect(error.message).toMatch(/too many sessions/);
    } finally {
      await Promise.all(held.map((socket) => once(socket.destroy(), 'close')));
    }
    expect((await strata.exec(id, ['echo', 'room'])).stdout).toBe('room\n');
  });

  it('is a terminal that resizes and takes Ctrl-C', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { exec, stream: streamId } = await strata.connection.request('container.exec', {
      container: id,
      command: ['sh'],
      tty: true,
      stdin: true,
      size: { columns: 80, rows: 24 },
    });
    const stream = streamOf(strata.connection, streamId);
    let screen = '';
    const closed = new Promise<void>((resolve) => {
      stream.consume({
        data: (_channel, bytes) => {
          screen += Buffer.from(bytes).toString();
        },
        closed: () => resolve(),
      });
    });
    const type = (text: string): Promise<void> => stream.write(Channel.stdin, Buffer.from(text));
    await type('stty size\r');
    await until(() => screen.includes('24 80'), 'the first size');
    await strata.connection.request('container.resize', { container: id, exec, size: { columns: 101, rows: 33 } });
    await type('stty size\r');
    await until(() => screen.includes('33 101'), 'the new size');
    await type('sleep 500\r');
    await until(
      async () =>
        (await strata.connection.request('container.processes', { container: id })).processes.some((p) => p.command === 'sleep 500'),
      'sleep',
    );
    await type('\x03');
    await type('echo status $?\r');
    await until(() => screen.includes('status 130'), 'the prompt after Ctrl-C');
    await type('exit\r');
    await closed;
    expect(screen).toContain('^C');
  });

  it('hangs up when its stream is closed', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { stream } = await strata.connection.request('container.exec', { container: id, command: ['sleep', '777'], tty: true });
    const running = async () => (await strata.connection.request('container.processes', { container: id })).processes.length;
    await until(async () => (await running()) === 2, 'the exec session');
    streamOf(strata.connection, stream).close();
    await until(async () => (await running()) === 1, 'the exec session to end');
    expect((await strata.connection.request('container.inspect', { container: id })).execSessions).toEqual([]);
  });

  it('says what is wrong with the command', async () => {
    const { strata } = context;
    const id = await strata.start();
    const missing = await failure(strata.connection.request('container.exec', { container: id, command: ['nonsense'] }));
    expect(missing).toMatchObject({ code: 'COMMAND_NOT_FOUND' });
    expect(missing.message).toContain('nonsense');
    expect((await failure(strata.connection.request('container.exec', { container: id, command: ['/etc/passwd'] }))).code).toBe(
      'COMMAND_NOT_EXECUTABLE',
    );
    expect((await failure(strata.connection.request('container.exec', { container: id, command: ['true'], user: 'who' }))).code).toBe(
      'USER_NOT_FOUND',
    );
    await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    expect((await failure(strata.connection.request('container.exec', { container: id, command: ['true'] }))).code).toBe(
      'CONTAINER_NOT_RUNNING',
    );
  });

  it('does not outlive a client that left before the answer', async () => {
    const { strata } = context;
    const id = await strata.start();
    for (let round = 0; round < 12; round += 1) {
      const client = await strata.helper.connect();
      void client.request('container.exec', { container: id, command: ['sleep', '1000'], tty: true }).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, round));
      client.close();
    }
    const processes = async () => (await strata.connection.request('container.processes', { container: id })).processes;
    // Once one that came later is there and gone, those that came before are, too.
    expect((await strata.exec(id, ['echo', 'later'])).stdout).toBe('later\n');
    await until(async () => (await processes()).length === 1, 'the processes of clients that left to end', 5000);
    expect((await strata.connection.request('container.inspect', { container: id })).execSessions).toEqual([]);
  });

  it('goes on for others while one does not read', async () => {
    const { strata } = context;
    const id = await strata.start();
    await strata.connection.request('container.exec', { container: id, command: ['yes'] });
    expect((await strata.exec(id, ['echo', 'fine'])).stdout).toBe('fine\n');
  });
});
