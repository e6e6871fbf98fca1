import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as readline from 'node:readline';
import { events, methods } from '../../../helper/protocol/index.ts';
import { connect } from '../../../helper/wire/connect.ts';
import type { Connection } from '../../../helper/wire/connection.ts';

const projectDir = path.resolve(import.meta.dirname, '../../..');
export const distFile = (name: string): string => path.join(projectDir, 'dist', name);

/** The directories and the cgroup that one test helper owns; several live side by side. */
export interface Place {
  readonly directory: string;
  readonly root: string;
  readonly run: string;
  readonly socketPath: string;
  readonly cgroupParent: string;
}

export function makePlace(): Place {
  // Directly below /tmp: a unix socket's path has 108 bytes at most.
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'strata-it-'));
  const run = path.join(directory, 'run');
  return {
    directory,
    root: path.join(directory, 'root'),
    run,
    socketPath: path.join(run, 'strata.sock'),
    cgroupParent: `/strata-test-${path.basename(directory).slice('strata-it-'.length)}`,
  };
}

/** Clients let a newer helper say more than they know; this helper's every answer and event must be what the protocol says. */
function strict(connection: Connection): Connection {
  const request = connection.request.bind(connection);
  connection.request = async (method, params, options) => {
    const result = await request(method, params, options);
    methods[method].result.parse(result);
    return result;
  };
  connection.onEvent((event, params) => void events[event].params.parse(params));
  return connection;
}

/** A real helper, dist/helper.cjs under the product's Node, in a place of its own. */
export class HelperProcess {
  readonly place: Place;
  readonly child: ChildProcess;
  /** What it logged so far; part of every failure's message. */
  log = '';

  private constructor(place: Place, child: ChildProcess) {
    this.place = place;
    this.child = child;
    child.stderr?.on('data', (bytes: Buffer) => {
      this.log += bytes.toString();
    });
  }

  static async start(place: Place, extraArguments: readonly string[] = [], environment: NodeJS.ProcessEnv = {}): Promise<HelperProcess> {
    const args = [distFile('helper.cjs'), '--root', place.root, '--run', place.run, '--socket', place.socketPath];
    // One warm sandbox, whatever the tests do, so that what is left after each is known.
    args.push('--cgroup-parent', place.cgroupParent, '--log-level', 'debug', '--warm', '1', ...extraArguments);
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
    const helper = new HelperProcess(place, child);
    await helper.#ready();
    return helper;
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('the helper was not started');
    return this.child.pid;
  }

  async connect(): Promise<Connection> {
    const client = { name: 'integration-test', version: '0' };
    const { connection } = await connect({ socketPath: this.place.socketPath, client });
    return strict(connection);
  }

  /** Ends it as a service manager would; running containers stay. */
  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  /** Ends it as a crash would. */
  crash(): Promise<void> {
    return this.#end('SIGKILL');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    await exited;
  }

  async #ready(): Promise<void> {
    const { stdout } = this.child;
    if (stdout === null) throw new Error('the helper has no stdout');
    const lines = readline.createInterface({ input: stdout });
    const ready = new Promise<void>((resolve) => {
      lines.on('line', (line) => {
        if (line.startsWith('stratad ready on ')) resolve();
      });
    });
    const exited = once(this.child, 'exit').then(([code]) => {
      throw new Error(`the helper ended with ${code} before it was ready:\n${this.log}`);
    });
    await Promise.race([ready, exited]);
    exited.catch(() => {});
  }
}
