import { describe, expect, it } from 'vitest';
import { Store } from '../../../extension/model/store.ts';
import { container, containerId, epoch } from './samples.ts';

function filled(): Store {
  const store = new Store();
  store.apply({ kind: 'snapshot', snapshot: { epoch, seq: 1, containers: [container('1'), container('2')], images: [] } });
  return store;
}

describe('Store', () => {
  it('tells of changes only when there are some', () => {
    const store = filled();
    let calls = 0;
    const stop = store.onChange(() => {
      calls += 1;
    });
    store.apply({ kind: 'event', event: 'container.removed', params: { seq: 2, id: containerId('9') } });
    expect(calls).toBe(0);
    store.apply({ kind: 'event', event: 'container.removed', params: { seq: 3, id: containerId('2') } });
    expect(calls).toBe(1);
    stop();
    store.apply({ kind: 'cleared' });
    expect(calls).toBe(1);
  });

  it('goes on with what came since after a reconnect, and touches no other row', () => {
    const store = filled();
    const changes: unknown[] = [];
    store.onChange(({ containers }) => changes.push(containers));
    store.apply({ kind: 'event', event: 'container.changed', params: { seq: 5, container: container('2', { revision: 4 }) } });
    // Told before the connection broke, and once more since.
    store.apply({ kind: 'event', event: 'container.changed', params: { seq: 5, container: container('2', { revision: 4 }) } });
    store.apply({ kind: 'event', event: 'container.removed', params: { seq: 8, id: containerId('1') } });
    expect(changes).toEqual([
      { added: [], changed: [containerId('2')], removed: [] },
      { added: [], changed: [], removed: [containerId('1')] },
    ]);
    expect(store.state.seq).toBe(8);
  });

  it('tells the same layers as of another one apart', () => {
    const store = filled();
    const targets: unknown[] = [];
    store.onTargetChange((target) => targets.push(target?.layers));
    const target = { kind: 'container', id: containerId('1') } as const;
    for (const layers of [2, 2, 1]) store.select({ ...target, layers });
    store.select(target);
    expect(targets).toEqual([2, 1, undefined]);
  });

  it('forgets whose layers are shown when that is gone', () => {
    const store = filled();
    const targets: unknown[] = [];
    store.onTargetChange((target) => targets.push(target));
    store.select({ kind: 'container', id: containerId('1') });
    store.select({ kind: 'container', id: containerId('1') });
    store.apply({ kind: 'event', event: 'container.removed', params: { seq: 2, id: containerId('2') } });
    store.apply({ kind: 'event', event: 'container.removed', params: { seq: 3, id: containerId('1') } });
    expect(targets).toEqual([{ kind: 'container', id: containerId('1') }, undefined]);
  });
});
