import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { until } from './command.ts';

/** An engine's daemon, started by hand and ended by pid. Its output goes to a file, which a failure shows the end of. */
export class Daemon {
  readonly #words: readonly string[];
  readonly #logFile: string;
  #child: ChildProcess | undefined;

  constructor(words: readonly string[], logFile: string) {
    this.#words = words;
    this.#logFile = logFile;
  }

  async start(isReady: () => Promise<boolean>): Promise<void> {
    const [program, ...args] = this.#words;
    if (program === undefined) throw new Error('no command');
    const log = fs.openSync(this.#logFile, 'a');
    // Only what Debian would give it: no proxy or client setting of ours.
    const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' };
    const child = spawn(program, args, { stdio: ['ignore', log, log], env, cwd: '/' });
    fs.closeSync(log);
    this.#child = child;
    try {
      await until(async () => {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
        return await isReady();
      }, 'the daemon');
    } catch (error) {
      throw new Error(`${this.#words.join(' ')}: ${String(error)}\n${this.log().slice(-3000)}`);
    }
  }

  log(): string {
    return fs.readFileSync(this.#logFile, 'utf8');
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}
