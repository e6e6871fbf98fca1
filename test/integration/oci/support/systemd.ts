import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Ran, until } from './runtime.ts';

const script = fileURLToPath(new URL('boot-systemd', import.meta.url));

/** The real systemd as the first process of namespaces and cgroups of its own; the machine's first process has no part in it. */
export class Systemd {
  readonly #child: ChildProcess;
  readonly #cgroup: string;
  #pid = 0;
  #log = '';

  private constructor(cgroup: string) {
    this.#cgroup = cgroup;
    const enter = hierarchies()
      .map((mount) => path.join(mount, cgroup))
      .map(
        (directory) =>
          `${offerControllers(path.dirname(directory))} mkdir -p ${directory}; ${inheritCpuset(directory)} echo $$ > ${directory}/cgroup.procs`,
      )
      .join('; ');
    const unshare = `exec unshare --cgroup unshare --pid --mount --uts --ipc --net --fork --kill-child ${script}`;
    this.#child = spawn('bash', ['-c', `${enter}; ${unshare}`], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream?.on('data', (data: Buffer) => (this.#log += data.toString()));
  }

  static async boot(cgroup: string): Promise<Systemd> {
    const systemd = new Systemd(cgroup);
    try {
      await until(() => systemd.#findPid(), 'the first process of the namespaces', 120_000);
      // v2: who waits outside must not be in the cgroup that systemd hands controllers down from.
      for (const mount of hierarchies()) fs.writeFileSync(path.join(mount, 'cgroup.procs'), String(systemd.#child.pid));
      await until(() => systemd.#findPid() && systemd.run('systemctl', 'is-system-running', '--wait').status === 0, 'systemd', 120_000);
    } catch (error) {
      await systemd.stop();
      throw new Error(`systemd did not start: ${systemd.#log}`, { cause: error });
    }
    return systemd;
  }

  /** Runs a program where systemd lives: in its cgroups too, for v2 lets nobody be moved over the border of a cgroup namespace. */
  run(...command: string[]): Ran {
    const scopes = hierarchies()
      .map((mount) => path.join(mount, this.#cgroup, 'init.scope/cgroup.procs'))
      .filter((file) => fs.existsSync(file));
    const nsenter = `exec nsenter --target ${this.#pid} --mount --pid --cgroup --net --ipc --uts -- "$@"`;
    const enter = [...scopes.map((file) => `echo $$ > ${file}`), nsenter].join('; ');
    const ran = spawnSync('sh', ['-c', enter, 'sh', ...command], { encoding: 'utf8', cwd: '/', timeout: 60_000 });
    return { status: ran.status ?? -1, stdout: ran.stdout, stderr: ran.stderr };
  }

  /** Properties of a unit, as systemctl shows them. */
  show(unit: string, ...names: string[]): Record<string, string> {
    const { stdout } = this.run('systemctl', 'show', unit, ...names.map((name) => `--property=${name}`));
    const pairs = stdout
      .trim()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const);
    return Object.fromEntries(pairs);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.on('exit', resolve));
    if (this.#child.exitCode === null && this.#child.kill('SIGKILL')) await ended;
    for (const mount of hierarchies()) await until(() => removeTree(path.join(mount, this.#cgroup)), `the end of ${mount}${this.#cgroup}`);
  }

  // The namespaces' first process is the child of the unshare that made them.
  #findPid(): boolean {
    const outer = String(this.#child.pid);
    const children = fs.existsSync(`/proc/${outer}`) ? fs.readFileSync(`/proc/${outer}/task/${outer}/children`, 'utf8').trim() : '';
    this.#pid = Number(children.split(' ')[0] ?? 0);
    return this.#pid > 0 && fs.existsSync(`/proc/${this.#pid}/root/run/systemd/private`);
  }
}

function hierarchies(): string[] {
  return fs
    .readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] ?? '');
}

/** v2: the root of the new namespace has what the host's root hands down. */
function offerControllers(root: string): string {
  const file = path.join(root, 'cgroup.controllers');
  if (root !== '/sys/fs/cgroup' || !fs.existsSync(file)) return '';
  const controllers = fs.readFileSync(file, 'utf8').trim().split(' ');
  return controllers.map((name) => `echo +${name} > ${root}/cgroup.subtree_control;`).join(' ');
}

/** v1: nobody may enter a cpuset that has no cpus yet. */
function inheritCpuset(directory: string): string {
  const parent = path.dirname(directory);
  const isV1 = fs.existsSync(path.join(parent, 'cpuset.cpus')) && !fs.existsSync(path.join(parent, 'cgroup.controllers'));
  return isV1 ? ['cpuset.cpus', 'cpuset.mems'].map((file) => `cat ${parent}/${file} > ${directory}/${file};`).join(' ') : '';
}

/** False while somebody is in it still. */
function removeTree(directory: string): boolean {
  try {
    for (const entry of fs.readdirSync(directory, { withFileTypes: true }))
      if (entry.isDirectory()) removeTree(path.join(directory, entry.name));
    fs.rmdirSync(directory);
  } catch {
    return !fs.existsSync(directory);
  }
  return true;
}
