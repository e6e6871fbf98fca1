import { existsSync, type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

/**
 * Tells when something happens to a socket path: it appears, goes, or changes its rights. Watches its directory, or the
 * nearest one above that exists, so that a helper which makes /run/strata at its start is noticed without polling.
 */
export class SocketWatch {
  readonly #socketPath: string;
  readonly #onChange: () => void;
  #watcher: FSWatcher | undefined;
  #disposed = false;

  constructor(socketPath: string, onChange: () => void) {
    this.#socketPath = socketPath;
    this.#onChange = onChange;
    this.#arm();
  }

  dispose(): void {
    this.#disposed = true;
    this.#watcher?.close();
  }

  #arm(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    if (this.#disposed) return;
    let child = this.#socketPath;
    let directory = dirname(child);
    while (!existsSync(directory) && directory !== dirname(directory)) {
      child = directory;
      directory = dirname(directory);
    }
    const awaited = basename(child);
    try {
      this.#watcher = watch(directory, { persistent: false }, (_event, name) => {
        if (name === awaited || name === basename(directory)) this.#changed();
      });
      // The directory went away, or may not be read: the client's back-off still tries.
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      this.#watcher = undefined;
    }
  }

  #changed(): void {
    // What is watched may have become the wrong directory: the next one down exists now, or this one is gone.
    this.#arm();
    this.#onChange();
  }
}
