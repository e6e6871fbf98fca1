import { describe, expect, it } from 'vitest';
import { MissedEvents } from '../../../../helper/events/missed.ts';
import { containerSubject } from '../../../../helper/events/subjects.ts';
import type { ContainerSummary, EventRecord } from '../../../../helper/protocol/index.ts';
import { container, exited } from '../../extension/samples.ts';
import { epochOf, startEvents, useDirectory } from './samples.ts';

const directory = useDirectory();

/** What a helper tells at its start that finds these containers. */
async function foundAfter(
  told: readonly (readonly [ContainerSummary, string])[],
  found: readonly ContainerSummary[],
  exists = false,
): Promise<string[]> {
  const first = await startEvents(directory.path, { epoch: epochOf('a') });
  first.hub.note({ type: 'helper', id: first.hub.epoch, name: 'stratad' }, 'start');
  for (const [summary, action] of told) first.hub.note(containerSubject(summary), action);
  await first.history.close();
  return await foundNow(found, exists);
}

async function foundNow(found: readonly ContainerSummary[], exists = false): Promise<string[]> {
  const second = await startEvents(directory.path, { epoch: epochOf('b') });
  const records: EventRecord[] = [];
  second.hub.onRecord((record) => records.push(record));
  const missed = new MissedEvents(second);
  for (const summary of found) missed.found(summary);
  missed.finish(found, () => exists);
  await second.history.close();
  return records.map(({ action, actor }) => `${action} ${actor.name}`);
}

const running = container('1');
const ended = container('1', { state: exited() });
const created = container('1', { state: { kind: 'created' } });

describe('MissedEvents', () => {
  it.each([
    [
      'nothing',
      [
        [running, 'create'],
        [running, 'start'],
      ],
      [running],
      [],
    ],
    [
      'the end of one that ran',
      [
        [running, 'create'],
        [running, 'start'],
      ],
      [ended],
      ['die name-1'],
    ],
    [
      'no end twice',
      [
        [running, 'create'],
        [running, 'start'],
        [running, 'die'],
      ],
      [ended],
      [],
    ],
    ['a start that was not told any more', [[created, 'create']], [running], ['start name-1']],
    ['one that is there and was never told', [], [created], ['create name-1']],
    ['one that is gone', [[created, 'create']], [], ['destroy name-1']],
    ['another name', [[created, 'create']], [container('1', { name: 'other', state: { kind: 'created' } })], ['rename other']],
  ] as const)('tells of %s', async (_, told, found, expected) => {
    expect(await foundAfter(told, found)).toEqual(expected);
    // Once.
    expect(await foundNow(found)).toEqual([]);
  });

  it('does not say that one is gone whose record cannot be read', async () => {
    expect(await foundAfter([[created, 'create']], [], true)).toEqual([]);
  });

  it('tells nothing of what was there before anybody told of anything, and remembers it', async () => {
    expect(await foundNow([running])).toEqual([]);
    expect(await foundNow([ended])).toEqual(['die name-1']);
  });
});
