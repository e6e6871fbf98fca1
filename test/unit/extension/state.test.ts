import { describe, expect, it } from 'vitest';
import { containersInOrder, emptyState, reduce, type StateInput, type StrataState } from '../../../extension/model/state.ts';
import { container, containerId, digest, epoch, exit, exited, image } from './samples.ts';

const snapshot: StateInput = {
  kind: 'snapshot',
  snapshot: { epoch, seq: 5, containers: [container('1'), container('2', { state: exited() })], images: [image('a', ['busybox:latest'])] },
};
const stateAfter = (...inputs: readonly StateInput[]): StrataState =>
  inputs.reduce((state, input) => reduce(state, input).state, emptyState);
const changed = (seq: number, value: ReturnType<typeof container>): StateInput => ({
  kind: 'event',
  event: 'container.changed',
  params: { seq, container: value },
});

describe('a snapshot', () => {
  it('is taken as a whole', () => {
    const { state, changes } = reduce(emptyState, snapshot);
    expect([...state.containers.keys()]).toEqual([containerId('1'), containerId('2')]);
    expect(state.seq).toBe(5);
    expect(changes.containers.added).toHaveLength(2);
    expect(changes.images.added).toEqual([digest('a')]);
  });

  it('after a reconnect names only what differs', () => {
    const again: StateInput = {
      kind: 'snapshot',
      snapshot: {
        epoch,
        seq: 1,
        containers: [container('1', { name: 'other' }), container('3')],
        images: [image('a', ['busybox:latest'])],
      },
    };
    const { changes, state } = reduce(stateAfter(snapshot), again);
    expect(changes.containers).toEqual({ added: [containerId('3')], changed: [containerId('1')], removed: [containerId('2')] });
    expect(changes.images).toEqual({ added: [], changed: [], removed: [] });
    // A helper that was replaced counts from the beginning.
    expect(state.seq).toBe(1);
  });

  it('leaves nothing behind when the helper is away', () => {
    const { state, changes } = reduce(stateAfter(snapshot), { kind: 'cleared' });
    expect(state).toEqual(emptyState);
    expect(changes.containers.removed).toHaveLength(2);
  });
});

describe('an event', () => {
  it('changes one container and names it', () => {
    const { state, changes } = reduce(stateAfter(snapshot), changed(6, container('1', { name: 'new', revision: 2 })));
    expect(state.containers.get(containerId('1'))?.name).toBe('new');
    expect(changes.containers).toEqual({ added: [], changed: [containerId('1')], removed: [] });
  });

  it('that the snapshot holds already changes nothing', () => {
    const before = stateAfter(snapshot);
    expect(reduce(before, changed(5, container('1', { name: 'old', revision: 9 }))).state).toBe(before);
  });

  it('with an older revision does not take a newer state back', () => {
    const state = stateAfter(
      snapshot,
      changed(6, container('1', { name: 'new', revision: 3 })),
      changed(7, container('1', { name: 'old', revision: 2 })),
    );
    expect(state.containers.get(containerId('1'))?.name).toBe('new');
  });

  it('of an exit turns the row at once', () => {
    const killed = { code: null, signal: 'SIGKILL', oomKilled: true };
    const state = stateAfter(snapshot, {
      kind: 'event',
      event: 'container.exited',
      params: { seq: 6, id: containerId('1'), exit: exit(killed), container: container('1', { state: exited(killed), revision: 2 }) },
    });
    expect(state.containers.get(containerId('1'))?.state).toEqual(exited(killed));
  });

  it('of a removal takes the row away, once', () => {
    const gone = (seq: number): StateInput => ({ kind: 'event', event: 'container.removed', params: { seq, id: containerId('1') } });
    const first = reduce(stateAfter(snapshot), gone(6));
    expect(first.changes.containers.removed).toEqual([containerId('1')]);
    expect(reduce(first.state, gone(7)).changes.containers.removed).toEqual([]);
  });

  it('of images is kept apart from containers', () => {
    const added: StateInput = { kind: 'event', event: 'image.changed', params: { seq: 6, image: image('b', ['web:1']) } };
    const { state, changes } = reduce(stateAfter(snapshot), added);
    expect(changes.images.added).toEqual([digest('b')]);
    expect(changes.containers.changed).toEqual([]);
    const removed = reduce(state, { kind: 'event', event: 'image.removed', params: { seq: 7, id: digest('b') } });
    expect(removed.changes.images.removed).toEqual([digest('b')]);
  });
});

describe('order', () => {
  it('has running containers first, then the newest', () => {
    const containers = [
      container('1'),
      container('2', { state: exited() }),
      container('3', { state: { kind: 'created' } }),
      container('4'),
    ];
    const state = stateAfter({ kind: 'snapshot', snapshot: { epoch, seq: 1, containers, images: [] } });
    expect(containersInOrder(state).map(({ name }) => name)).toEqual(['name-4', 'name-1', 'name-3', 'name-2']);
  });
});
