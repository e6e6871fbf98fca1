import * as fs from 'node:fs';
import * as path from 'node:path';
import { beforeAll, describe, expect } from 'vitest';
import { SupervisorClient, type SupervisorEvent } from '../../../helper/containers/supervisorClient.ts';
import { within } from '../../../helper/containers/waiting.ts';
import { StrataError } from '../../../helper/protocol/index.ts';
import { requires } from '../../support/requires.ts';
import { buildInjector, ServedFaults, sweep } from './support/faults.ts';
import { type Config, runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });
let injector = '';

beforeAll(() => {
  injector = buildInjector(context.runtime.directory);
});

/** What a process must not lack, whatever failed on its way: its filter, its capabilities, its cgroups. */
const looksAtItself = ['/bin/sh', '-c', 'grep -E "^(Seccomp|NoNewPrivs|Cap|Uid|Gid|Groups)" /proc/self/status; cat /proc/self/cgroup'];
const plain = (): void => {};
const waits = ['/bin/sleep', '1000'];

const namespaces = ['mount', 'pid', 'network', 'uts', 'ipc', 'cgroup'];

/** What a client was told; lost: its connection went. */
type Answer = { readonly kind: 'done' | 'lost'; readonly text: string } | { readonly kind: 'refused'; readonly text: string };

/** Not when it is only still to be reaped by the host's init. */
function lives(pid: number): boolean {
  try {
    return !/\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** A supervisor whose calls can be made to fail, and a client as the helper is one. */
class Supervised {
  readonly directory: string;
  readonly faults: ServedFaults;
  readonly pid: number;
  readonly #config: Config;
  #client: SupervisorClient;
  readonly #events: SupervisorEvent[] = [];
  #descriptors = 0;

  private constructor(directory: string, config: Config, faults: ServedFaults, client: SupervisorClient) {
    this.directory = directory;
    this.faults = faults;
    this.#config = config;
    const state = JSON.parse(fs.readFileSync(path.join(directory, 'run/state.json'), 'utf8')) as { supervisor: { pid: number } }; // docs/supervisor.md
    this.pid = state.supervisor.pid;
    this.#client = client;
    this.#listen();
  }

  /** The sandbox stands, and no call has failed yet. */
  static async start(args: readonly string[]): Promise<Supervised> {
    const { runtime } = context;
    const configs: Config[] = [];
    const directory = runtime.bundle('', (config) => {
      Object.assign(config.process, { args });
      config.linux.namespaces = namespaces.map((type) => ({ type }));
      // One of each kind of step.
      config.mounts = config.mounts.filter(({ destination }) => !['/dev/shm', '/dev/mqueue', '/sys/fs/cgroup'].includes(destination));
      config.mounts.push({ destination: '/mnt/bound', source: runtime.directory, options: ['rbind', 'ro'] });
      Object.assign(config.linux, {
        maskedPaths: ['/proc/keys', '/proc/scsi'],
        readonlyPaths: ['/proc/sys'],
        resources: { memory: { limit: 1 << 30 }, pids: { limit: 100 }, devices: [{ allow: true, access: 'rwm' }] },
        seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['reboot'], action: 'SCMP_ACT_ERRNO' }] },
      });
      configs.push(config);
    });
    const [config] = configs;
    if (config === undefined) throw new Error('a bundle has a config');
    const id = path.basename(directory);
    for (const name of ['run', 'upper', 'work']) fs.mkdirSync(path.join(directory, name));
    const stderr = path.join(directory, 'stderr');
    const file = fs.openSync(stderr, 'w');
    const place = ['--id', id, '--run-dir', path.join(directory, 'run'), '--cgroup-path', `${runtime.cgroupParent}/${id}`];
    const command = [runtimeBinary, 'supervise', ...place, '--namespaces', namespaces.join()];
    const faults = new ServedFaults(injector, command, file);
    fs.closeSync(file);
    expect(await faults.ended, fs.readFileSync(stderr, 'utf8')).toBe(0);
    return new Supervised(directory, config, faults, await Supervised.#connect(directory));
  }

  static async #connect(directory: string): Promise<SupervisorClient> {
    const client = await SupervisorClient.connect(path.join(directory, 'run/control.sock'));
    await client.request('hello', { version: 1 }, { doing: 'speak to the supervisor' });
    return client;
  }

  /** False: it has ended. */
  async reconnect(): Promise<boolean> {
    this.#client.close();
    try {
      this.#client = await Supervised.#connect(this.directory);
    } catch {
      return false;
    }
    this.#listen();
    return true;
  }

  #listen(): void {
    this.#client.onEvent((event) => void this.#events.push(event));
  }

  async #answerTo(asked: Promise<unknown>): Promise<Answer> {
    try {
      const answer = await within(
        asked.then(() => 'done'),
        10_000,
      );
      return answer === undefined ? { kind: 'lost', text: 'no answer' } : { kind: 'done', text: answer };
    } catch (error) {
      if (!(error instanceof StrataError)) throw error;
      return { kind: this.#client.isClosed ? 'lost' : 'refused', text: error.message };
    }
  }

  async run(): Promise<Answer> {
    const { directory } = this;
    const overlay = { lower: [context.runtime.rootfs], upper: `${directory}/upper`, work: `${directory}/work`, volatile: true };
    const exit = { path: `${directory}/exit.json`, durable: false };
    const params = { config: this.#config, overlay, log: `${directory}/log`, exit, openStdin: true };
    return await this.#answerTo(this.#client.request('run', params, { doing: 'run' }));
  }

  async kill(): Promise<Answer> {
    return await this.#answerTo(this.#client.request('kill', { signal: 9 }, { doing: 'kill' }));
  }

  async discard(): Promise<Answer> {
    return await this.#answerTo(this.#client.request('discard', {}, { doing: 'discard' }));
  }

  /** What a process that came in sees of itself, or why it was refused. */
  async exec(terminal: boolean): Promise<Answer> {
    const output: Uint8Array[] = [];
    let session = 0;
    const ended: string[] = [];
    const process = { ...this.#config.process, args: looksAtItself, terminal };
    const client = this.#client;
    const answer = await this.#answerTo(
      client.request(
        'exec',
        { process, attachStdin: true },
        {
          doing: 'exec',
          onResult: (result) => {
            session = result.session;
            client.openSession(session, {
              output: async (_, bytes) => {
                output.push(bytes);
              },
              ended: (channel) => void ended.push(channel),
            });
          },
        },
      ),
    );
    if (answer.kind !== 'done') return answer;
    const hasEnded = (): boolean =>
      client.isClosed ||
      (ended.length === (terminal ? 1 : 2) && this.#events.some((said) => said.event === 'execExited' && said.session === session));
    await until(hasEnded, 'the end of what was executed');
    return client.isClosed ? { kind: 'lost', text: '' } : { kind: 'done', text: Buffer.concat(output).toString().replaceAll('\r', '') };
  }

  /** docs/supervisor.md: 16 bytes, the first four a number of bytes that follow. */
  output(): string {
    const log = fs.readFileSync(`${this.directory}/log`);
    const pieces: Buffer[] = [];
    for (let at = 0; at < log.length; ) {
      const end = at + 16 + log.readUInt32LE(at);
      pieces.push(log.subarray(at + 16, end));
      at = end;
    }
    return Buffer.concat(pieces).toString();
  }

  exit(): unknown {
    const file = `${this.directory}/exit.json`;
    return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : undefined;
  }

  #left(): string[] {
    return [
      ...context.runtime.directoriesOfCgroup(path.basename(this.directory)),
      ...fs.readdirSync(path.join(this.directory, 'run')),
      ...(lives(this.pid) ? ['the supervisor'] : []),
    ];
  }

  /** The supervisor has ended, and cleaned up. */
  async isGone(after: string): Promise<void> {
    await until(() => this.#left().length === 0, `the end of the supervisor after ${after}`).catch((error: unknown) => {
      expect(this.#left(), String(error)).toEqual([]);
    });
  }

  /** As isGone, or the supervisor was killed, and all processes with it; what it has left is for who finds it. */
  async isOver(after: string): Promise<void> {
    await until(() => !lives(this.pid), `the end of the supervisor after ${after}`);
    if (!fs.existsSync(path.join(this.directory, 'run/control.sock'))) {
      await this.isGone(after);
      return;
    }
    const removed = (directory: string): boolean => {
      try {
        fs.rmdirSync(directory);
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ENOENT';
      }
      return true;
    };
    const cgroups = (): string[] => context.runtime.directoriesOfCgroup(path.basename(this.directory));
    await until(() => cgroups().every(removed), `the end of all processes after ${after}`);
  }

  /** What may be there between two requests: init alone, and no descriptor more than before. */
  async isAtEase(after: string): Promise<void> {
    const counts = (): [number, number] => [
      fs.readdirSync(`/proc/${this.pid}/fd`).length,
      fs.readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim().split(' ').length,
    ];
    if (this.#descriptors === 0) [this.#descriptors] = counts();
    const expected = [this.#descriptors, 1];
    await until(() => counts().join() === expected.join(), `the supervisor to have cleared away after ${after}`).catch((error: unknown) => {
      expect(counts(), String(error)).toEqual(expected);
    });
  }
}

/** Only the connection depends on them, and a client makes a new one. */
const connection = /^(sendto|recvfrom|accept4)/;
/** What can be done without, in another way, or again. */
const optional =
  /^(prlimit64|prctl|keyctl|setsid|setns|clone3|fchownat|memfd_create|seccomp|epoll_ctl|sendto|recvmsg|fsconfig volatile|openat2? \/proc\/self\/oom_score_adj|write (\/memfd:seccomp|\/proc\/[0-9]+\/oom_score_adj)|-)/;
/** PR_CAPBSET_READ: a capability that cannot be asked for is not given. */
const lessens = /^prctl 23/;

function judge(answer: Answer, hit: string, what: string): void {
  if (answer.kind === 'done') expect(hit, what).toMatch(optional);
  if (answer.kind === 'lost') expect(hit, what).toMatch(connection);
  if (answer.kind === 'refused') {
    expect(answer.text, what).toMatch(/.{10,}/);
    expect(answer.text, what).not.toMatch(/broken pipe/i); // why the other stage ended, not that it did
  }
}

describe('a supervisor', () => {
  test('of which any call fails in a start leaves nothing, and says what failed', { timeout: 60_000 }, async () => {
    const untouched = await Supervised.start(looksAtItself);
    expect(await untouched.run()).toMatchObject({ kind: 'done' });
    await untouched.isGone('its end');
    const expected = untouched.output();
    expect(expected).toMatch(/^Seccomp:\t2$/m);
    const calls = await sweep(1, plain, async (_, at) => {
      const supervised = await Supervised.start(looksAtItself);
      await supervised.faults.arm(at, '5');
      const answer = await supervised.run();
      const { hit } = await supervised.faults.arm(0, '0');
      const what = `call ${at} (${hit}): ${answer.kind}, ${answer.text}`;
      judge(answer, hit, what);
      // Where the connection was lost the order may or may not have been heard.
      if (answer.kind === 'refused' || (answer.kind === 'lost' && (await supervised.reconnect()))) await supervised.discard();
      await supervised.isGone(what);
      if (answer.kind === 'done') {
        expect(supervised.exit(), what).toMatchObject({ code: 0 });
        if (!lessens.test(hit)) expect(supervised.output(), what).toBe(expected);
      }
      return hit !== '-';
    });
    expect(calls).toBeGreaterThan(100);
  });

  test('of which any process is killed in a start takes the others with it', { timeout: 60_000 }, async () => {
    const calls = await sweep(1, plain, async (_, at) => {
      const supervised = await Supervised.start(waits);
      await supervised.faults.arm(at, 'kill');
      const answer = await supervised.run();
      const { hit } = await supervised.faults.arm(0, '0');
      const what = `call ${at} (${hit}): ${answer.kind}, ${answer.text}`;
      await (answer.kind === 'refused' ? supervised.discard() : supervised.kill());
      await supervised.isOver(what);
      return hit !== '-';
    });
    expect(calls).toBeGreaterThan(100);
  });

  test.each([{ terminal: false }, { terminal: true }])(
    'of which any call fails in an exec goes on as it was (terminal: $terminal)',
    { timeout: 60_000 },
    async ({ terminal }) => {
      const places: Supervised[] = [];
      const place = async (): Promise<Supervised> => {
        const supervised = await Supervised.start(waits);
        expect(await supervised.run()).toMatchObject({ kind: 'done' });
        await supervised.isAtEase('its start');
        places.push(supervised);
        return supervised;
      };
      const expected = (await (await place()).exec(terminal)).text;
      expect(expected).toMatch(/^Seccomp:\t2$/m);
      const calls = await sweep(1, place, async (supervised, at) => {
        await supervised.faults.arm(at, '5');
        const answer = await supervised.exec(terminal);
        const { hit } = await supervised.faults.arm(0, '0');
        const what = `call ${at} (${hit}): ${answer.kind}, ${answer.text}`;
        judge(answer, hit, what);
        if (answer.kind === 'done' && !lessens.test(hit)) expect(answer.text, what).toBe(expected);
        if (answer.kind === 'lost') expect(await supervised.reconnect(), what).toBe(true);
        await supervised.isAtEase(what);
        return hit !== '-';
      });
      expect(calls).toBeGreaterThan(40);
      for (const supervised of places) {
        expect(await supervised.exec(terminal)).toMatchObject({ kind: 'done', text: expected });
        await supervised.kill();
        await supervised.isGone('its end');
        expect(supervised.exit()).toMatchObject({ code: null, signal: 9 });
      }
    },
  );
});
