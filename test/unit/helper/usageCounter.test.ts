import { describe, expect, it } from 'vitest';
import { UsageCounter } from '../../../helper/layers/usageCounter.ts';
import type { Addon } from '../../../helper/native/addon.ts';

type Counted = Awaited<ReturnType<Addon['treeUsage']>>;

/** Walks that end when the test says so. */
function heldWalks() {
  const walks: { path: string; most: number | undefined; done: PromiseWithResolvers<Counted> }[] = [];
  const counter = new UsageCounter({
    treeUsage: (path, options) => {
      const done = Promise.withResolvers<Counted>();
      walks.push({ path, most: options?.maxEntries, done });
      return done.promise;
    },
  });
  return { walks, counter };
}

describe('the usage of a layer', () => {
  it('is counted by one walk at a time, and anew for who asks later', async () => {
    const { walks, counter } = heldWalks();
    const asked = [counter.of('/upper'), counter.of('/upper'), counter.of('/other')];
    expect(walks.map(({ path }) => path)).toEqual(['/upper', '/other']);
    for (const [index, { done }] of walks.entries()) done.resolve({ sizeBytes: index, entries: 7, complete: true });
    expect(await Promise.all(asked)).toEqual([
      { sizeBytes: 0, entries: 7 },
      { sizeBytes: 0, entries: 7 },
      { sizeBytes: 1, entries: 7 },
    ]);
    void counter.of('/upper');
    expect(walks).toHaveLength(3);
  });

  it('is not told in part, and not known of what is gone', async () => {
    const { walks, counter } = heldWalks();
    const [large, gone] = [counter.of('/large'), counter.of('/gone')];
    walks[0]?.done.resolve({ sizeBytes: 5, entries: 1_000_000, complete: false });
    walks[1]?.done.reject(new Error('ENOENT'));
    expect(await large).toEqual({ sizeBytes: null, entries: null, moreEntriesThan: walks[0]?.most });
    expect(await gone).toEqual({ sizeBytes: null, entries: null });
  });
});
