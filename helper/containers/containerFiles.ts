import { chmodSync, existsSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import type { Addon } from '../native/addon.ts';
import { fromNative, hasCode } from '../native/errors.ts';
import type { ContainerId } from '../protocol/index.ts';
import { isTemporaryName, syncDirectory } from '../store/atomicFile.ts';
import type { ContainerPaths, Layout } from '../store/layout.ts';
import { DamagedRecordError, readRecord, writeRecordDurable, writeRecordVolatile } from '../store/record.ts';
import { defaultHostname } from './plan.ts';
import {
  type ContainerRecord,
  containerFormat,
  type HealthRecord,
  healthFormat,
  type RestartOrder,
  restartFormat,
  restartOrderFormat,
  type StartedRecord,
  startedFormat,
} from './record.ts';
import { NO_RESTARTS, type RestartHistory } from './restartPolicy.ts';

/** Directories and files of containers. A container directory without a record is one that is being made, or was when somebody died. */
export class ContainerFiles {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #log: Logger;
  /** For /etc/resolv.conf. */
  readonly #resolvConf: string;

  constructor(options: { layout: Layout; addon: Addon; log: Logger; resolvConf: string }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#log = options.log;
    this.#resolvConf = options.resolvConf;
  }

  async open(): Promise<void> {
    await mkdir(this.#layout.containers, { recursive: true, mode: 0o700 });
    await mkdir(this.#layout.runContainers, { recursive: true, mode: 0o700 });
  }

  paths(id: ContainerId): ContainerPaths {
    return this.#layout.container(id);
  }

  /** Everything that needs no more than the id. May be repeated. */
  prepare(id: ContainerId): void {
    const paths = this.paths(id);
    try {
      makeDirectory(paths.state, 0o700);
      // Once it is there it is the container's "/", with the mode that the container gave it.
      if (!existsSync(paths.upper)) makeDirectory(paths.upper, 0o755);
      makeDirectory(paths.work, 0o700);
      makeDirectory(paths.init, 0o755);
      for (const name of ['dev', 'etc', 'proc', 'sys']) makeDirectory(join(paths.init, name), 0o755);
      this.#writeEtc(paths, 'resolv.conf', this.#resolvConf);
      this.setHostname(id, defaultHostname(id));
      makeDirectory(paths.run, 0o700);
    } catch (error) {
      throw fromNative(error, `make the directories of container ${id.slice(0, 12)}`);
    }
  }

  setHostname(id: ContainerId, hostname: string): void {
    const paths = this.paths(id);
    this.#writeEtc(paths, 'hostname', `${hostname}\n`);
    const hosts = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', `127.0.1.1\t${hostname}`];
    this.#writeEtc(paths, 'hosts', `${hosts.join('\n')}\n`);
  }

  /** Durable unless a reboot would remove the container anyway. */
  async writeRecord(record: ContainerRecord): Promise<void> {
    const path = this.paths(record.id).record;
    try {
      if (record.options.autoRemove === true) {
        writeRecordVolatile(path, containerFormat, record);
        return;
      }
      await writeRecordDurable(path, containerFormat, record);
      await syncDirectory(this.#layout.containers);
    } catch (error) {
      throw fromNative(error, `write the record of container "${record.name}"`);
    }
  }

  writeStarted(id: ContainerId, started: StartedRecord): void {
    try {
      writeRecordVolatile(this.paths(id).started, startedFormat, started);
    } catch (error) {
      this.#log.warn({ err: error, container: id }, 'cannot note the time of the start');
    }
  }

  writeHealth(id: ContainerId, record: HealthRecord): void {
    try {
      writeRecordVolatile(this.paths(id).health, healthFormat, record);
    } catch (error) {
      this.#log.warn({ err: error, container: id }, 'cannot note the health of a container');
    }
  }

  /** One that cannot be read says nothing: the next check does. */
  async readHealth(id: ContainerId): Promise<HealthRecord | undefined> {
    try {
      return await readRecord(this.paths(id).health, healthFormat);
    } catch (error) {
      this.#log.warn({ err: error, container: id }, 'what was known of the health of a container is lost');
      return undefined;
    }
  }

  /** Durable: that a person stopped it holds after a power loss, too. Nothing to remember needs no file. */
  async writeRestarts(id: ContainerId, history: RestartHistory): Promise<void> {
    const { state, restarts } = this.paths(id);
    if (history.count > 0 || history.shortRuns > 0 || history.stoppedByPerson) {
      await writeRecordDurable(restarts, restartFormat, history);
    } else if (existsSync(restarts)) {
      await rm(restarts, { force: true });
      await syncDirectory(state);
    }
  }

  /** One that is damaged says no more than that there were restarts. */
  async readRestarts(id: ContainerId): Promise<RestartHistory> {
    try {
      return (await readRecord(this.paths(id).restarts, restartFormat)) ?? NO_RESTARTS;
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
      this.#log.warn({ err: error, container: id }, 'what was known of the restarts of a container is lost');
      return NO_RESTARTS;
    }
  }

  /** Not synced: after a reboot nothing is left to be stopped. Where it cannot be written a crash in the middle is the end of it. */
  writeRestartOrder(id: ContainerId, order: RestartOrder): void {
    try {
      writeRecordVolatile(this.paths(id).restartOrder, restartOrderFormat, order);
    } catch (error) {
      this.#log.warn({ err: error, container: id }, 'cannot write that a container is to be restarted');
    }
  }

  async readRestartOrder(id: ContainerId): Promise<RestartOrder | undefined> {
    try {
      return await readRecord(this.paths(id).restartOrder, restartOrderFormat);
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
      this.#log.warn({ err: error, container: id }, 'a restart that was under way is lost');
      return undefined;
    }
  }

  forgetRestartOrder(id: ContainerId): void {
    try {
      unlinkSync(this.paths(id).restartOrder);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) this.#log.warn({ err: error, container: id }, 'cannot remove the order of a restart');
    }
  }

  /**
   * The overlay of one that removes itself is not synced, and marked so that it cannot be mounted again: after a crash of the
   * host it might be half written (kernel docs, overlayfs, "Volatile mount"). In the same boot it is whole.
   */
  async forgetVolatileMark(id: ContainerId): Promise<void> {
    await rm(join(this.paths(id).work, 'work', 'incompat'), { recursive: true, force: true });
  }

  /** Before a start: what is at its place later is the end of that run and of no other. */
  async putExitAside(id: ContainerId): Promise<void> {
    const { exit, earlierExit } = this.paths(id);
    await renameIfThere(exit, earlierExit);
  }

  /** The start has failed and nothing ran: the run before was the last one. */
  async putExitBack(id: ContainerId): Promise<void> {
    const { exit, earlierExit } = this.paths(id);
    await renameIfThere(earlierExit, exit);
  }

  /** The start came to be. Durable: a power loss must not bring back the end of another run. */
  async forgetEarlierExit(id: ContainerId): Promise<void> {
    const { state, earlierExit } = this.paths(id);
    if (!existsSync(earlierExit)) return;
    await rm(earlierExit, { force: true });
    await syncDirectory(state);
  }

  /**
   * What writes that were cut off have left. `hasSupervisor`: one that lives may just be writing its own.
   */
  async removeTemporary(id: ContainerId, { hasSupervisor }: { hasSupervisor: boolean }): Promise<void> {
    await this.#removeHalves(id, (name) => isTemporaryName(name) || (!hasSupervisor && isSupervisorsTemporary(name)));
  }

  /** Its supervisor was killed, maybe in the middle of a write. */
  async removeSupervisorsTemporary(id: ContainerId): Promise<void> {
    await this.#removeHalves(id, isSupervisorsTemporary);
  }

  async #removeHalves(id: ContainerId, isHalf: (name: string) => boolean): Promise<void> {
    const { state } = this.paths(id);
    try {
      for (const name of await namesIn(state)) if (isHalf(name)) await rm(join(state, name), { force: true });
    } catch (error) {
      // A disk that fails, or became read-only, must keep nobody from what runs, and no end from being noted.
      this.#log.warn({ err: error, container: id }, 'cannot remove a half-written file; the next start tries again');
    }
  }

  /** What only lives while a supervisor does. */
  async removeRun(id: ContainerId): Promise<void> {
    await this.#addon.removeTree(this.paths(id).run);
  }

  /** What is left after a crash is a directory without a record, which the next start removes. Synchronous: a name is free only then. */
  removeRecord(id: ContainerId): void {
    try {
      unlinkSync(this.paths(id).record);
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error;
    }
  }

  /** The record goes first. */
  async remove(id: ContainerId): Promise<void> {
    const paths = this.paths(id);
    this.removeRecord(id);
    await this.#addon.removeTree(paths.run);
    await this.#addon.removeTree(paths.state);
  }

  #writeEtc(paths: ContainerPaths, name: string, text: string): void {
    const path = join(paths.init, 'etc', name);
    writeFileSync(path, text);
    chmodSync(path, 0o644);
  }
}

/** The mode as given, whatever the umask is. */
function makeDirectory(path: string, mode: number): void {
  try {
    // Not recursively: then Node says ENOENT of a read-only file system.
    mkdirSync(path);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
  chmodSync(path, mode);
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

/** As the runtime's `replace_file` names what it writes. */
function isSupervisorsTemporary(name: string): boolean {
  return name.startsWith('.') && name.endsWith('.tmp');
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}
