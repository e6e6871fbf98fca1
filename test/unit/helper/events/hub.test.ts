import { describe, expect, it } from 'vitest';
import { EventHub } from '../../../../helper/events/hub.ts';
import { containerSubject } from '../../../../helper/events/subjects.ts';
import type { EventRecord } from '../../../../helper/protocol/index.ts';
import { container, containerId, exit, exited } from '../../extension/samples.ts';
import { epochOf } from './samples.ts';

function hubWith(most?: number): { hub: EventHub; records: EventRecord[] } {
  const hub = new EventHub({ epoch: epochOf('a'), seq: 7, ...(most === undefined ? {} : { most }) });
  const records: EventRecord[] = [];
  hub.onRecord((told) => records.push(told));
  return { hub, records };
}

describe('EventHub', () => {
  it('numbers everything that happens, whether it changes state or not, and goes on where the helper before ended', () => {
    const { hub, records } = hubWith();
    const messages: unknown[] = [];
    hub.subscribe((event, params) => messages.push([event, params.seq]));
    hub.publish('container.changed', { container: container('1') }, { action: 'start' });
    hub.note(containerSubject(container('1')), 'kill', { signal: 'SIGTERM' });
    hub.publish('container.removed', { id: containerId('1') });
    expect(records.map(({ seq, action }) => [seq, action])).toEqual([
      [8, 'start'],
      [9, 'kill'],
      [10, 'destroy'],
    ]);
    expect(messages).toEqual([
      ['container.changed', 8],
      ['container.removed', 10],
    ]);
    expect(hub.position).toEqual({ epoch: epochOf('a'), seq: 10 });
  });

  it('says in words how a container ended', () => {
    const { hub, records } = hubWith();
    const summary = container('1', { state: exited(), labels: { app: 'shop' } });
    hub.publish('container.exited', {
      id: summary.id,
      exit: exit({ code: null, signal: 'SIGKILL', reason: 'killed' }),
      container: summary,
    });
    expect(records[0]).toMatchObject({
      action: 'die',
      type: 'container',
      actor: { id: summary.id, name: 'name-1', image: 'busybox:latest', labels: { app: 'shop' } },
    });
    expect(records[0]?.actor.attributes).toEqual({
      exitCode: '137',
      signal: 'SIGKILL',
      reason: 'killed',
      finishedAt: '2026-01-01T00:01:00Z',
    });
  });

  it('does not make up a status that nobody saw', () => {
    const { hub, records } = hubWith();
    hub.noteExit(container('1'), exit({ code: null, signal: null, reason: 'the host restarted', oomKilled: true }));
    expect(records.map(({ action }) => action)).toEqual(['oom', 'die']);
    expect(records[1]?.actor.attributes).not.toHaveProperty('exitCode');
  });

  it('gives what came after a number, and says where it does not know any more or not yet', () => {
    const { hub } = hubWith(3);
    expect(hub.after(7)).toEqual([]);
    for (const digit of ['1', '2', '3', '4']) hub.publish('container.changed', { container: container(digit) });
    const seqs = (seq: number, most?: number) => hub.after(seq, most)?.map((held) => held.record.seq);
    expect(seqs(7)).toBeUndefined();
    expect(seqs(8)).toEqual([9, 10, 11]);
    expect(seqs(8, 2)).toEqual([9, 10]);
    expect(seqs(11)).toEqual([]);
    expect(seqs(12)).toBeUndefined();
  });
});
