import type { Digest } from '../protocol/index.ts';

/** Holds layers against removal while an import builds on them. */
export interface LayerPin {
  add(chainId: Digest): void;
  release(): void;
}

/** Which layers are held, and how often. */
export class LayerPins {
  readonly #counts = new Map<Digest, number>();

  has(chainId: Digest): boolean {
    return this.#counts.has(chainId);
  }

  pin(): LayerPin {
    const held: Digest[] = [];
    return {
      add: (chainId) => {
        held.push(chainId);
        this.#counts.set(chainId, (this.#counts.get(chainId) ?? 0) + 1);
      },
      release: () => {
        for (const chainId of held.splice(0)) {
          const left = (this.#counts.get(chainId) ?? 1) - 1;
          if (left === 0) this.#counts.delete(chainId);
          else this.#counts.set(chainId, left);
        }
      },
    };
  }
}
