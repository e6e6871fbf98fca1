import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Container } from '../../../helper/containers/container.ts';
import { planContainer } from '../../../helper/containers/plan.ts';
import type { ContainerRecord } from '../../../helper/containers/record.ts';
import { beforeRestart } from '../../../helper/containers/restartPolicy.ts';
import { ContainerRestarts } from '../../../helper/containers/restarts.ts';
import { newContainerId } from '../../../helper/containers/sandboxes.ts';
import { EventHub } from '../../../helper/events/hub.ts';
import { createLogger } from '../../../helper/log.ts';
import { DEFAULT_LIMITS, digestSchema, type Exit, type RestartPolicy } from '../../../helper/protocol/index.ts';
import { Layout } from '../../../helper/store/layout.ts';

const exit: Exit = { code: 3, signal: null, oomKilled: false, reason: 'exited with status 3', finishedAt: '2026-01-01T00:00:01.000Z' };

function ended(restartPolicy: RestartPolicy): Container {
  const id = newContainerId();
  const options = { image: 'busybox', command: ['false'], restartPolicy };
  const imageId = digestSchema.parse(`sha256:${'1'.repeat(64)}`);
  const createdAt = '2026-01-01T00:00:00.000Z';
  const record: ContainerRecord = {
    ...{ id, name: 'web', image: 'busybox', imageId, options, limits: DEFAULT_LIMITS, createdAt },
    startedInBoot: null,
  };
  const image = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers' as const, diff_ids: [] } };
  const plan = planContainer({ id, options, image, limits: DEFAULT_LIMITS, cgroup: '/x' });
  const paths = new Layout('/root-of-no-helper', '/run-of-no-helper').container(id);
  return new Container({ record, plan, state: { kind: 'exited', exit, startedAt: createdAt }, paths, cgroup: '/x' });
}

describe('starts by a restart policy', () => {
  let hub: EventHub;
  let restarts: ContainerRestarts;
  beforeEach(() => {
    vi.useFakeTimers();
    hub = new EventHub({ epoch: 'x', seq: 0 });
    restarts = new ContainerRestarts({ hub, log: createLogger('silent') });
  });
  afterEach(() => {
    restarts.close();
    vi.useRealTimers();
  });

  it('that come to nothing are tried again, and the last of them leaves nothing to wait for', async () => {
    const container = ended({ name: 'on-failure', maximumRetryCount: 2 });
    let tries = 0;
    restarts.startAgain = (which, isWanted) => {
      expect(isWanted()).toBe(true);
      which.restarts = beforeRestart(which.restarts);
      tries += 1;
      return Promise.reject(new Error('there is no sandbox for it'));
    };
    restarts.afterExit(container, exit);
    expect(container.state).toHaveProperty('restartsAt');
    await vi.advanceTimersByTimeAsync(100);
    expect(tries).toBe(1);
    expect(container.state).toHaveProperty('restartsAt');
    await vi.advanceTimersByTimeAsync(200);
    expect(tries).toBe(2);
    expect(container.summary()).toMatchObject({ state: { kind: 'exited' }, restartCount: 2 });
    expect(container.state).not.toHaveProperty('restartsAt');
    expect(hub.after(0)?.map(({ record }) => record.action)).toEqual(['restart_failed', 'restart_failed']);
  });

  it('are a few at a time, however many are due together', async () => {
    const containers = Array.from({ length: 30 }, () => ended({ name: 'always' }));
    const begun: PromiseWithResolvers<void>[] = [];
    let underWay = 0;
    let most = 0;
    restarts.startAgain = async (_, isWanted) => {
      if (!isWanted()) return;
      underWay += 1;
      most = Math.max(most, underWay);
      const over = Promise.withResolvers<void>();
      begun.push(over);
      await over.promise;
      underWay -= 1;
    };
    for (const container of containers) restarts.afterAdoption(container);
    await vi.advanceTimersByTimeAsync(100);
    expect(begun.length).toBe(8);
    for (let next = 0; next < begun.length; next += 1) {
      begun[next]?.resolve();
      await vi.advanceTimersByTimeAsync(0);
    }
    expect(begun.length).toBe(30);
    expect(most).toBe(8);
  });
});
