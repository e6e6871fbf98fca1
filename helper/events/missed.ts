import type { ContainerSummary, ImageSummary } from '../protocol/index.ts';
import type { EventHistory } from './history.ts';
import type { EventHub } from './hub.ts';
import { KnownThings } from './known.ts';
import { containerSubject, imageSubject } from './subjects.ts';

/**
 * What happened while no helper was there to tell, or was not told any more before one died: the difference between what was told
 * and what a helper finds at its start. Of a history that begins now nothing was missed.
 */
export class MissedEvents {
  readonly #hub: EventHub;
  readonly #history: EventHistory;
  readonly #known = new KnownThings();
  readonly #stop: () => void;

  constructor({ hub, history }: { hub: EventHub; history: EventHistory }) {
    this.#hub = hub;
    this.#history = history;
    if (history.before !== undefined) this.#known.replace(history.before);
    this.#stop = hub.onRecord((record) => this.#known.apply(record));
  }

  /** As it was found, before anything is done with it. */
  found(container: ContainerSummary): void {
    if (this.#history.before === undefined) return;
    const { state } = container;
    const subject = containerSubject(container);
    const before = this.#known.container(container.id);
    if (before === undefined) this.#hub.note(subject, 'create');
    else if (before.name !== container.name) this.#hub.note(subject, 'rename', { oldName: before.name });
    if (state.kind === 'running' && before?.runs !== true) this.#hub.note(subject, 'start');
    if (state.kind !== 'exited' || (before?.runs !== true && before?.finishedAt === state.exit.finishedAt)) return;
    for (const execId of before?.execs ?? []) this.#hub.note(subject, 'exec_die', { execId });
    // Of a run of which nothing was told.
    if (before?.runs !== true && state.startedAt !== null) this.#hub.note(subject, 'start');
    this.#hub.noteExit(container, state.exit);
  }

  /** Exec sessions of a container that were told to have begun, and not to have ended. */
  execsOf(id: string): readonly string[] {
    return this.#known.container(id)?.execs ?? [];
  }

  /** All were found. `exists`: it is there, and only cannot be read. */
  finish(
    { containers, images }: { containers: readonly ContainerSummary[]; images: readonly ImageSummary[] },
    exists: { container(id: string): boolean; image(id: string): boolean },
  ): void {
    this.#stop();
    if (this.#history.before === undefined) {
      const known = containers.map(({ id, name, image, state }) => ({
        ...{ id, name, image, runs: state.kind === 'running' },
        finishedAt: state.kind === 'exited' ? state.exit.finishedAt : null,
      }));
      this.#history.begin(this.#hub.seq, { containers: known, images: images.map(({ id }) => id) });
      return;
    }
    const before = this.#known.all();
    const known = new Set(before.images);
    for (const image of images) if (!known.has(image.id)) this.#hub.note(imageSubject(image), 'import');
    const here = new Set<string>([...containers, ...images].map(({ id }) => id));
    for (const { id, name, image } of before.containers) {
      if (here.has(id) || exists.container(id)) continue;
      this.#hub.note({ type: 'container', id, name, ...(image === undefined ? {} : { image }) }, 'destroy');
    }
    for (const id of before.images) {
      if (!here.has(id) && !exists.image(id)) this.#hub.note({ type: 'image', id, name: '' }, 'delete');
    }
  }
}
