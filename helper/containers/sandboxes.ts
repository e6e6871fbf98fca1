import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Logger } from '../log.ts';
import type { Addon } from '../native/addon.ts';
import { fromNative, fromSupervisor, hasCode } from '../native/errors.ts';
import { type ContainerId, containerIdSchema, StrataError } from '../protocol/index.ts';
import { DamagedRecordError, readRecord } from '../store/record.ts';
import type { ContainerFiles } from './containerFiles.ts';
import type { NamespaceType, OciIdMap } from './ociConfig.ts';
import { type SupervisorRecord, supervisorErrorSchema, supervisorFormat } from './record.ts';
import { SupervisorClient, type SupervisorResult } from './supervisorClient.ts';
import { within } from './waiting.ts';

/** A supervisor with an init that waits in its namespaces and cgroups for the container of this id. */
export interface Sandbox {
  readonly id: ContainerId;
  readonly client: SupervisorClient;
  readonly supervisorPid: number;
  /** The helper that made it may have had another parent for its cgroups. */
  readonly cgroup: string;
}

export interface SandboxShape {
  readonly namespaces: readonly NamespaceType[];
  readonly uidMappings?: readonly OciIdMap[] | undefined;
  readonly gidMappings?: readonly OciIdMap[] | undefined;
}

const spawnTimeoutMs = 20_000;
const endsByItselfMs = 5000;

export function newContainerId(): ContainerId {
  return containerIdSchema.parse(randomBytes(16).toString('hex'));
}

/** Makes sandboxes, and takes them away again. */
export class SandboxFactory {
  readonly #addon: Addon;
  readonly #runtime: string;
  readonly #cgroupParent: string;
  readonly #files: ContainerFiles;
  /** A file that supervisors append their steps to. */
  readonly #trace: string | undefined;

  readonly #log: Logger;

  constructor(options: {
    addon: Addon;
    runtime: string;
    cgroupParent: string;
    files: ContainerFiles;
    trace: string | undefined;
    log: Logger;
  }) {
    this.#log = options.log;
    this.#addon = options.addon;
    this.#runtime = options.runtime;
    this.#cgroupParent = options.cgroupParent;
    this.#files = options.files;
    this.#trace = options.trace;
  }

  cgroupOf(id: ContainerId): string {
    return `${this.#cgroupParent}/${id}`;
  }

  /** With its directories. Leaves nothing when it fails. */
  async make(id: ContainerId, shape: SandboxShape): Promise<Sandbox> {
    this.#files.prepare(id);
    try {
      await this.#spawn(id, shape);
      const connecting = this.connect(id);
      const made = await within(connecting, spawnTimeoutMs);
      if (made !== undefined) return made;
      throw new StrataError('RUNTIME_FAILED', 'make the sandbox: its supervisor does not answer');
    } catch (error) {
      await this.#clearAway(id);
      throw error;
    }
  }

  /** A supervisor that comes up late finds its directory gone, and ends. What cannot be cleared away never hides why it must be. */
  async #clearAway(id: ContainerId): Promise<void> {
    try {
      await this.kill(id);
      await this.#files.removeRun(id);
    } catch (error) {
      this.#log.error({ err: error, container: id }, 'cannot clear away a sandbox that could not be made');
    }
  }

  /** Where the cgroups of this id are: as its supervisor has noted, or where they will be made. */
  async cgroupFor(id: ContainerId): Promise<string> {
    return (await this.#readSupervisor(id))?.cgroupPath ?? this.cgroupOf(id);
  }

  /** Whether its supervisor still answers. */
  async answers({ client }: Pick<Sandbox, 'id' | 'client'>, timeoutMs: number): Promise<boolean> {
    try {
      return (await within(client.hello(), timeoutMs)) !== undefined;
    } catch {
      return false;
    }
  }

  /** To the supervisor that serves this id. */
  async connect(id: ContainerId): Promise<Sandbox & { hello: SupervisorResult<'hello'> }> {
    const client = await SupervisorClient.connect(this.#files.paths(id).socket);
    try {
      const answer = await client.hello();
      return { id, client, supervisorPid: answer.supervisor.pid, cgroup: await this.cgroupFor(id), hello: answer };
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Ends a sandbox in which nothing was started, and waits until it is gone. */
  async discard(sandbox: Pick<Sandbox, 'id' | 'client' | 'cgroup'>): Promise<void> {
    const { client } = sandbox;
    // Past the state in which it can be discarded it refuses, and ends by itself.
    client.request('discard', {}, { doing: 'discard a sandbox' }).catch(() => {});
    await this.#whenEnded(sandbox);
  }

  /** The same, unless it has its order already and something may be run in it: then false, and it goes on. */
  async discardIdle(sandbox: Pick<Sandbox, 'id' | 'client' | 'cgroup'>): Promise<boolean> {
    const { client } = sandbox;
    const refused = client.request('discard', {}, { doing: 'discard a sandbox' }).then(
      () => false,
      () => !client.isClosed,
    );
    if ((await within(refused, endsByItselfMs)) === true) return false;
    await this.#whenEnded(sandbox);
    return true;
  }

  async #whenEnded(sandbox: Pick<Sandbox, 'id' | 'client' | 'cgroup'>): Promise<void> {
    const { client } = sandbox;
    const ended = client.closed.then(() => true);
    if ((await within(ended, endsByItselfMs)) === undefined) await this.kill(sandbox.id);
    client.close();
    await this.#addon.destroyCgroup(sandbox.cgroup);
  }

  /** Ends a supervisor that does not answer; its init ends with it, and what init leaves ends with the cgroup. */
  async kill(id: ContainerId): Promise<void> {
    const record = await this.#readSupervisor(id);
    if (record !== undefined && lives(record)) killProcess(record.supervisor.pid);
    await this.#addon.destroyCgroup(record?.cgroupPath ?? this.cgroupOf(id));
  }

  async #readSupervisor(id: ContainerId): Promise<SupervisorRecord | undefined> {
    try {
      return await readRecord(this.#files.paths(id).supervisor, supervisorFormat);
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
      this.#log.error({ err: error, container: id }, 'what a supervisor noted of itself cannot be read');
      return undefined;
    }
  }

  async #spawn(id: ContainerId, shape: SandboxShape): Promise<void> {
    const maps = (flag: string, list: readonly OciIdMap[] = []): string[] =>
      list.flatMap((map) => [flag, `${map.containerID}:${map.hostID}:${map.size}`]);
    const runtimeArguments = [
      'supervise',
      ...['--id', id, '--run-dir', this.#files.paths(id).run, '--cgroup-path', this.cgroupOf(id)],
      ...['--namespaces', shape.namespaces.join(',')],
      ...maps('--uid-map', shape.uidMappings),
      ...maps('--gid-map', shape.gidMappings),
      ...(this.#trace === undefined ? [] : ['--trace', this.#trace]),
    ];
    let ended: { exitCode: number; stderr: string };
    try {
      ended = await this.#addon.runRuntime(this.#runtime, runtimeArguments, { timeoutMs: spawnTimeoutMs });
    } catch (error) {
      throw fromNative(error, `run '${this.#runtime}'`);
    }
    if (ended.exitCode !== 0) throw spawnError(ended);
  }
}

/** Synchronous, so that nothing comes between this look and the signal: a pid alone may be another's by now. */
function lives({ bootId, supervisor }: SupervisorRecord): boolean {
  try {
    if (readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() !== bootId) return false;
    const stat = readFileSync(`/proc/${supervisor.pid}/stat`, 'utf8');
    // proc(5): the name is in parentheses and may hold anything; behind it come field 3 and so on, 22 is the start time.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]) === supervisor.startTime;
  } catch {
    return false; // it has ended
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

/** The runtime's one line of JSON; anything else is told as it is. */
function spawnError(ended: { exitCode: number; stderr: string }): StrataError {
  const line = ended.stderr.trim().split('\n').at(-1) ?? '';
  try {
    const parsed = supervisorErrorSchema.safeParse(JSON.parse(line));
    if (parsed.success) return fromSupervisor(parsed.data, 'make the sandbox');
  } catch {
    // no JSON
  }
  return new StrataError('RUNTIME_FAILED', `the runtime ended with status ${ended.exitCode}: ${line || 'it said nothing'}`);
}
