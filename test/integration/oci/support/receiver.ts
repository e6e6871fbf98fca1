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
  // The distribution's before any that a version manager put there: its wrapper takes half a minute in the virtual machine.
  const env = { ...process.env, PATH: `/usr/bin:${process.env['PATH'] ?? ''}` };
  const child = spawn('python3', [script, kind, socket], { stdio: ['ignore', 'pipe', 'inherit'], env });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  const ended = new Promise((resolve) => child.on('close', resolve));
  await until(() => fs.existsSync(socket), 'the listener', 60_000);
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
