// One way to run a child process to its end, with its output in a log file.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { projectDir } from '../paths.mjs';

export class CommandFailed extends Error {
  constructor(command, status, logFile) {
    super(`${command} ended with ${status}`);
    this.name = 'CommandFailed';
    this.logFile = logFile;
  }
}

/** The caller's environment without what npm adds for its own scripts, which would leak into everything we start. */
export function plainEnvironment(extra = {}) {
  const env = { ...process.env };
  for (const key of Object.keys(env)) if (/^npm_|^INIT_CWD$/.test(key)) delete env[key];
  return { ...env, ...extra };
}

/** Runs a command; rejects with CommandFailed unless it exits with 0. Output is appended to `logFile`. */
export function runCommand(command, args, { logFile, cwd = projectDir, env = plainEnvironment() }) {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'a');
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', log, log] });
    closeSync(log);
    const words = [command, ...args].join(' ');
    child.once('error', (error) => reject(new CommandFailed(words, error.message, logFile)));
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(new CommandFailed(words, signal ?? `status ${code}`, logFile));
    });
  });
}

/** The last lines of a log, for a failure's message. */
export function tailOf(logFile, lines = 30) {
  try {
    return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}
