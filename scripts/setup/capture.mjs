// Runs a command and keeps what it says, for checks and suites that show it only when something is wrong.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { inProject, projectDir } from '../paths.mjs';

const graceMs = 10_000;

/** Ends a child that takes too long: politely, so that it can clean up, then for good. */
function endAfter(child, timeoutMs, onTimeout) {
  if (timeoutMs === undefined) return;
  const polite = setTimeout(() => {
    onTimeout();
    child.kill('SIGTERM');
  }, timeoutMs);
  const final = setTimeout(() => child.kill('SIGKILL'), timeoutMs + graceMs);
  child.once('close', () => {
    clearTimeout(polite);
    clearTimeout(final);
  });
}

/**
 * Never rejects: a command that could not start has status 127 and its error as output. With `logFile` the output can be
 * followed while it runs.
 */
export function capture(command, args, { env = process.env, cwd = projectDir, logFile, timeoutMs } = {}) {
  // The tools of npm start with `#!/usr/bin/env node`; they want the product's Node, not the system's.
  const path = `${inProject('node_modules/.bin')}:${env.PATH}`;
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env: { ...env, PATH: path }, stdio: ['ignore', 'pipe', 'pipe'] });
    const log = logFile === undefined ? undefined : createWriteStream(logFile);
    let output = '';
    const keep = (chunk) => {
      output += chunk;
      log?.write(chunk);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    endAfter(child, timeoutMs, () => keep(`\n'${command}' took longer than ${timeoutMs / 60_000} minutes and was ended\n`));
    const settle = (status) => {
      log?.end();
      resolve({ status, output });
    };
    child.once('error', (error) => {
      keep(error.message);
      settle(127);
    });
    child.once('close', (code, signal) => settle(code ?? signal));
  });
}
