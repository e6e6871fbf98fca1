import { spawn } from 'node:child_process';

export interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  readonly holdsInput?: boolean; // open to the end: what it is must not come to an end
  readonly timeoutMs?: number;
}

/** A command to its end; one that hangs is killed and has the status null. */
export function runToEnd(words: readonly string[], options: CommandOptions = {}): Promise<Ran> {
  const [program, ...args] = words;
  if (program === undefined) throw new Error('no command');
  const child = spawn(program, args, {
    env: { ...process.env, ...options.env },
    cwd: options.cwd ?? '/',
    timeout: options.timeoutMs ?? 25_000,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  child.stderr.on('data', (bytes: Buffer) => {
    stderr += bytes.toString();
  });
  child.stdin.on('error', () => {}); // it need not read
  if (options.holdsInput !== true) child.stdin.end(options.input ?? '');
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    // Its end, not that of its streams: what it left running may hold them.
    child.on('exit', (status) => {
      setImmediate(() => {
        if (child.stdout.readableEnded && child.stderr.readableEnded) resolve({ status, stdout, stderr });
        const patience = setTimeout(() => resolve({ status, stdout, stderr }), 500);
        child.on('close', () => {
          clearTimeout(patience);
          resolve({ status, stdout, stderr });
        });
      });
    });
  });
}

/** The same where it has to succeed: what it printed. */
export async function outputOf(words: readonly string[], options: CommandOptions = {}): Promise<string> {
  const ran = await runToEnd(words, options);
  if (ran.status !== 0) throw new Error(`${words.join(' ')} ended with ${ran.status}:\n${ran.stderr}${ran.stdout}`);
  return ran.stdout;
}

/** On a terminal of 30 lines of 90 columns: what a person would see. */
export async function onTerminal(words: readonly string[], options: CommandOptions = {}): Promise<Ran> {
  const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const ran = await runToEnd(['script', '-qec', `stty rows 30 cols 90 -echo; ${quoted}`, '/dev/null'], { ...options, holdsInput: true });
  return { ...ran, stdout: ran.stdout.replace(/\r+\n/g, '\n') };
}

/** Until `condition` holds: engines do not say when they have come somewhere. */
export async function until(condition: () => boolean | Promise<boolean>, what: string, patienceMs = 20_000): Promise<void> {
  const deadline = Date.now() + patienceMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${patienceMs / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
