import { existsSync } from 'node:fs';
import type { Logger } from '../log.ts';
import type { ContainerId } from '../protocol/index.ts';
import { DamagedRecordError, readRecord, writeRecordDurable, writeRecordVolatile } from '../store/record.ts';
import type { ContainerFiles } from './containerFiles.ts';
import { type ExitRecord, exitFormat } from './record.ts';

/**
 * How containers have ended, on disk. On a full disk an exit is still an exit: then it lies in the run directory, where the
 * supervisor and the helper look for room when there is none in the container's own.
 */
export class ExitRecords {
  readonly #files: ContainerFiles;
  readonly #log: Logger;

  constructor(options: { files: ContainerFiles; log: Logger }) {
    this.#files = options.files;
    this.#log = options.log;
  }

  /** Of the last run; 'damaged': there is one and it cannot be read, so how that run ended is lost. */
  async read(id: ContainerId): Promise<ExitRecord | 'damaged' | undefined> {
    const { exit, runExit } = this.#files.paths(id);
    try {
      return (await readRecord(exit, exitFormat)) ?? (await readRecord(runExit, exitFormat));
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
      this.#log.error({ err: error }, 'the exit of a container is lost');
      return 'damaged';
    }
  }

  /** Writes it, wherever there is room. `volatile`: a reboot would remove the container anyway. */
  async keep(id: ContainerId, record: ExitRecord, { volatile }: { volatile: boolean }): Promise<void> {
    const { exit, runExit } = this.#files.paths(id);
    try {
      if (volatile) writeRecordVolatile(exit, exitFormat, record);
      else await writeRecordDurable(exit, exitFormat, record);
      return;
    } catch (error) {
      this.#log.error({ err: error, container: id }, 'cannot write the exit record of a container; it is kept in the run directory');
    }
    try {
      writeRecordVolatile(runExit, exitFormat, record);
    } catch (error) {
      this.#log.error({ err: error, container: id }, 'nor there: the next helper will not know how the container ended');
    }
  }

  /** Before the run directory goes: what lies there moves to where it outlives it. Throws where there is still no room. */
  async settle(id: ContainerId, { volatile }: { volatile: boolean }): Promise<void> {
    const { exit, runExit } = this.#files.paths(id);
    if (!existsSync(runExit) || existsSync(exit)) return;
    const record = await readRecord(runExit, exitFormat);
    if (record === undefined) return;
    if (volatile) writeRecordVolatile(exit, exitFormat, record);
    else await writeRecordDurable(exit, exitFormat, record);
  }
}
