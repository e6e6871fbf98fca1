import { randomBytes } from 'node:crypto';
import { renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces a file so that a reader, and whoever looks after a crash, sees the old or the new content and nothing
 * between: temporary file, fsync, rename, fsync of the directory.
 */
export async function writeFileDurable(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = temporaryName(path);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/**
 * The same without fsync, for what a reboot would remove anyway. Synchronous: a small write into the page cache takes
 * less time than a turn through the thread pool, and this is on the path of a container's start.
 */
export function writeFileVolatile(path: string, data: string | Uint8Array): void {
  const temporary = temporaryName(path);
  try {
    writeFileSync(temporary, data, { flag: 'wx', mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    try {
      unlinkSync(temporary);
    } catch {
      // It was never made; the first error is the one to tell.
    }
    throw error;
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

const temporaryMark = '.tmp-';

/** Whether a crash left this name behind. */
export function isTemporaryName(name: string): boolean {
  return name.includes(temporaryMark);
}

function temporaryName(path: string): string {
  return `${path}${temporaryMark}${randomBytes(6).toString('hex')}`;
}
