import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { Container } from '../../../helper/containers/container.ts';
import { planContainer } from '../../../helper/containers/plan.ts';
import type { ContainerRecord } from '../../../helper/containers/record.ts';
import { ContainerRegistry } from '../../../helper/containers/registry.ts';
import { newContainerId } from '../../../helper/containers/sandboxes.ts';
import { DEFAULT_LIMITS, digestSchema, type Exit } from '../../../helper/protocol/index.ts';
import { Layout } from '../../../helper/store/layout.ts';

const layout = new Layout('/root-of-no-helper', '/run-of-no-helper');

function makeContainer(name: string, createdAt = '2026-01-01T00:00:00.000Z'): Container {
  const id = newContainerId();
  const options = { image: 'busybox', command: ['true'] };
  const imageId = digestSchema.parse(`sha256:${'1'.repeat(64)}`);
  const record: ContainerRecord = { id, name, image: 'busybox', imageId, options, limits: DEFAULT_LIMITS, createdAt, startedInBoot: null };
  const image = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers' as const, diff_ids: [] } };
  const plan = planContainer({ id, options, image, limits: DEFAULT_LIMITS, cgroup: '/x' });
  return new Container({ record, plan, state: { kind: 'created' }, paths: layout.container(id), cgroup: '/x' });
}

const exit: Exit = { code: 3, signal: null, oomKilled: false, reason: 'exited with status 3', finishedAt: '2026-01-01T00:00:01.000Z' };

describe('who waits for an exit', () => {
  it('is told of it, of a removal, or that the wait was cancelled', async () => {
    const container = makeContainer('web');
    const abort = new AbortController();
    const [waiting, cancelled] = [container.whenExited(), container.whenExited(abort.signal)];
    abort.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(container.whenExited(abort.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    container.announceExit(exit);
    await expect(waiting).resolves.toEqual(exit);
    const next = container.whenExited();
    container.leave();
    await expect(next).rejects.toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
  });

  it('leaves nothing behind when it gives up, for a container that runs on', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void; // what the flag just made
    const container = makeContainer('web');
    const waits: WeakRef<Promise<Exit>>[] = [];
    for (let count = 0; count < 100; count += 1) {
      const abort = new AbortController();
      const wait = container.whenExited(abort.signal);
      waits.push(new WeakRef(wait));
      abort.abort();
      await wait.catch(() => {});
    }
    // A reference that was looked at stays until the turn is over.
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    expect(waits.filter((wait) => wait.deref() !== undefined).length).toBeLessThan(5);
    expect(container.state.kind).toBe('created');
  });
});

describe('two containers of one name', () => {
  it.each(['older first', 'newer first'])('become two names (%s)', (order) => {
    const older = makeContainer('web');
    const newer = makeContainer('web', '2026-01-02T00:00:00.000Z');
    const registry = new ContainerRegistry();
    const [first, second] = order === 'older first' ? [older, newer] : [newer, older];
    expect(registry.add(first)).toBeUndefined();
    expect(registry.add(second)).toBe(older);
    expect(registry.find('web')).toBe(newer);
    expect(registry.find(`web-${older.id.slice(0, 8)}`)).toBe(older);
  });
});
