import { describe, expect, it } from 'vitest';
import { EventFeed, type FeedRequest } from '../../../../helper/events/feed.ts';
import type { EventLine } from '../../../../helper/protocol/index.ts';
import { epochOf, settled, startEvents, useDirectory } from './samples.ts';

const directory = useDirectory();
const subject = (name: string) => ({ type: 'container', id: '1'.repeat(32), name, image: 'busybox' }) as const;

type Started = Awaited<ReturnType<typeof startEvents>>;

/** Numbers, and gaps as "after-before". */
function short(lines: readonly EventLine[]): (number | string)[] {
  return lines.map((line) => ('gap' in line ? `${line.gap.afterSeq}-${line.gap.beforeSeq}` : line.seq));
}

async function past(started: Started, request: Omit<FeedRequest, 'signal'> = {}): Promise<(number | string)[]> {
  const { lines } = new EventFeed(started).open({ untilMs: Date.now(), ...request, signal: new AbortController().signal });
  const all: EventLine[] = [];
  for await (const some of lines) all.push(...some);
  return short(all);
}

async function nextOf(lines: AsyncGenerator<EventLine[], unknown>): Promise<(number | string)[]> {
  const next = await lines.next();
  return next.done === true ? [] : short(next.value);
}

async function tell(started: Started, count: number, name = 'web'): Promise<void> {
  for (let index = 0; index < count; index += 1) started.hub.note(subject(name), 'kill');
  await settled(started);
}

describe('EventFeed', () => {
  it('gives what came after a place, or from a time on', async () => {
    const started = await startEvents(directory.path, { epoch: epochOf('a') });
    await tell(started, 5);
    expect(await past(started)).toEqual([]);
    expect(await past(started, { since: { kind: 'position', epoch: epochOf('a'), seq: 3 } })).toEqual([4, 5]);
    expect(await past(started, { since: { kind: 'position', epoch: epochOf('a'), seq: 5 } })).toEqual([]);
    expect(await past(started, { since: { kind: 'time', timeMs: 0 } })).toEqual([1, 2, 3, 4, 5]);
    expect(await past(started, { since: { kind: 'time', timeMs: Date.now() + 1000 } })).toEqual([]);
    expect(await past(started, { since: { kind: 'time', timeMs: 0 }, untilMs: 1 })).toEqual([]);
    await started.history.close();
  });

  it('refuses a place where nothing has happened yet', async () => {
    const started = await startEvents(directory.path, { epoch: epochOf('a') });
    await expect(past(started, { since: { kind: 'position', epoch: epochOf('a'), seq: 1 } })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    });
  });

  it('takes from disk what memory does not hold, each event once', async () => {
    const started = await startEvents(directory.path, { epoch: epochOf('a'), most: 3 });
    await tell(started, 300);
    const all = Array.from({ length: 300 }, (_, index) => index + 1);
    expect(await past(started, { since: { kind: 'time', timeMs: 0 } })).toEqual(all);
    expect(await past(started, { since: { kind: 'position', epoch: epochOf('a'), seq: 7 } })).toEqual(all.slice(7));
    await started.history.close();
  });

  it('goes on after the last event of the helper before', async () => {
    const first = await startEvents(directory.path, { epoch: epochOf('a') });
    await tell(first, 5);
    await first.history.close();
    const second = await startEvents(directory.path, { epoch: epochOf('b'), most: 2 });
    const since = (epoch: string, seq: number) => past(second, { since: { kind: 'position', epoch: epochOf(epoch), seq } });
    expect(await since('a', 5)).toEqual([]);
    await tell(second, 4);
    expect(await since('a', 3)).toEqual([4, 5, 6, 7, 8, 9]);
    expect(await since('a', 5)).toEqual([6, 7, 8, 9]);
    expect(await since('b', 6)).toEqual([7, 8, 9]);
    await second.history.close();
  });

  it('says that something is missing where a crash of the host took the end and its numbers came again', async () => {
    const first = await startEvents(directory.path, { epoch: epochOf('a') });
    await tell(first, 5);
    await first.history.close();
    const second = await startEvents(directory.path, { epoch: epochOf('b') });
    await tell(second, 2);
    // Its reader saw 1 to 9; only 5 of them are on disk.
    expect(await past(second, { since: { kind: 'position', epoch: epochOf('a'), seq: 9 } })).toEqual(['9-6', 6, 7]);
    await second.history.close();
  });

  it('says which events are no longer known to who comes too late', async () => {
    const bounds = { fileBytes: 500, files: 2 };
    const started = await startEvents(directory.path, { epoch: epochOf('a'), most: 2, bounds });
    for (let index = 0; index < 40; index += 1) await tell(started, 1);
    const [gap, ...seqs] = await past(started, { since: { kind: 'position', epoch: epochOf('a'), seq: 2 } });
    expect(gap).toBe(`2-${seqs[0]}`);
    expect(seqs).toEqual(seqs.map((_, index) => 40 - seqs.length + 1 + index));
    // Of a time nobody said that there was anything.
    expect(await past(started, { since: { kind: 'time', timeMs: 0 } })).toEqual(seqs);
    await started.history.close();
  });

  it('lets a reader be as slow as it likes: it goes on from disk, and then on from memory', async () => {
    const started = await startEvents(directory.path, { epoch: epochOf('a'), most: 10 });
    await tell(started, 1);
    const stop = new AbortController();
    const { lines } = new EventFeed(started).open({ since: { kind: 'time', timeMs: 0 }, signal: stop.signal });
    expect(await nextOf(lines)).toEqual([1]);
    await tell(started, 500);
    const seen: (number | string)[] = [];
    for await (const some of lines) {
      seen.push(...short(some));
      if (seen.at(-1) === 501) await tell(started, 1);
      if (seen.at(-1) === 502) stop.abort();
    }
    expect(seen).toEqual(Array.from({ length: 501 }, (_, index) => index + 2));
    await started.history.close();
  });

  it('waits for what has not happened, until its time or until nobody reads', async () => {
    const started = await startEvents(directory.path, { epoch: epochOf('a') });
    expect(await past(started, { untilMs: Date.now() + 50 })).toEqual([]);
    const stop = new AbortController();
    const { at, lines } = new EventFeed(started).open({ signal: stop.signal, filters: { container: ['web'] } });
    expect(at).toEqual({ epoch: epochOf('a'), seq: 0 });
    const first = nextOf(lines);
    await tell(started, 2, 'other');
    await tell(started, 1);
    expect(await first).toEqual([3]);
    const next = lines.next();
    stop.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    await started.history.close();
  });
});
