import type {
  ContainerId,
  ContainerSummary,
  Digest,
  EventName,
  EventParams,
  ImageSummary,
  MethodResult,
} from '../../helper/protocol/index.ts';

/** What the helper has told, and nothing else. `seq` is the last event that is part of it. */
export interface StrataState {
  readonly seq: number;
  readonly containers: ReadonlyMap<ContainerId, ContainerSummary>;
  readonly images: ReadonlyMap<Digest, ImageSummary>;
}

export const emptyState: StrataState = { seq: 0, containers: new Map(), images: new Map() };

type HelperEvent = { [E in EventName]: { readonly kind: 'event'; readonly event: E; readonly params: EventParams<E> } }[EventName];

export type StateInput =
  | { readonly kind: 'snapshot'; readonly snapshot: MethodResult<'events.subscribe'> }
  /** The helper is away: what it told no longer holds. */
  | { readonly kind: 'cleared' }
  | HelperEvent;

export interface ItemChanges<Id> {
  readonly added: readonly Id[];
  readonly changed: readonly Id[];
  readonly removed: readonly Id[];
}

/** What an input changed, item by item, so that a view redraws those items only. */
export interface ChangeSet {
  readonly containers: ItemChanges<ContainerId>;
  readonly images: ItemChanges<Digest>;
}

export interface Reduced {
  readonly state: StrataState;
  readonly changes: ChangeSet;
}

const none: ItemChanges<never> = { added: [], changed: [], removed: [] };
const noChanges: ChangeSet = { containers: none, images: none };

export function isEmpty(changes: ItemChanges<unknown>): boolean {
  return changes.added.length + changes.changed.length + changes.removed.length === 0;
}

/** The state after an input, and what it changed. An event that is older than the state changes nothing. */
export function reduce(state: StrataState, input: StateInput): Reduced {
  switch (input.kind) {
    case 'snapshot':
      return replaced(state, {
        seq: input.snapshot.seq,
        containers: new Map(input.snapshot.containers.map((container) => [container.id, container])),
        images: new Map(input.snapshot.images.map((image) => [image.id, image])),
      });
    case 'cleared':
      return replaced(state, emptyState);
    case 'event':
      return reduceEvent(state, input);
    default:
      return input satisfies never;
  }
}

function reduceEvent(state: StrataState, input: HelperEvent): Reduced {
  const unchanged: Reduced = { state, changes: noChanges };
  if (!('seq' in input.params)) return unchanged;
  const { seq } = input.params;
  if (seq <= state.seq) return unchanged;
  const at = { ...state, seq };
  switch (input.event) {
    case 'container.changed':
    case 'container.exited':
      return withContainer(at, input.params.container);
    case 'container.removed': {
      const { map, changes } = without(state.containers, input.params.id);
      return { state: { ...at, containers: map }, changes: { ...noChanges, containers: changes } };
    }
    case 'image.changed': {
      const { map, changes } = withItem(state.images, input.params.image);
      return { state: { ...at, images: map }, changes: { ...noChanges, images: changes } };
    }
    case 'image.removed': {
      const { map, changes } = without(state.images, input.params.id);
      return { state: { ...at, images: map }, changes: { ...noChanges, images: changes } };
    }
    case 'exec.exited':
    case 'image.transferring':
    case 'image.bootstrapping':
    case 'stats.sampled':
      return unchanged;
    default:
      return input satisfies never;
  }
}

function withContainer(state: StrataState, container: ContainerSummary): Reduced {
  const { map, changes } = withItem(state.containers, container);
  return { state: { ...state, containers: map }, changes: { ...noChanges, containers: changes } };
}

interface Item<Id> {
  readonly id: Id;
  readonly revision: number;
}

function withItem<Id, T extends Item<Id>>(items: ReadonlyMap<Id, T>, item: T): { map: ReadonlyMap<Id, T>; changes: ItemChanges<Id> } {
  const known = items.get(item.id);
  if (known !== undefined && known.revision > item.revision) return { map: items, changes: none };
  const changes = known === undefined ? { ...none, added: [item.id] } : { ...none, changed: [item.id] };
  return { map: new Map(items).set(item.id, item), changes };
}

function without<Id, T>(items: ReadonlyMap<Id, T>, id: Id): { map: ReadonlyMap<Id, T>; changes: ItemChanges<Id> } {
  if (!items.has(id)) return { map: items, changes: none };
  const map = new Map(items);
  map.delete(id);
  return { map, changes: { ...none, removed: [id] } };
}

function replaced(before: StrataState, after: StrataState): Reduced {
  const changes = { containers: difference(before.containers, after.containers), images: difference(before.images, after.images) };
  return { state: after, changes };
}

function difference<Id, T extends Item<Id>>(before: ReadonlyMap<Id, T>, after: ReadonlyMap<Id, T>): ItemChanges<Id> {
  const items = [...after.values()];
  return {
    added: items.filter((item) => !before.has(item.id)).map((item) => item.id),
    changed: items
      .filter((item) => {
        const known = before.get(item.id);
        // A helper that was replaced may count revisions anew, so any difference is a change.
        return known !== undefined && JSON.stringify(known) !== JSON.stringify(item);
      })
      .map((item) => item.id),
    removed: [...before.keys()].filter((id) => !after.has(id)),
  };
}

/** It runs, or is started again by its policy: a row must not jump up and down with each restart. */
function isUp({ state }: ContainerSummary): boolean {
  return state.kind === 'running' || (state.kind === 'exited' && state.restartsAt !== undefined);
}

/** Running ones first, with those that are about to run again, then the newest; the same state gives the same order. */
export function containersInOrder(state: StrataState): readonly ContainerSummary[] {
  const rank = (container: ContainerSummary): number => (isUp(container) ? 0 : 1);
  return [...state.containers.values()].sort(
    (a, b) => rank(a) - rank(b) || b.createdAt.localeCompare(a.createdAt) || a.id.localeCompare(b.id),
  );
}
