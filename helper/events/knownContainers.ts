import * as z from 'zod';
import type { EventRecord } from '../protocol/index.ts';

/** Of the last events that told of it. */
export const knownContainerSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  image: z.string().optional(),
  /** It was told to run, and not to have ended. */
  runs: z.boolean(),
});
export type KnownContainer = z.infer<typeof knownContainerSchema>;

/** Which containers there are, by what was told of them and nothing else. */
export class KnownContainers {
  readonly #known = new Map<string, KnownContainer>();

  replace(known: Iterable<KnownContainer>): void {
    this.#known.clear();
    for (const container of known) this.#known.set(container.id, container);
  }

  get(id: string): KnownContainer | undefined {
    return this.#known.get(id);
  }

  all(): KnownContainer[] {
    return [...this.#known.values()];
  }

  apply({ type, action, actor: { id, name, image } }: EventRecord): void {
    if (type !== 'container') return;
    if (action === 'destroy') {
      this.#known.delete(id);
      return;
    }
    // An end that is told late (of an exec session, say) does not bring back what is gone.
    if (action !== 'create' && action !== 'start' && !this.#known.has(id)) return;
    const runs = action === 'start' || (action !== 'die' && this.#known.get(id)?.runs === true);
    this.#known.set(id, { id, name, ...(image === undefined ? {} : { image }), runs });
  }
}
