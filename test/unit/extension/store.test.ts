import { describe, expect, it } from 'vitest';
import { Store } from '../../../extension/model/store.ts';
import { container, containerId } from './samples.ts';

function filled(): Store {
  const store = new Store();
  store.apply({ kind: 'snapshot', snapshot: { seq: 1, containers: [container('1'), container('2')], images: [] } });
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
