import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { SupervisorClient } from '../../helper/containers/supervisorClient.ts';
import { collect, failure, streamOf, until, useStrata } from './support/strata.ts';

const context = useStrata();

/** A container whose supervisor's limit of descriptors the test moves. */
class Tight {
  readonly id: string;
  readonly supervisor: number;
  readonly #atEase: number;
  readonly #sockets: Socket[] = [];

  private constructor(id: string, supervisor: number) {
    this.id = id;
    this.supervisor = supervisor;
    this.#atEase = this.descriptors().length;
  }

  static async start(options: Parameters<typeof context.strata.start>[0] = {}): Promise<Tight> {
    const id = await context.strata.start(options);
    const { supervisorPid } = await context.strata.connection.request('container.inspect', { container: id });
    if (supervisorPid === null) throw new Error('the container has no supervisor');
    return new Tight(id, supervisorPid);
  }

  get socketPath(): string {
    return `${context.strata.place.run}/containers/${this.id}/control.sock`;
  }

  descriptors(): number[] {
    return fs.readdirSync(`/proc/${this.supervisor}/fd`).map(Number);
  }

  /** From now on it can open `free` more. What is free below the highest that is open is taken by clients that say nothing. */
  async leave(free: number): Promise<void> {
    await this.isAtEase();
    const open = this.descriptors();
    const least = Math.max(...open) + 1;
    const limit = Math.max(least, open.length + free);
    this.#limit(limit);
    for (let count = open.length; count < limit - free; count += 1) await this.hold();
    await until(() => this.descriptors().length === limit - free, `all but ${free} descriptors to be used`);
  }

  /** It has closed what is gone. */
  async isAtEase(): Promise<void> {
    await until(() => this.descriptors().length === this.#atEase, 'the supervisor to have closed what it does not need');
  }

  leaveMany(): void {
    this.#limit(1024);
  }

  #limit(descriptors: number): void {
    execFileSync('prlimit', ['--pid', String(this.supervisor), `--nofile=${descriptors}:`]);
  }

  async hold(): Promise<Socket> {
    const socket = connect(this.socketPath);
    socket.on('error', () => {}); // ends with the supervisor
    await once(socket, 'connect'); // with the kernel: nobody need have accepted it
    this.#sockets.push(socket);
    return socket;
  }

  async release(): Promise<void> {
    const open = this.#sockets.splice(0).filter((socket) => !socket.closed);
    await Promise.all(open.map((socket) => once(socket.destroy(), 'close')));
  }

  /** What the scheduler has counted for it, in nanoseconds. */
  #cpuTime(): bigint {
    const [time = ''] = fs.readFileSync(`/proc/${this.supervisor}/schedstat`, 'utf8').split(' ');
    return BigInt(time);
  }

  /** One that spins never comes to rest. */
  async rests(): Promise<void> {
    let before = this.#cpuTime();
    await until(
      () => {
        const now = this.#cpuTime();
        const same = now === before;
        before = now;
        return same;
      },
      'the supervisor to wait for something',
      3000,
    );
  }
}

let tight: Tight | undefined;
afterEach(async () => {
  await tight?.release();
});

describe('a supervisor that has used up its descriptors', () => {
  it('rests, says that there is no room, and serves again when there is', async () => {
    tight = await Tight.start();
    await tight.leave(3);
    for (let count = 0; count < 12; count += 1) await tight.hold();
    await tight.rests();
    await tight.release();
    await tight.leave(0);
    const error = await failure(context.strata.exec(tight.id, ['true']));
    expect(error.code).toBe('TOO_MANY_REQUESTS');
    expect(error.message).toMatch(/too many sessions/);
    tight.leaveMany();
    expect((await context.strata.exec(tight.id, ['echo', 'room'])).stdout).toBe('room\n');
  });

  it('looks at who waits as soon as another one goes, and when its limit is raised', async () => {
    tight = await Tight.start();
    const { socketPath } = tight;
    const greets = async (): Promise<void> => {
      const client = await SupervisorClient.connect(socketPath);
      try {
        await client.request('hello', { version: 1 }, { doing: 'speak to the supervisor' });
      } finally {
        client.close();
      }
    };
    await tight.leave(1);
    const served = await tight.hold();
    const surplus = await tight.hold(); // takes the place in which a client is told that there is none
    const waiting = [failure(greets()), failure(greets())];
    await tight.rests();
    surplus.destroy();
    for (const error of await Promise.all(waiting)) expect(error.code).toBe('TOO_MANY_REQUESTS');
    served.destroy();
    await greets();
    await tight.hold();
    await tight.hold();
    const late = greets();
    await tight.rests();
    tight.leaveMany();
    await late;
  });

  it.each([{ tty: false }, { tty: true }])('refuses an exec as a whole, or does it ($tty)', async ({ tty }) => {
    tight = await Tight.start();
    const { strata } = context;
    const outcomes = new Set<string>();
    for (let free = 0; free < 16; free += 1) {
      await tight.leave(free);
      const command = ['sh', '-c', tty ? 'test -t 0 && echo done' : 'echo done'];
      try {
        const { stream } = await strata.connection.request('container.exec', { container: tight.id, command, tty, stdin: true });
        const { stdout } = await collect(streamOf(strata.connection, stream));
        expect(stdout.trim(), `${free} free`).toBe('done');
        outcomes.add('done');
      } catch (error) {
        expect(String(error), `${free} free`).toMatch(/too many sessions|too many open files/i);
        outcomes.add('refused');
      }
      const { processes } = await strata.connection.request('container.processes', { container: tight.id });
      expect(processes.length, `${free} free`).toBe(1);
      await tight.release();
    }
    await tight.isAtEase();
    expect([...outcomes].sort()).toEqual(['done', 'refused']);
  });

  it('is taken over by the next helper once there is room', async () => {
    tight = await Tight.start();
    const { strata } = context;
    await tight.leave(0);
    await strata.helper.crash();
    for (let count = 0; count < 3; count += 1) await tight.hold(); // in the place of the helper's
    await strata.restart();
    expect((await strata.find(tight.id)).state.kind).toBe('running');
    tight.leaveMany();
    await tight.release();
    await until(() => strata.helper.log.includes('a supervisor answers again'), 'the supervisor to be taken over');
    expect((await strata.exec(tight.id, ['echo', 'alive'])).stdout).toBe('alive\n');
  });

  it('still records the end of its container', async () => {
    tight = await Tight.start({ command: ['sh', '-c', 'trap "exit 7" TERM; while :; do sleep 0.1; done'] });
    await tight.leave(0);
    await tight.hold();
    await tight.hold();
    await context.strata.helper.crash();
    const { supervisor } = tight;
    execFileSync('kill', ['-TERM', fs.readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8').trim()]);
    await until(() => !fs.existsSync(`/proc/${supervisor}`), 'the supervisor to end');
    await context.strata.restart();
    expect((await context.strata.find(tight.id)).state).toMatchObject({ kind: 'exited', exit: { code: 7 } });
  });
});
