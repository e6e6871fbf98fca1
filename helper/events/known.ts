import * as z from 'zod';
import type { EventRecord } from '../protocol/index.ts';

/** What there is, by the last events that told of it. */
export const knownSchema = z.strictObject({
  containers: z.array(
    z.strictObject({
      id: z.string(),
      name: z.string(),
      image: z.string().optional(),
      /** It was told to run, and not to have ended. */
      runs: z.boolean(),
      /** Of the last end that was told; null: none was. */
      finishedAt: z.string().nullable(),
      /** Ids of its exec sessions that were told to have begun, and not to have ended; absent: none. */
      execs: z.array(z.string()).optional(),
    }),
  ),
  /** Ids. */
  images: z.array(z.string()),
});
export type Known = z.infer<typeof knownSchema>;
export type KnownContainer = Known['containers'][number];

/** How images come to be. */
const newImage: ReadonlySet<string> = new Set(['import', 'load', 'pull', 'commit', 'squash']);

/** Which containers and images there are, by what was told of them and nothing else. */
export class KnownThings {
  readonly #containers = new Map<string, KnownContainer>();
  readonly #images = new Set<string>();

  replace({ containers, images }: Known): void {
    this.#containers.clear();
    for (const container of containers) this.#containers.set(container.id, container);
    this.#images.clear();
    for (const id of images) this.#images.add(id);
  }

  container(id: string): KnownContainer | undefined {
    return this.#containers.get(id);
  }

  all(): Known {
    return { containers: [...this.#containers.values()], images: [...this.#images] };
  }

  apply(record: EventRecord): void {
    switch (record.type) {
      case 'container':
        this.#applyToContainer(record);
        return;
      case 'image':
        if (newImage.has(record.action)) this.#images.add(record.actor.id);
        else if (record.action === 'delete') this.#images.delete(record.actor.id);
        return;
      case 'helper':
        return;
      default:
        record.type satisfies never;
    }
  }

  #applyToContainer({ action, actor: { id, name, image, attributes } }: EventRecord): void {
    if (action === 'destroy') {
      this.#containers.delete(id);
      return;
    }
    // An end that is told late (of an exec session, say) does not bring back what is gone.
    if (action !== 'create' && action !== 'start' && !this.#containers.has(id)) return;
    const { runs: ran = false, finishedAt: endedAt = null } = this.#containers.get(id) ?? {};
    const runs = action === 'start' || (action !== 'die' && ran);
    const finishedAt = action === 'die' ? (attributes['finishedAt'] ?? null) : endedAt;
    const execs = execsAfter(this.#containers.get(id)?.execs ?? [], action, attributes['execId']);
    const optional = { ...(image === undefined ? {} : { image }), ...(execs.length === 0 ? {} : { execs }) };
    this.#containers.set(id, { id, name, ...optional, runs, finishedAt });
  }
}

/** With a run its sessions end. */
function execsAfter(execs: readonly string[], action: string, execId: string | undefined): string[] {
  if (action === 'start' || action === 'die') return [];
  if (execId === undefined || (action !== 'exec_start' && action !== 'exec_die')) return [...execs];
  const others = execs.filter((id) => id !== execId);
  return action === 'exec_start' ? [...others, execId] : others;
}
