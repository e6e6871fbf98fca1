import * as fs from 'node:fs';
import * as path from 'node:path';

const blockBytes = 4096;

/** A file system that is full but for some blocks, so that each of the writes of an operation is once the first that fails. */
export class TightDisk {
  readonly #filler: string;

  constructor(directory: string) {
    this.#filler = path.join(directory, 'filler');
  }

  squeeze(freeBlocks: number): void {
    const size = fill(this.#filler);
    fs.truncateSync(this.#filler, Math.max(0, size - freeBlocks * blockBytes));
  }

  relieve(): void {
    fs.rmSync(this.#filler, { force: true });
  }
}

/** Writes until nothing more fits; how much that was. */
export function fill(file: string): number {
  const fd = fs.openSync(file, 'w');
  let size = 0;
  try {
    for (const chunk of [1024 * 1024, blockBytes, 1]) {
      try {
        for (;;) size += fs.writeSync(fd, Buffer.alloc(chunk));
      } catch (error) {
        if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOSPC') throw error;
      }
    }
    return size;
  } finally {
    fs.closeSync(fd);
  }
}
