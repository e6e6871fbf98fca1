import { EventEmitter } from 'node:events';
import type { ContainerId, ContainerSummary, Digest, ImageSummary } from '../../helper/protocol/index.ts';
import { type ChangeSet, emptyState, isEmpty, reduce, type StateInput, type StrataState } from './state.ts';

/** Whose layers are shown; with `layers` the lowest ones alone, as it was when they were all. */
export type LayerTarget = ({ readonly kind: 'container'; readonly id: ContainerId } | { readonly kind: 'image'; readonly id: Digest }) & {
  readonly layers?: number;
};

interface StoreEvents {
  changed: [changes: ChangeSet];
  targetChanged: [target: LayerTarget | undefined];
}

/** Holds the present state and tells who listens what changed. It adds nothing of its own but what the user selected. */
export class Store {
  readonly #events = new EventEmitter<StoreEvents>();
  #state = emptyState;
  #target: LayerTarget | undefined;

  get state(): StrataState {
    return this.#state;
  }

  get target(): LayerTarget | undefined {
    return this.#target;
  }

  container(id: ContainerId): ContainerSummary | undefined {
    return this.#state.containers.get(id);
  }

  image(id: Digest): ImageSummary | undefined {
    return this.#state.images.get(id);
  }

  apply(input: StateInput): void {
    const { state, changes } = reduce(this.#state, input);
    this.#state = state;
    if (isEmpty(changes.containers) && isEmpty(changes.images)) return;
    this.#events.emit('changed', changes);
    if (this.#target !== undefined && !this.#exists(this.#target)) this.select(undefined);
  }

  select(target: LayerTarget | undefined): void {
    if (target?.kind === this.#target?.kind && target?.id === this.#target?.id && target?.layers === this.#target?.layers) return;
    this.#target = target;
    this.#events.emit('targetChanged', target);
  }

  onChange(listener: (changes: ChangeSet) => void): () => void {
    this.#events.on('changed', listener);
    return () => this.#events.off('changed', listener);
  }

  onTargetChange(listener: (target: LayerTarget | undefined) => void): () => void {
    this.#events.on('targetChanged', listener);
    return () => this.#events.off('targetChanged', listener);
  }

  #exists(target: LayerTarget): boolean {
    return target.kind === 'container' ? this.#state.containers.has(target.id) : this.#state.images.has(target.id);
  }
}
