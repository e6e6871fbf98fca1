import { describe, expect, it } from 'vitest';
import { afterRun, beforeRestart, NO_RESTARTS, restartDelayMs, restarts } from '../../../helper/containers/restartPolicy.ts';
import type { Exit, RestartPolicy } from '../../../helper/protocol/index.ts';

const exit = (code: number | null): Exit => ({ code, signal: null, oomKilled: false, reason: '', finishedAt: '2026-01-01T00:00:00Z' });
const stopped = { ...NO_RESTARTS, stoppedByPerson: true };

describe('a restart policy', () => {
  const cases: readonly [policy: RestartPolicy, code: number | null, stopped: boolean, helperStart: boolean, expected: boolean][] = [
    [{ name: 'no' }, 1, false, false, false],
    [{ name: 'no' }, 1, false, true, false],
    [{ name: 'on-failure' }, 0, false, false, false],
    [{ name: 'on-failure' }, 1, false, false, true],
    // Nobody saw the end: no success.
    [{ name: 'on-failure' }, null, false, true, true],
    [{ name: 'on-failure' }, 1, true, false, false],
    [{ name: 'always' }, 0, false, false, true],
    [{ name: 'always' }, 0, true, false, false],
    [{ name: 'always' }, 0, true, true, true],
    [{ name: 'unless-stopped' }, 0, false, true, true],
    [{ name: 'unless-stopped' }, 1, true, true, false],
  ];

  it.each(cases)(
    '%j after status %s (stopped by a person: %s, the helper starts: %s): %s',
    (policy, code, isStopped, helperStart, expected) => {
      expect(restarts(policy, exit(code), { history: isStopped ? stopped : NO_RESTARTS, helperStart })).toBe(expected);
    },
  );

  it('counts the retries of on-failure, and 0 is no bound', () => {
    const thrice = { ...NO_RESTARTS, count: 3 };
    expect(restarts({ name: 'on-failure', maximumRetryCount: 4 }, exit(1), { history: thrice })).toBe(true);
    expect(restarts({ name: 'on-failure', maximumRetryCount: 3 }, exit(1), { history: thrice })).toBe(false);
    expect(restarts({ name: 'on-failure', maximumRetryCount: 0 }, exit(1), { history: thrice })).toBe(true);
  });

  it('waits longer from one short run to the next, up to a minute, and anew after a long one', () => {
    let history = NO_RESTARTS;
    const delays: number[] = [];
    for (let run = 0; run < 12; run++) {
      history = afterRun(history, 50);
      delays.push(restartDelayMs(history));
      history = beforeRestart(history);
    }
    expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
    expect(restartDelayMs(afterRun(history, 10_000))).toBe(100);
    expect(restartDelayMs(afterRun(history, null))).toBe(60_000);
    expect(history.count).toBe(12);
  });

  it('is done with a stop when it starts again', () => {
    expect(beforeRestart(stopped).stoppedByPerson).toBe(false);
  });
});
