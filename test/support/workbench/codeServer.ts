import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { codeServerEntry, nodeBinary, projectDir } from '../../../scripts/paths.mjs';

const startTimeoutMs = 90_000;
const stopTimeoutMs = 10_000;

/** How to start one. Everything it writes, HOME included, is below `dataDir`. */
export interface CodeServerOptions {
  readonly dataDir: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string>>;
  /** Server, extension host and terminals run as this user and the group of the same number. */
  readonly uid?: number;
}

const homeOf = (dataDir: string) => join(dataDir, 'home');

/** HOME must be private: extension hosts and terminals read and write far more of it than the flags redirect. */
function environment(dataDir: string, extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const home = homeOf(dataDir);
  const env: NodeJS.ProcessEnv = { ...process.env };
  // Inside a terminal of VS Code, code-server would hand everything to that window; the rest would change what is tested.
  for (const key of Object.keys(env)) {
    if (/^(VSCODE_|ELECTRON_|CODE_SERVER_|npm_|VITEST)|^(PORT|PASSWORD|HASHED_PASSWORD|NODE_OPTIONS|NODE_ENV)$/.test(key)) delete env[key];
  }
  return {
    ...env,
    HOME: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_DATA_HOME: join(home, '.local/share'),
    XDG_CACHE_HOME: join(home, '.cache'),
    XDG_RUNTIME_DIR: join(dataDir, 'run'),
    EXTENSIONS_GALLERY: '{"serviceUrl":""}', // no marketplace, hence nothing of the network in a test
    ...extra,
  };
}

const locations = (dataDir: string) => [
  ...['--config', join(dataDir, 'config.yaml')],
  ...['--user-data-dir', join(dataDir, 'user-data')],
  ...['--extensions-dir', join(dataDir, 'extensions')],
];

function giveTo(path: string, uid: number): void {
  lchownSync(path, uid, uid);
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) giveTo(join(path, name), uid);
}

/** The project may lie where only root may go: the user gets it from a place of its own, in a mount namespace of its own. */
function asUser(uid: number, dataDir: string, command: readonly string[]): string[] {
  const seen = join(dataDir, 'project');
  mkdirSync(seen, { recursive: true });
  const moved = command.map((word) => (word.startsWith(`${projectDir}/`) ? join(seen, word.slice(projectDir.length)) : word));
  const script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';
  const user = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', projectDir, seen, ...user, ...moved];
}

function prepare({ dataDir, settings }: CodeServerOptions): void {
  for (const folder of ['home', 'run', 'user-data/User', 'user-data/Machine', 'extensions'])
    mkdirSync(join(dataDir, folder), { recursive: true });
  chmodSync(join(dataDir, 'run'), 0o700);
  writeFileSync(join(dataDir, 'config.yaml'), '{}\n');
  // Twice: a setting of machine scope counts only where the host keeps it, all others where the user does.
  for (const scope of ['User', 'Machine'])
    writeFileSync(join(dataDir, 'user-data', scope, 'settings.json'), JSON.stringify(settings, null, 2));
}

/** Processes that were started with this data directory's HOME: also terminals, which have sessions of their own. */
function processesOf(dataDir: string): number[] {
  const mark = `\0HOME=${homeOf(dataDir)}\0`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return `\0${readFileSync(`/proc/${name}/environ`, 'utf8')}`.includes(mark);
      } catch {
        return false; // gone, or a kernel thread
      }
    })
    .map(Number);
}

function killQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

/** One private code-server on 127.0.0.1. The system picks the port; it is read from the server's log. */
export class CodeServer {
  #url = '';
  readonly #child: ChildProcess;
  readonly #dataDir: string;
  readonly #killOnExit: () => void;

  static async start(options: CodeServerOptions): Promise<CodeServer> {
    const { dataDir, env, uid } = options;
    prepare(options);
    if (uid !== undefined) giveTo(dataDir, uid);
    const args = [codeServerEntry, ...locations(dataDir), '--bind-addr', '127.0.0.1:0', '--auth', 'none'];
    args.push('--disable-telemetry', '--disable-update-check', '--disable-workspace-trust', '--disable-getting-started-override');
    args.push('--disable-proxy', '--ignore-last-opened');
    const log = openSync(join(dataDir, 'code-server.log'), 'w');
    // A process group of its own, so that all of it can be ended at once.
    const [program = '', ...words] = uid === undefined ? [nodeBinary, ...args] : asUser(uid, dataDir, [nodeBinary, ...args]);
    const child = spawn(program, words, { env: environment(dataDir, env), cwd: dataDir, stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    const server = new CodeServer(child, dataDir);
    try {
      await server.#waitUntilHealthy();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  private constructor(child: ChildProcess, dataDir: string) {
    this.#child = child;
    this.#dataDir = dataDir;
    this.#killOnExit = () => this.#killAll();
    process.once('exit', this.#killOnExit);
  }

  get url(): string {
    return this.#url;
  }

  log(): string {
    return readFileSync(join(this.#dataDir, 'code-server.log'), 'utf8');
  }

  /** VS Code reports success when an extension host dies under it; only the server's log tells. */
  extensionHostDeaths(): string[] {
    const exits = this.log().matchAll(/Extension Host Process exited with code: (\w+), signal: (\w+)/g);
    return [...exits].filter(([, code, signal]) => code !== '0' || signal !== 'null').map(([line]) => line);
  }

  async stop(): Promise<void> {
    if (this.#hasExited()) {
      this.#killAll();
    } else {
      const ended = new Promise((resolve) => {
        this.#child.once('exit', resolve);
      });
      if (this.#child.pid !== undefined) killQuietly(-this.#child.pid, 'SIGTERM');
      await Promise.race([ended, delay(stopTimeoutMs, undefined, { ref: false })]);
      this.#killAll();
    }
    process.off('exit', this.#killOnExit);
  }

  #hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #killAll(): void {
    if (this.#child.pid !== undefined) killQuietly(-this.#child.pid, 'SIGKILL');
    for (const pid of processesOf(this.#dataDir)) killQuietly(pid, 'SIGKILL');
  }

  async #waitUntilHealthy(): Promise<void> {
    for (const start = Date.now(); Date.now() - start < startTimeoutMs; await delay(50)) {
      if (this.#hasExited()) throw new Error(`code-server ended at once:\n${this.log()}`);
      const url = /HTTP server listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(this.log())?.[1];
      if (url === undefined) continue;
      const isHealthy = await fetch(`${url}/healthz`).then(
        (response) => response.ok,
        () => false,
      );
      if (!isHealthy) continue;
      this.#url = url;
      return;
    }
    throw new Error(`code-server was not healthy within ${startTimeoutMs} ms:\n${this.log()}`);
  }
}

/** Installs a packed extension; the server need not run. */
export function installVsix(options: CodeServerOptions, vsix: string): void {
  prepare(options);
  const args = [codeServerEntry, ...locations(options.dataDir), '--force', '--install-extension', vsix];
  const result = spawnSync(nodeBinary, args, { env: environment(options.dataDir, {}), encoding: 'utf8', timeout: 180_000 });
  if (result.status !== 0) throw new Error(`'${vsix}' could not be installed (${result.status}):\n${result.stdout}\n${result.stderr}`);
}

export function removeDataDir(dataDir: string): void {
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
}
