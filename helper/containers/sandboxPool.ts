import type { Logger } from '../log.ts';
import type { ContainerFiles } from './containerFiles.ts';
import { DEFAULT_NAMESPACES } from './ociConfig.ts';
import { newContainerId, type Sandbox, type SandboxFactory } from './sandboxes.ts';

/** After this long without a start the pool is as small again as it may be. */
const idleMs = 10_000;

/** A sandbox that was heard of more recently than this is not asked whether it still answers. */
const trustedMs = 5000;
const answerMs = 1000;

interface Ready {
  readonly sandbox: Sandbox;
  readonly heardAtMs: number;
}

/** How many sandboxes are kept: while nothing happens, and after a burst. What a burst needs beyond these it makes itself. */
export interface PoolSize {
  readonly least: number;
  readonly most: number;
}

/**
 * Sandboxes of the usual namespaces that are ready before anybody asks. Each start that finds none doubles how many are kept, until
 * no start has come for a while.
 *
 * Invariants: each is handed out once, and is one container's from then on; at most `size.most` are ready or under way for
 * nobody; one at a time is made in advance, and never before the start that took the last one was answered; after `close` none is
 * made and none is left.
 */
export class SandboxPool {
  readonly #factory: Pick<SandboxFactory, 'make' | 'discard' | 'answers'>;
  readonly #files: Pick<ContainerFiles, 'prepare' | 'remove'>;
  readonly #size: PoolSize;
  readonly #log: Logger;
  readonly #ready: Ready[] = [];
  #target: number;
  #filling: Promise<void> | undefined;
  #shrinking: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;
  #closed = false;
  /** In a row; after some of them it waits until a start has shown that it can be done again. */
  #failures = 0;

  constructor(options: {
    factory: Pick<SandboxFactory, 'make' | 'discard' | 'answers'>;
    files: Pick<ContainerFiles, 'prepare' | 'remove'>;
    size: PoolSize;
    log: Logger;
  }) {
    this.#factory = options.factory;
    this.#files = options.files;
    this.#size = options.size;
    this.#target = options.size.least;
    this.#log = options.log;
  }

  /** A ready one, the one that is just being made, or a new one. */
  async take(): Promise<Sandbox> {
    this.#restartIdle();
    const ready = await this.#next();
    if (ready !== undefined) return ready;
    this.#target = Math.min(Math.max(this.#target * 2, 1), this.#size.most);
    if (this.#filling !== undefined) {
      await this.#filling;
      const filled = await this.#next();
      if (filled !== undefined) return filled;
    }
    return await this.#make();
  }

  /** Takes in one that a helper before this one left; false: the pool is full. */
  adopt(sandbox: Sandbox): boolean {
    if (this.#closed || this.#ready.length >= this.#target) return false;
    this.#files.prepare(sandbox.id);
    this.#keep(sandbox);
    return true;
  }

  /** Makes what is missing, in the background: once the caller's answer is on its way. */
  refill(): void {
    setImmediate(() => this.#refillNow());
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#idle);
    await this.#filling;
    await this.#shrinking;
    for (const { sandbox } of this.#ready.splice(0)) await this.discard(sandbox);
  }

  /** With its directories. */
  async discard(sandbox: Pick<Sandbox, 'id' | 'client' | 'cgroup'>): Promise<void> {
    try {
      await this.#factory.discard(sandbox);
    } finally {
      await this.#files.remove(sandbox.id);
    }
  }

  #refillNow(): void {
    if (this.#closed || this.#filling !== undefined || this.#ready.length >= this.#target || this.#failures > 3) return;
    this.#filling = this.#fill().finally(() => {
      this.#filling = undefined;
      this.#refillNow();
    });
  }

  #restartIdle(): void {
    clearTimeout(this.#idle);
    if (this.#closed || this.#size.most === this.#size.least) return;
    this.#idle = setTimeout(() => this.#shrink(), idleMs);
    this.#idle.unref();
  }

  #shrink(): void {
    this.#target = this.#size.least;
    const surplus = this.#ready.splice(this.#target);
    this.#shrinking = Promise.all(surplus.map(({ sandbox }) => this.#discardUnwanted(sandbox)));
  }

  async #next(): Promise<Sandbox | undefined> {
    for (let next = this.#ready.shift(); next !== undefined; next = this.#ready.shift()) {
      if (await this.#isUsable(next)) return next.sandbox;
      // Somebody killed or stopped it while it waited.
      void this.#discardUnwanted(next.sandbox);
    }
    return undefined;
  }

  /** One that was made a moment ago answered a moment ago. */
  async #isUsable({ sandbox, heardAtMs }: Ready): Promise<boolean> {
    if (sandbox.client.isClosed) return false;
    if (performance.now() - heardAtMs < trustedMs) return true;
    if (await this.#factory.answers(sandbox, answerMs)) return true;
    this.#log.warn({ sandbox: sandbox.id }, 'a sandbox does not answer; another one is taken');
    return false;
  }

  async #discardUnwanted(sandbox: Sandbox): Promise<void> {
    try {
      await this.discard(sandbox);
    } catch (error) {
      this.#log.warn({ err: error }, 'cannot clear away a sandbox that is not needed');
    }
  }

  #keep(sandbox: Sandbox): void {
    this.#ready.push({ sandbox, heardAtMs: performance.now() });
    this.#log.debug({ sandbox: sandbox.id, ready: this.#ready.length }, 'a sandbox is ready');
  }

  async #fill(): Promise<void> {
    try {
      const sandbox = await this.#make();
      // It may have become too many while it was made.
      if (this.#closed || this.#ready.length >= this.#target) await this.discard(sandbox);
      else this.#keep(sandbox);
    } catch (error) {
      // Without a warm one the next start makes its own, and says what is wrong.
      this.#failures += 1;
      this.#log.error({ err: error }, 'cannot make a sandbox in advance');
    }
  }

  /** A new one; where it cannot be made its directories go, too. */
  async #make(): Promise<Sandbox> {
    const id = newContainerId();
    try {
      const made = await this.#factory.make(id, { namespaces: DEFAULT_NAMESPACES });
      this.#failures = 0;
      return made;
    } catch (error) {
      await this.#files
        .remove(id)
        .catch((cause: unknown) => this.#log.error({ err: cause, container: id }, 'cannot remove the files of a sandbox'));
      throw error;
    }
  }
}
