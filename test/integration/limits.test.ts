import { describe, expect, it } from 'vitest';
import type { Stats } from '../../helper/protocol/index.ts';
import { collect, failure, until, useStrata } from './support/strata.ts';

const context = useStrata();
const MIB = 1024 * 1024;

async function cpuUsageUs(container: string): Promise<Stats> {
  const { samples } = await context.strata.connection.request('stats.read', { containers: [container] });
  const [sample] = samples;
  if (sample === undefined) throw new Error('no figures of a running container');
  return sample;
}

/** Percent of one cpu that the container used over `ms`, from the kernel's own counter. */
async function cpuPercentOver(container: string, ms: number): Promise<number> {
  const before = await cpuUsageUs(container);
  await new Promise((resolve) => setTimeout(resolve, ms));
  const after = await cpuUsageUs(container);
  return ((after.cpuUsageUs - before.cpuUsageUs) / 1000 / (after.atMs - before.atMs)) * 100;
}

describe('cpu', () => {
  it('is held to the quota, and follows a live change', async () => {
    const { strata } = context;
    const id = await strata.start({
      command: ['sh', '-c', 'while :; do :; done'],
      limits: { cpuQuotaUs: 20_000, cpuPeriodUs: 100_000 },
    });
    const limited = await cpuPercentOver(id, 3000);
    expect(limited).toBeGreaterThan(17);
    expect(limited).toBeLessThan(23);
    await strata.connection.request('container.update', { container: id, limits: { cpuQuotaUs: 50_000 } });
    const raised = await cpuPercentOver(id, 3000);
    expect(raised).toBeGreaterThan(45);
    expect(raised).toBeLessThan(55);
    expect((await cpuUsageUs(id)).throttledUs).toBeGreaterThan(0);
    expect((await strata.find(id)).limits.cpuQuotaUs).toBe(50_000);
  });

  it('can be bound to one cpu', async () => {
    expect(await context.strata.sh('grep Cpus_allowed_list /proc/self/status | cut -f2', { limits: { cpusetCpus: '0' } })).toBe('0\n');
  });
});

describe('memory', () => {
  it('over the limit kills with 137, and the reason says so', async () => {
    const { strata } = context;
    const finished = await strata.run({
      // Fills a shell variable: anonymous memory of pid 1 itself.
      command: ['sh', '-c', 'exec tail /dev/zero'],
      limits: { memoryMaxBytes: 32 * MIB, memorySwapMaxBytes: 32 * MIB },
    });
    expect(finished).toMatchObject({ status: 137, exit: { signal: 'SIGKILL', oomKilled: true } });
    expect(finished.exit.reason).toMatch(/out of memory/);
    expect(finished.exit.reason).toContain('32 MiB');
  });

  it('below the present use is refused before it kills', async () => {
    const { strata } = context;
    const id = await strata.start({
      command: ['sh', '-c', 'head -c 40000000 /dev/zero > /dev/shm/fill; sleep 1000'],
      limits: { memoryMaxBytes: 512 * MIB },
    });
    await until(async () => (await cpuUsageUs(id)).memoryBytes > 35e6, 'the container to fill its memory');
    const error = await failure(strata.connection.request('container.update', { container: id, limits: { memoryMaxBytes: 8 * MIB } }));
    expect(error).toMatchObject({ code: 'LIMIT_BELOW_USE' });
    expect(error.message).toMatch(/8 MiB/);
    expect(await strata.find(id)).toMatchObject({ state: { kind: 'running' }, limits: { memoryMaxBytes: 512 * MIB } });
  });
});

describe('processes', () => {
  it('stop at pids.max', async () => {
    const { strata } = context;
    const id = await strata.start({
      // Each generation stays and makes two more; one that cannot fork says so and ends.
      command: ['sh', '-c', 'bomb() { sleep 1000 & bomb & bomb & sleep 1000; }; bomb & sleep 1000; true'],
      limits: { pidsMax: 32 },
    });
    const logs = async (): Promise<string> => {
      const { stream } = await strata.connection.request('container.logs', { container: id });
      return (await collect(strata.connection.stream(stream))).stderr;
    };
    let most = 0;
    await until(async () => {
      const { pids, pidsLimit } = await cpuUsageUs(id);
      most = Math.max(most, pids);
      return pidsLimit === 32 && /can't fork/.test(await logs());
    }, 'the bomb to be refused');
    expect(most).toBeLessThanOrEqual(32);
    await strata.remove(id);
  });
});

describe('figures', () => {
  it('are pushed about once a second while somebody listens', async () => {
    const { strata } = context;
    const id = await strata.start({ limits: { memoryMaxBytes: 64 * MIB, pidsMax: 20 } });
    const samples: Stats[] = [];
    const off = strata.connection.onEvent((event, params) => {
      if (event === 'stats.sampled' && 'samples' in params) samples.push(...params.samples.filter((sample) => sample.id === id));
    });
    await strata.connection.request('stats.subscribe', { intervalMs: 200 });
    await until(() => samples.length >= 3, 'three samples');
    await strata.connection.request('stats.unsubscribe', {});
    off();
    expect(samples.at(-1)).toMatchObject({ memoryLimitBytes: 64 * MIB, pids: 1, pidsLimit: 20, oomKills: 0 });
    expect(samples.at(-1)?.cpuPercent).toBeLessThan(20);
    expect(samples.at(-1)?.memoryBytes).toBeGreaterThan(0);
  });
});

describe('bad limits', () => {
  it.each([
    [{ cpuQuotaUs: -5 }, 'LIMIT_INVALID', /cpuQuotaUs/],
    [{ cpusetCpus: '99' }, 'LIMIT_INVALID', /99/],
    [{ memoryMaxBytes: 1e15 }, 'LIMIT_INVALID', /memory/i],
    [{ pidsMax: 0 }, 'LIMIT_INVALID', /pidsMax/],
    [{ memoryMaxBytes: 64 * MIB, memorySwapMaxBytes: 32 * MIB }, 'LIMIT_INVALID', /swap/i],
  ])('%j is refused, by name, and leaves nothing', async (limits, code, message) => {
    const error = await failure(
      context.strata.connection.request('container.run', { options: { image: 'busybox', command: ['true'], limits } }),
    );
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect((await context.strata.connection.request('container.list', { all: true })).containers).toEqual([]);
  });
});
