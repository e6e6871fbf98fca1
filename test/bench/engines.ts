import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { distFile } from '../integration/support/helperProcess.ts';
import { endChild, hybridWrapper, isInstalled } from './contenders.ts';

/** A whole engine with a state of its own, on the bench's file system, with Strata's image as "busybox". */
export interface Engine {
  readonly name: string;
  /** To be followed by the subcommand; the wrapper around it gives the namespaces that all its calls have to share. */
  readonly command: readonly string[];
  readonly wrapper: readonly string[];
  readonly environment: Record<string, string>;
  /** Options of `run` for a container without a network, in a cgroup of the bench's. */
  readonly runOptions: readonly string[];
  /** Removes every container, without a grace time. */
  readonly removeAll: string;
  stop(): Promise<void>;
}

const startMs = 30_000;

/** A dockerd of the bench's own: no bridge, no firewall rules, nothing of the machine's. */
export async function startDocker(directory: string, cgroup: string): Promise<Engine | undefined> {
  // Another command line may come earlier in PATH.
  const client = ['/usr/bin/docker', '/usr/local/bin/docker'].find((file) => fs.existsSync(file));
  if (client === undefined || !isInstalled('dockerd')) return undefined;
  fs.mkdirSync(directory);
  const host = `unix://${directory}/docker.sock`;
  const at = (name: string): string => path.join(directory, name);
  const daemonArguments = ['--host', host, '--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('pid')];
  daemonArguments.push(
    '--bridge',
    'none',
    '--iptables=false',
    '--ip6tables=false',
    '--ip-forward=false',
    '--ip-masq=false',
    '--log-level',
    'error',
  );
  const log = fs.openSync(at('log'), 'w');
  const daemon: ChildProcess = spawn('dockerd', daemonArguments, { stdio: ['ignore', log, log] });
  fs.closeSync(log);
  const environment = { DOCKER_CONFIG: directory };
  const call = (...args: string[]): void => {
    execFileSync(client, ['--host', host, ...args], { env: { ...process.env, ...environment }, stdio: 'pipe' });
  };
  for (const end = Date.now() + startMs; ; ) {
    try {
      call('version');
      break;
    } catch (error) {
      if (daemon.exitCode !== null || Date.now() > end)
        throw new Error(`dockerd does not answer:\n${fs.readFileSync(at('log'), 'utf8')}`, { cause: error });
      await sleep(100);
    }
  }
  call('import', distFile('images/busybox.tar'), 'busybox');
  return {
    name: 'docker',
    command: [client, '--host', host],
    wrapper: [],
    environment,
    runOptions: ['--network', 'none', '--cgroup-parent', cgroup],
    removeAll: `rm -f $('${client}' --host '${host}' ps -aq)`,
    stop: () => endChild(daemon, 'SIGTERM'),
  };
}

export function preparePodman(directory: string, cgroup: string): Engine | undefined {
  if (!isInstalled('podman')) return undefined;
  fs.mkdirSync(directory);
  const at = (name: string): string => path.join(directory, name);
  // Limits of the bench's own process, which a machine without CAP_SYS_RESOURCE cannot raise; no systemd, no journal.
  const engine = '[engine]\nevents_logger="file"\ncgroup_manager="cgroupfs"\n';
  fs.writeFileSync(at('containers.conf'), `[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\n${engine}`);
  fs.writeFileSync(at('config.json'), '{}');
  const environment = { CONTAINERS_CONF: at('containers.conf'), DOCKER_CONFIG: directory };
  const command = ['podman', '--root', at('data'), '--runroot', at('run'), '--tmpdir', at('tmp'), '--storage-driver', 'overlay'];
  execFileSync('podman', [...command.slice(1), 'import', distFile('images/busybox.tar'), 'busybox'], {
    env: { ...process.env, ...environment },
    stdio: 'pipe',
  });
  return {
    name: 'podman',
    command,
    // Its runtime is crun.
    wrapper: hybridWrapper(),
    environment,
    runOptions: ['--network', 'none', '--cgroup-parent', cgroup],
    removeAll: 'rm --all --force --time 0',
    stop: () => Promise.resolve(),
  };
}
