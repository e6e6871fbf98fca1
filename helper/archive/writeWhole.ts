import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { StrataError } from '../protocol/index.ts';

/** Writes this to a file, which is there when it is whole; a device or pipe is written to. Throws what the source throws. */
export async function writeWhole(bytes: AsyncIterable<Uint8Array>, path: string): Promise<void> {
  const temporary = join(dirname(path), `.strata-${process.pid}-${Date.now()}`);
  try {
    const there = await stat(path).catch(() => undefined);
    if (there !== undefined && !there.isFile()) {
      await pipeline(Readable.from(bytes), createWriteStream(path, { flags: 'r+' }));
      return;
    }
    await pipeline(Readable.from(bytes), createWriteStream(temporary, { flags: 'wx', mode: 0o600 }));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    if (error instanceof StrataError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    const code = error instanceof Error && 'code' in error && error.code === 'ENOSPC' ? 'NO_SPACE' : 'PATH_NOT_FOUND';
    throw new StrataError(code, `cannot write ${path}: ${why}`, { hint: 'Choose a place that you may write to.', cause: error });
  }
}
