// Finds the helper, or starts it as root and waits until it answers.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { cacheDir, distDir, nodeBinary } from '../paths.mjs';
import { asRoot } from '../setup/debianPackages.mjs';
import { plainEnvironment, tailOf } from '../setup/runCommand.mjs';

const readyTimeoutMs = 60_000;
const stopTimeoutMs = 15_000;
/** As JOIN_GROUP_COMMAND of helper/protocol/errors.ts, which plain Node 20 cannot read; a unit test compares them. */
export const joinGroup =
  "join the group 'strata' (sudo groupadd -f --system strata && sudo usermod -aG strata $USER), restart it and log in again";
const paths = ['root', 'run', 'socket'];
const passedOn = [...paths, 'log-level', 'cgroup-parent'];

/** Paths as the person meant them, who is elsewhere than npm, which changes to the checkout before it runs a script. */
export function withAbsolutePaths(options, from = process.env.INIT_CWD ?? process.cwd()) {
  const named = paths.filter((name) => options[name] !== undefined);
  return { ...options, ...Object.fromEntries(named.map((name) => [name, resolve(from, options[name])])) };
}

/** 'answers', 'forbidden' (a helper is there, but not for us) or 'silent'. */
export function probeSocket(path) {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (state) => {
      socket.destroy();
      resolve(state);
    };
    socket.once('connect', () => settle('answers'));
    socket.once('error', (error) => settle(error.code === 'EACCES' ? 'forbidden' : 'silent'));
  });
}

function helperArguments(options) {
  // The person at the keyboard may use the helper even where the group `strata` does not exist.
  const owner = process.env.SUDO_UID ?? String(process.getuid());
  const args = [join(distDir, 'helper.cjs'), '--owner', owner];
  args.push('--runtime', join(distDir, 'strata-runtime'), '--images', join(distDir, 'images'));
  for (const name of passedOn) if (options[name] !== undefined) args.push(`--${name}`, options[name]);
  return args;
}

/** The command line that starts the same helper by hand: what the extension's 'Start Helper' runs in a terminal. */
export function startCommandLine(options) {
  const sudo = process.getuid() === 0 ? [] : ['sudo']; // a terminal can ask for the password
  return [...sudo, nodeBinary, ...helperArguments(options)].map(quoted).join(' ');
}

/** A word as a shell reads it back. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Resolves on the helper's ready line; rejects when it ends or stays silent instead. */
function waitUntilReady(child, logFile, inForeground) {
  return new Promise((resolve, reject) => {
    const explain = (what) => reject(new Error(inForeground ? what : `${what}; its log ${logFile} ends with:\n${tailOf(logFile, 15)}`));
    const timer = setTimeout(() => explain(`the helper was not ready within ${readyTimeoutMs / 1000} s`), readyTimeoutMs);
    child.once('error', (error) => explain(`the helper could not be started: ${error.message}`));
    child.once('exit', (code, signal) => explain(`the helper ended before it was ready (${signal ?? `status ${code}`})`));
    createInterface({ input: child.stdout }).on('line', (line) => {
      console.log(line);
      if (!line.startsWith('stratad ready on ')) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/**
 * Signals the helper. Under sudo the child is sudo, which is root's: only root may signal it, and it passes the signal on.
 */
function terminate(child, sudo) {
  if (sudo.length === 0) child.kill('SIGTERM');
  else spawnSync(sudo[0], [...sudo.slice(1), 'kill', '-TERM', String(child.pid)], { stdio: 'inherit' });
}

async function stopHelper(child, ended, sudo) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  // Ctrl-C in a terminal has reached the whole group, the helper too; then this says it twice, which it does not mind.
  terminate(child, sudo);
  const timeout = new Promise((resolve) => {
    setTimeout(resolve, stopTimeoutMs, 'timeout').unref();
  });
  if ((await Promise.race([ended, timeout])) === 'timeout') {
    console.error(`[start] the helper (pid ${child.pid}) did not end within ${stopTimeoutMs / 1000} s of SIGTERM; it is left alone`);
  }
}

/** @returns {Promise<{socket: string, wasRunning: boolean, ended: Promise<string>, stop: () => Promise<void>}>} */
export async function ensureHelper(options, { inForeground }) {
  const socket = options.socket ?? join(options.run ?? '/run/strata', 'strata.sock');
  const state = await probeSocket(socket);
  if (state !== 'silent') {
    if (state === 'forbidden') console.error(`[start] a helper has ${socket}, but you may not use it: ${joinGroup}`);
    return { socket, wasRunning: true, ended: new Promise(() => {}), stop: async () => {} };
  }
  const sudo = asRoot('the helper');
  const logFile = join(cacheDir, 'logs', 'helper.log');
  mkdirSync(join(cacheDir, 'logs'), { recursive: true });
  const log = inForeground ? 'inherit' : openSync(logFile, 'w');
  if (sudo.length > 0) console.log('[start] the helper makes namespaces and mounts, so it runs as root: starting it through sudo');
  const [command, ...args] = [...sudo, nodeBinary, ...helperArguments(options)];
  // Not detached: sudo finds its terminal (and its remembered password) only in this session.
  const child = spawn(command, args, { env: plainEnvironment(), stdio: ['inherit', 'pipe', log] });
  if (typeof log === 'number') closeSync(log);
  const ended = new Promise((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(`the helper ended (${signal ?? `status ${code}`})${inForeground ? '' : `; its log: ${logFile}`}`),
    );
  });
  const stop = () => stopHelper(child, ended, sudo);
  try {
    await waitUntilReady(child, logFile, inForeground);
  } catch (error) {
    await stop();
    throw error;
  }
  return { socket, wasRunning: false, ended, stop };
}
