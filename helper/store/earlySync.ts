import type { FileHandle } from 'node:fs/promises';

/** A journal commit each time: not too often. */
const syncEveryBytes = 64 * 1024 * 1024;

/**
 * Has what is written to a file brought to the disk meanwhile, so that the sync at the end finds little left: by itself the kernel begins when gigabytes are
 * dirty. One sync runs at a time, and nobody waits for it but `settle`.
 */
export class EarlySync {
  readonly #file: FileHandle;
  #unsyncedBytes = 0;
  #running: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  written(bytes: number): void {
    this.#unsyncedBytes += bytes;
    if (this.#unsyncedBytes < syncEveryBytes || this.#running !== undefined) return;
    this.#unsyncedBytes = 0;
    this.#running = this.#file
      .datasync()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Before the file is closed; rejects with what went wrong. */
  async settle(): Promise<void> {
    await this.#running;
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
