import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Sandbox, SandboxFactory } from '../../../helper/containers/sandboxes.ts';
import { SandboxPool } from '../../../helper/containers/sandboxPool.ts';
import { createLogger } from '../../../helper/log.ts';

/** Counts instead of making processes; `made` and `gone` are what a real one would have on the host. */
function countingFactory() {
  const made: string[] = [];
  const gone: string[] = [];
  let underWay = 0;
  let mostUnderWay = 0;
  const mute = new Set<string>();
  const factory: Pick<SandboxFactory, 'make' | 'discard' | 'answers'> = {
    async make(id) {
      underWay += 1;
      mostUnderWay = Math.max(mostUnderWay, underWay);
      await Promise.resolve();
      underWay -= 1;
      made.push(id);
      // The pool asks a client whether it is closed, and nothing else.
      return { id, client: { isClosed: false } as Sandbox['client'], supervisorPid: made.length, cgroup: `/${id}` };
    },
    answers: ({ id }) => Promise.resolve(!mute.has(id)),
    async discard({ id }) {
      await Promise.resolve();
      gone.push(id);
    },
  };
  return { factory, made, gone, mute, mostUnderWay: () => mostUnderWay };
}

const files = { prepare: () => {}, remove: async () => {} };
const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

describe('the pool of warm sandboxes', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const make = (least: number, most: number) => {
    const counting = countingFactory();
    const pool = new SandboxPool({ factory: counting.factory, files, size: { least, most }, log: createLogger('silent') });
    return { pool, ...counting, waiting: (taken: number) => counting.made.length - counting.gone.length - taken };
  };

  it('keeps one, doubles with each start that finds none, stays below its bound, and shrinks when idle', async () => {
    const { pool, waiting, mostUnderWay } = make(1, 4);
    pool.refill();
    await settled();
    expect(waiting(0)).toBe(1);
    const taken = new Set<string>();
    for (let burst = 0; burst < 3; burst += 1) {
      for (const sandbox of await Promise.all(Array.from({ length: 6 }, () => pool.take()))) taken.add(sandbox.id);
      pool.refill();
      await settled();
    }
    expect(taken.size).toBe(18);
    expect(waiting(18)).toBe(4);
    vi.advanceTimersByTime(9_999);
    await settled();
    expect(waiting(18)).toBe(4);
    vi.advanceTimersByTime(1);
    await settled();
    expect(waiting(18)).toBe(1);
    expect(mostUnderWay()).toBeGreaterThan(1);
    const next = await pool.take();
    expect(taken).not.toContain(next.id);
    await pool.close();
    expect(waiting(19)).toBe(0);
  });

  it('makes one at a time, and none before its caller has gone on', async () => {
    const { pool, made, mostUnderWay } = make(3, 3);
    pool.refill();
    expect(made.length).toBe(0);
    await Promise.resolve();
    expect(made.length).toBe(0);
    await settled();
    expect(made.length).toBe(3);
    expect(mostUnderWay()).toBe(1);
    await pool.close();
  });

  it('of size 0 makes none in advance, however many are asked for', async () => {
    const { pool, waiting } = make(0, 0);
    await pool.take();
    await pool.take();
    pool.refill();
    await settled();
    expect(waiting(2)).toBe(0);
    await pool.close();
  });

  it('closed while it shrinks or fills leaves none', async () => {
    const { pool, waiting } = make(1, 8);
    await Promise.all(Array.from({ length: 8 }, () => pool.take()));
    pool.refill();
    await settled();
    vi.advanceTimersByTime(10_000);
    pool.refill();
    await pool.close();
    await settled();
    expect(waiting(8)).toBe(0);
  });

  it('hands out none that has waited long and does not answer any more', async () => {
    const { pool, made, gone, mute } = make(1, 1);
    const now = vi.spyOn(performance, 'now');
    now.mockReturnValue(0);
    pool.refill();
    await settled();
    mute.add(made[0] ?? '');
    now.mockReturnValue(60_000);
    const taken = await pool.take();
    await settled();
    expect(taken.id).toBe(made[1]);
    expect(gone).toEqual([made[0]]);
    now.mockRestore();
  });

  it('leaves no directory of one that could not be made', async () => {
    const removed: string[] = [];
    const { factory } = countingFactory();
    const failing = new SandboxPool({
      factory: { ...factory, make: () => Promise.reject(new Error('no sandbox today')) },
      files: { prepare: () => {}, remove: async (id) => void removed.push(id) },
      size: { least: 0, most: 0 },
      log: createLogger('silent'),
    });
    await expect(failing.take()).rejects.toThrow('no sandbox today');
    expect(removed).toHaveLength(1);
  });
});
