import type { Addon } from '../native/addon.ts';
import type { Layer } from '../protocol/index.ts';

export type Usage = Pick<Layer, 'sizeBytes' | 'entries' | 'moreEntriesThan'>;

/** A container may make as many files as its disk has room for; to count this many takes some seconds. */
const mostEntries = 1_000_000;

/** Counts what is in directories. Invariant: a directory is walked once at a time; who asks meanwhile gets the same answer. */
export class UsageCounter {
  readonly #addon: Pick<Addon, 'treeUsage'>;
  readonly #walks = new Map<string, Promise<Usage>>();

  constructor(addon: Pick<Addon, 'treeUsage'>) {
    this.#addon = addon;
  }

  of(path: string): Promise<Usage> {
    const walk = this.#walks.get(path) ?? this.#walk(path).finally(() => this.#walks.delete(path));
    this.#walks.set(path, walk);
    return walk;
  }

  /** Null where it cannot be counted (it is just being removed). */
  async #walk(path: string): Promise<Usage> {
    const unknown = { sizeBytes: null, entries: null };
    try {
      const { sizeBytes, entries, complete } = await this.#addon.treeUsage(path, { maxEntries: mostEntries });
      return complete ? { sizeBytes, entries } : { ...unknown, moreEntriesThan: mostEntries };
    } catch {
      return unknown;
    }
  }
}
