import { describe, expect, it } from 'vitest';
import type { HelperClient, HelperMessage } from '../../../extension/client/helperClient.ts';
import { logsPlan, runPlan } from '../../../extension/terminals/sessions.ts';
import { StrataError } from '../../../helper/protocol/index.ts';
import { container, containerId, exit } from './samples.ts';

const id = containerId('a');
const size = { columns: 80, rows: 24 };

/** A client whose requests this test answers. */
class FakeClient {
  readonly #listeners = new Set<(message: HelperMessage) => void>();
  readonly answers: Record<string, () => Promise<unknown>> = {};

  says(message: HelperMessage): void {
    for (const listener of this.#listeners) listener(message);
  }

  get client(): HelperClient {
    const client = {
      request: (method: string) => this.answers[method]?.() ?? Promise.reject(new Error(`${method} is not answered`)),
      stream: () => ({}),
      onMessage: (listener: (message: HelperMessage) => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      onState: () => () => {},
    };
    return client as unknown as HelperClient; // a class with private fields; sessions use these four
  }
}

describe('a container that is run', () => {
  it('is not run a second time by itself when the answer was lost, and is attached to when it came', async () => {
    const fake = new FakeClient();
    const results: unknown[] = [];
    const plan = runPlan(fake.client, { image: 'busybox' }, (result) => results.push(result));
    fake.answers['container.run'] = () => Promise.reject(new StrataError('CONNECTION_CLOSED', 'gone'));
    await expect(plan.open(size)).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    expect(plan.reopen.isAutomatic).toBe(false);
    expect(plan.reopen.words).toContain('run another one');

    fake.answers['container.run'] = () => Promise.resolve({ id, name: 'x', pid: 1, stream: 1, warnings: [] });
    await plan.reopen.open(size, undefined);
    expect(results).toEqual([expect.any(StrataError), { id, warnings: [] }]);
    expect(plan.reopen).toMatchObject({ isAutomatic: true, words: 'attached again' });
    fake.answers['container.run'] = () => Promise.reject(new Error('a second container'));
    fake.answers['container.attach'] = () => Promise.resolve({ stream: 2, tty: true });
    expect((await plan.reopen.open(size, undefined)).tty).toBe(true);
  });
});

describe('the end of a log', () => {
  const followed = async (fake: FakeClient) => {
    fake.answers['container.logs'] = () =>
      Promise.resolve({ stream: 1, tty: false, from: { stdout: 0, stderr: 0 }, first: { stdout: 0, stderr: 0 } });
    return await logsPlan(fake.client, id, 10).open(size);
  };

  it('is told of a container that removed itself when it ended', async () => {
    const fake = new FakeClient();
    const session = await followed(fake);
    fake.answers['container.inspect'] = () => Promise.reject(new StrataError('CONTAINER_NOT_FOUND', 'there is no container'));
    fake.says({
      kind: 'event',
      event: 'container.exited',
      params: { seq: 1, id, exit: exit({ code: 3, reason: 'exited with status 3' }), container: container('1') },
    });
    expect(await session.end()).toMatchObject({ words: 'End of the log: the container exited with status 3 and was removed' });
  });

  it('is told of one that was removed unseen', async () => {
    const fake = new FakeClient();
    const session = await followed(fake);
    fake.answers['container.inspect'] = () => Promise.reject(new StrataError('CONTAINER_NOT_FOUND', 'there is no container'));
    expect(await session.end()).toMatchObject({ words: 'End of the log: the container was removed' });
  });
});
