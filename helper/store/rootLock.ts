import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StrataError } from '../protocol/index.ts';

/**
 * One helper a directory: of two with the same data each would write what the other does not know, and of two with the same
 * run directory each would take the other's containers for leftovers. The lock must go when its holder dies, however it dies. Node has neither flock nor fcntl;
 * SQLite takes an fcntl lock for an exclusive transaction, which the kernel drops with the process. (A pid file can lie, and
 * an abstract socket could be taken by anybody and is not seen from another network namespace.)
 */
export class RootLock {
  readonly #database: DatabaseSync;

  /** `option` is what chose the directory, for who reads the error. */
  constructor(directory: string, option: '--root' | '--run') {
    const path = join(directory, 'lock');
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(path);
      database.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
      this.#database = database;
    } catch (cause) {
      database?.close();
      if (!isBusy(cause)) {
        throw new StrataError(
          'INTERNAL',
          `cannot lock the directory ${directory}: ${cause instanceof Error ? cause.message : String(cause)}`,
          {
            hint: `Look at the file ${path}: it is empty and the helper's own, and may be removed while no helper runs.`,
            details: { path },
            cause,
          },
        );
      }
      throw new StrataError('INTERNAL', `another helper uses the directory ${directory}`, {
        hint: `Stop that helper first, or choose another directory with ${option}.`,
        details: { path },
        cause,
      });
    }
  }

  release(): void {
    this.#database.close();
  }
}

/** SQLITE_BUSY: somebody else holds the lock. Everything else is trouble with the file. */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5;
}
