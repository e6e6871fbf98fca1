import { describe, expect, it } from 'vitest';
import { planHealth } from '../../../helper/containers/healthPlan.ts';
import { afterCheck, NEW_HEALTH, nextCheckMs } from '../../../helper/containers/healthState.ts';
import { createOptionsSchema, type HealthDetails, type HealthResult, imageConfigSchema } from '../../../helper/protocol/index.ts';

const image = (config: object) =>
  imageConfigSchema.parse({ architecture: 'amd64', os: 'linux', config, rootfs: { type: 'layers', diff_ids: [] } });
const check = (exitCode: number | null): HealthResult => ({ startedAt: 'then', finishedAt: 'now', exitCode, output: '' });
const checked = (exitCodes: readonly (number | null)[], { retries = 3, inStartPeriod = false, from = NEW_HEALTH } = {}): HealthDetails =>
  exitCodes.reduce((state, exitCode) => afterCheck(state, check(exitCode), { retries, inStartPeriod }), from);

describe('health', () => {
  it('is good after one success, and bad after so many failures one after the other', () => {
    expect(checked([0])).toMatchObject({ status: 'healthy', failingStreak: 0 });
    expect(checked([1, 1])).toMatchObject({ status: 'starting', failingStreak: 2 });
    expect(checked([1, 1, 1])).toMatchObject({ status: 'unhealthy', failingStreak: 3 });
    expect(checked([0, 1, null])).toMatchObject({ status: 'healthy', failingStreak: 2 });
    expect(checked([0, 1, 1, 0, 1])).toMatchObject({ status: 'healthy', failingStreak: 1 });
    expect(checked([1, 1, 1, 1, 0])).toMatchObject({ status: 'healthy', failingStreak: 0 });
    expect(checked([2], { retries: 1 }).status).toBe('unhealthy');
  });
  it('does not count failures in the start period, until a success', () => {
    const starting = checked([1, 1, 1, 1], { inStartPeriod: true });
    expect(starting).toMatchObject({ status: 'starting', failingStreak: 0 });
    expect(starting.results).toHaveLength(4);
    const healthy = checked([0], { inStartPeriod: true, from: starting });
    expect(checked([1, 1, 1], { inStartPeriod: true, from: healthy }).status).toBe('unhealthy');
  });
  it('keeps the last five results', () => {
    expect(checked([1, 2, 3, 4, 5, 6, 7]).results.map(({ exitCode }) => exitCode)).toEqual([3, 4, 5, 6, 7]);
  });
  it('is looked at more often while it is starting', () => {
    const plan = { intervalMs: 30_000, startIntervalMs: 5000 };
    expect(nextCheckMs({ status: 'starting' }, plan, true)).toBe(5000);
    expect(nextCheckMs({ status: 'healthy' }, plan, true)).toBe(30_000);
    expect(nextCheckMs({ status: 'starting' }, plan, false)).toBe(30_000);
  });
});

describe('how health is checked', () => {
  const second = 1e9;
  it('is as the image says, with defaults', () => {
    const { plan } = planHealth({ image: 'x' }, image({ Healthcheck: { Test: ['CMD', 'curl', 'x'], Interval: 2 * second, Retries: 0 } }));
    expect(plan).toEqual({
      ...{ command: ['curl', 'x'], intervalMs: 2000, timeoutMs: 30_000 },
      ...{ startPeriodMs: 0, startIntervalMs: 5000, retries: 3 },
    });
  });
  it('is as a person says, each part for itself', () => {
    const own = {
      Healthcheck: { Test: ['CMD-SHELL', 'old'], Interval: second, Timeout: second, StartPeriod: second, Retries: 9 },
      Shell: ['/bin/ash', '-ec'],
    };
    expect(planHealth({ image: 'x', healthcheck: { test: ['CMD-SHELL', 'new'], retries: 1 } }, image(own)).plan).toEqual({
      ...{ command: ['/bin/ash', '-ec', 'new'], intervalMs: 1000, timeoutMs: 1000 },
      ...{ startPeriodMs: 1000, startIntervalMs: 5000, retries: 1 },
    });
    expect(planHealth({ image: 'x', healthcheck: { test: ['NONE'] } }, image(own))).toEqual({});
    expect(planHealth({ image: 'x', healthcheck: { intervalMs: 5 } }, image({}))).toEqual({});
  });
  it('of an image is left out where it cannot be read', () => {
    expect(planHealth({ image: 'x' }, image({ Healthcheck: { Test: ['RUN', 'x'] } })).warning).toContain('none of NONE, CMD and CMD-SHELL');
    expect(planHealth({ image: 'x' }, image({ Healthcheck: 'often' }))).toEqual({});
    expect(planHealth({ image: 'x' }, image({ Healthcheck: { Test: [] } }))).toEqual({});
  });
  it('is refused where it makes no sense', () => {
    const refused = (healthcheck: object) => !createOptionsSchema.safeParse({ image: 'x', healthcheck }).success;
    expect(
      [{ test: [] }, { test: ['CMD'] }, { test: ['NONE', 'x'] }, { test: ['CMD-SHELL', 'a', 'b'] }, { test: ['sh'] }].map(refused),
    ).toEqual([true, true, true, true, true]);
    expect([{ intervalMs: 0 }, { retries: 0 }, { timeoutMs: 1e12 }].map(refused)).toEqual([true, true, true]);
    expect(refused({ test: ['CMD', 'true'], startPeriodMs: 0 })).toBe(false);
  });
});
