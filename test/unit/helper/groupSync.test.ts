import { expect, test } from 'vitest';
import { allOrNone } from '../../../helper/images/allOrNone.ts';
import { GroupSync } from '../../../helper/store/groupSync.ts';

/** A sync whose every run ends when the test says so. */
function controlled() {
  const runs: PromiseWithResolvers<void>[] = [];
  const group = new GroupSync(async () => {
    const run = Promise.withResolvers<void>();
    runs.push(run);
    await run.promise;
  });
  return { group, runs };
}

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};

test('who asks while a sync runs waits for one that begins after', async () => {
  const { group, runs } = controlled();
  const done: string[] = [];
  const first = group.run().then(() => done.push('first'));
  const others = ['second', 'third'].map((name) => group.run().then(() => done.push(name)));
  expect(runs).toHaveLength(1);
  runs[0]?.resolve();
  await first;
  await settled();
  expect(done).toEqual(['first']);
  expect(runs).toHaveLength(2); // one for both
  const fourth = group.run().then(() => done.push('fourth'));
  runs[1]?.resolve();
  await Promise.all(others);
  await settled();
  expect(done).toEqual(['first', 'second', 'third']);
  runs[2]?.resolve();
  await fourth;
  expect(runs).toHaveLength(3);
});

test('a sync that fails is the error of those who shared it alone', async () => {
  const { group, runs } = controlled();
  const first = group.run();
  const second = group.run();
  runs[0]?.reject(new Error('the disk is gone'));
  await expect(first).rejects.toThrow('gone');
  await settled();
  runs[1]?.resolve();
  await second;
  const third = group.run();
  await settled();
  runs[2]?.resolve();
  await third;
});

test('the first failure ends the others, and is told when they have ended', async () => {
  const ended: number[] = [];
  const all = allOrNone([0, 1, 2], new AbortController().signal, async (item, index, signal) => {
    expect(item).toBe(index);
    if (item === 1) throw new Error('one');
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    ended.push(item);
    throw new Error('aborted');
  });
  await expect(all).rejects.toThrow('one');
  expect(ended).toEqual([0, 2]);
});

test('a signal from outside reaches all of them', async () => {
  const outside = new AbortController();
  const all = allOrNone([0, 1], outside.signal, async (_, __, signal) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    signal.throwIfAborted();
  });
  outside.abort(new Error('enough'));
  await expect(all).rejects.toThrow('enough');
});
