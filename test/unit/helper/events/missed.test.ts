import { describe, expect, it } from 'vitest';
import { MissedEvents } from '../../../../helper/events/missed.ts';
import { type Attributes, containerSubject, imageSubject, type Subject } from '../../../../helper/events/subjects.ts';
import type { ContainerSummary, EventRecord, ImageSummary } from '../../../../helper/protocol/index.ts';
import { container, exit, exited, image } from '../../extension/samples.ts';
import { epochOf, startEvents, useDirectory } from './samples.ts';

const directory = useDirectory();

interface Found {
  readonly containers?: readonly ContainerSummary[];
  readonly images?: readonly ImageSummary[];
  /** What is not found and there all the same. */
  readonly exists?: boolean;
}

/** What a helper tells at its start that finds this, after one that told that. */
async function foundAfter(told: readonly (readonly [Subject, string, Attributes?])[], found: Found): Promise<string[]> {
  const first = await startEvents(directory.path, { epoch: epochOf('a') });
  first.hub.note({ type: 'helper', id: first.hub.epoch, name: 'stratad' }, 'start');
  for (const [about, action, attributes] of told) first.hub.note(about, action, attributes);
  await first.history.close();
  return await foundNow(found);
}

async function foundNow({ containers = [], images = [], exists = false }: Found): Promise<string[]> {
  const started = await startEvents(directory.path, { epoch: epochOf('b') });
  const records: EventRecord[] = [];
  started.hub.onRecord((record) => records.push(record));
  const missed = new MissedEvents(started);
  for (const summary of containers) missed.found(summary);
  missed.finish({ containers, images }, { container: () => exists, image: () => exists });
  await started.history.close();
  return records.map(({ action, actor }) => `${action} ${actor.name}`);
}

const running = container('1');
const ended = container('1', { state: exited() });
const { finishedAt } = exit();
const failed = container('1', { state: { kind: 'exited', exit: exit(), startedAt: null } });
const created = container('1', { state: { kind: 'created' } });
const other = container('1', { name: 'other', state: { kind: 'created' } });
const subject = containerSubject(running);
const busybox = image('a', ['busybox:latest']);

describe('MissedEvents', () => {
  it.each([
    [
      'nothing',
      [
        [subject, 'create'],
        [subject, 'start'],
      ],
      { containers: [running] },
      [],
    ],
    [
      'the end of one that ran',
      [
        [subject, 'create'],
        [subject, 'start'],
      ],
      { containers: [ended] },
      ['die name-1'],
    ],
    [
      'no end twice',
      [
        [subject, 'create'],
        [subject, 'start'],
        [subject, 'die', { finishedAt }],
      ],
      { containers: [ended] },
      [],
    ],
    [
      'the end of an exec session with that of its container, once',
      [
        [subject, 'create'],
        [subject, 'start'],
        [subject, 'exec_start', { execId: 'aa' }],
        [subject, 'exec_start', { execId: 'bb' }],
        [subject, 'exec_die', { execId: 'aa' }],
      ],
      { containers: [ended] },
      ['exec_die name-1', 'die name-1'],
    ],
    ['a run that came and went untold', [[subject, 'create']], { containers: [ended] }, ['start name-1', 'die name-1']],
    [
      'another run after one that was told',
      [
        [subject, 'create'],
        [subject, 'start'],
        [subject, 'die', { finishedAt: '2026-01-01T00:00:59Z' }],
      ],
      { containers: [ended] },
      ['start name-1', 'die name-1'],
    ],
    ['a start that failed', [[subject, 'create']], { containers: [failed] }, ['die name-1']],
    ['a start that was not told any more', [[subject, 'create']], { containers: [running] }, ['start name-1']],
    ['a container that is there and was never told', [], { containers: [created] }, ['create name-1']],
    ['a container that is gone', [[subject, 'create']], {}, ['destroy name-1']],
    ['another name', [[subject, 'create']], { containers: [other] }, ['rename other']],
    ['an image that is there and was never told', [], { images: [busybox] }, ['import busybox:latest']],
    ['an image that is gone', [[imageSubject(busybox), 'import']], {}, ['delete ']],
    ['no image twice', [[imageSubject(busybox), 'import']], { images: [busybox] }, []],
  ] as const)('tells of %s', async (_, told, found: Found, expected) => {
    expect(await foundAfter(told, found)).toEqual(expected);
    // Once.
    expect(await foundNow(found)).toEqual([]);
  });

  it('does not say that something is gone which only cannot be read', async () => {
    const told = [
      [subject, 'create'],
      [imageSubject(busybox), 'import'],
    ] as const;
    expect(await foundAfter(told, { exists: true })).toEqual([]);
  });

  it('tells nothing of what was there before anybody told of anything, and remembers it', async () => {
    expect(await foundNow({ containers: [running], images: [busybox] })).toEqual([]);
    expect(await foundNow({ containers: [ended], images: [busybox] })).toEqual(['die name-1']);
  });
});
