import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { until } from './runtime.ts';

/** One that listens at a socket for what the runtime hands to engines: see receive_fd.py. */
export interface Receiver {
  readonly socket: string;
  readonly stdout: () => string;
  readonly ended: Promise<unknown>;
  stop(): Promise<unknown>;
}

export async function receiver(kind: 'pidfd' | 'console' | 'seccomp', socket: string): Promise<Receiver> {
  const script = fileURLToPath(new URL('receive_fd.py', import.meta.url));
  const child = spawn('python3', [script, kind, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  const ended = new Promise((resolve) => child.on('close', resolve));
  await until(() => fs.existsSync(socket), 'the listener');
  return {
    socket,
    stdout: () => stdout,
    ended,
    stop: () => {
      child.kill('SIGKILL');
      return ended;
    },
  };
}
