// The browser workbench (code-server) on 127.0.0.1. Whoever may log in to it gets a shell, so it asks for a password
// even on loopback, where every user of the machine can connect.
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { cacheDir, codeServerEntry, nodeBinary, vsixFile } from '../paths.mjs';
import { plainEnvironment, tailOf } from '../setup/runCommand.mjs';
import { writeSettings } from './settingsFile.mjs';

const usualPort = 8713;
const startTimeoutMs = 60_000;
const dataDir = join(cacheDir, 'workbench-data');
const logFile = join(cacheDir, 'logs', 'workbench-server.log');

const firstSettings = { 'workbench.startupEditor': 'none', 'telemetry.telemetryLevel': 'off' };

/** Made once and kept, so that a browser stays logged in. */
function readOrMakePassword() {
  const file = join(dataDir, 'password');
  if (!existsSync(file)) writeFileSync(file, randomBytes(12).toString('base64url'), { mode: 0o600 });
  return readFileSync(file, 'utf8');
}

/** Machine settings are those that a remote window takes for the host it runs on; what a person added stays. */
function writeMachineSettings(socket, startCommand) {
  const file = join(dataDir, 'user-data/Machine/settings.json');
  if (!writeSettings(file, { 'strata.socketPath': socket, 'strata.helper.startCommand': startCommand }))
    throw new Error(`${file} is no settings file any more: mend it, or remove it`);
}

function prepareDataDir() {
  mkdirSync(join(dataDir, 'user-data/User'), { recursive: true, mode: 0o700 });
  mkdirSync(join(dataDir, 'user-data/Machine'), { recursive: true });
  mkdirSync(join(cacheDir, 'logs'), { recursive: true });
  const settings = join(dataDir, 'user-data/User/settings.json');
  if (!existsSync(settings)) writeFileSync(settings, `${JSON.stringify(firstSettings, null, 2)}\n`);
  writeFileSync(join(dataDir, 'config.yaml'), '{}\n'); // else it makes one in ~/.config with a password of its own
}

const locations = [
  ['--config', join(dataDir, 'config.yaml')],
  ['--user-data-dir', join(dataDir, 'user-data')],
  ['--extensions-dir', join(dataDir, 'extensions')],
].flat();

function environment(extra) {
  const env = plainEnvironment(extra);
  // Started in a terminal of VS Code, code-server would hand everything to that window instead of serving.
  for (const key of Object.keys(env)) if (/^(VSCODE_|ELECTRON_|CODE_SERVER_)/.test(key)) delete env[key];
  delete env.PORT;
  return env;
}

function installExtension() {
  const hash = createHash('sha256').update(readFileSync(vsixFile)).digest('hex');
  const stamp = join(dataDir, 'installed-vsix');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  const args = [codeServerEntry, ...locations, '--force', '--install-extension', vsixFile];
  const result = spawnSync(nodeBinary, args, { env: environment(), encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`the extension could not be installed into the workbench:\n${result.stdout}${result.stderr}`);
  writeFileSync(stamp, hash);
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

async function waitForUrl(child) {
  for (const start = Date.now(); Date.now() - start < startTimeoutMs; await delay(100)) {
    if (child.exitCode !== null) break;
    const url = /HTTP server listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(readFileSync(logFile, 'utf8'))?.[1];
    const isHealthy =
      url !== undefined &&
      (await fetch(`${url}/healthz`).then(
        (response) => response.ok,
        () => false,
      ));
    if (isHealthy) return url;
  }
  throw new Error(`the browser workbench did not come up; its log ${logFile} ends with:\n${tailOf(logFile, 15)}`);
}

/** Terminals and extension hosts are in the server's process group. */
function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

async function stopServer(child, ended) {
  signalGroup(child, 'SIGTERM');
  await Promise.race([ended, delay(5000, undefined, { ref: false })]);
  signalGroup(child, 'SIGKILL');
}

export async function openBrowserWorkbench({ socket, startCommand, port }) {
  prepareDataDir();
  writeMachineSettings(socket, startCommand);
  installExtension();
  const password = readOrMakePassword();
  const listenOn = port ?? ((await isFree(usualPort)) ? usualPort : 0);
  const args = [codeServerEntry, ...locations, '--bind-addr', `127.0.0.1:${listenOn}`, '--auth', 'password'];
  args.push('--disable-telemetry', '--disable-update-check', '--disable-getting-started-override', '--disable-proxy');
  const log = openSync(logFile, 'w');
  const env = environment({ PASSWORD: password });
  const child = spawn(nodeBinary, args, { env, stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  const ended = new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(`the browser workbench ended (${signal ?? `status ${code}`}); its log: ${logFile}`));
  });
  const stop = () => stopServer(child, ended);
  try {
    const url = new URL(await waitForUrl(child));
    url.searchParams.set('folder', process.env.INIT_CWD ?? process.cwd());
    return { url: url.href, password, ended, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
