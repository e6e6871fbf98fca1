import { appendFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EventHistory } from '../../../../helper/events/history.ts';
import { epochOf, log, readAll, record, settled, startEvents, useDirectory } from './samples.ts';

const directory = useDirectory();
const open = (bounds = {}) => EventHistory.open({ directory: directory.path, log, bounds });
const files = () => readdirSync(directory.path).sort();
const seqsOf = async (history: EventHistory) => (await readAll(history)).map(({ seq }) => seq);
const subject = (digit: string) => ({ type: 'container', id: digit.repeat(32), name: `name-${digit}`, image: 'busybox' }) as const;

describe('EventHistory', () => {
  it('knows after a restart what was told, where the numbers go on, and which containers there are', async () => {
    const first = await startEvents(directory.path, { epoch: epochOf('a') });
    expect(first.history.before).toBeUndefined();
    for (const digit of ['1', '2', '3']) first.hub.note(subject(digit), 'create');
    first.hub.note(subject('1'), 'start');
    first.hub.note(subject('2'), 'start');
    first.hub.note(subject('2'), 'die', { finishedAt: '2026-01-01T00:00:00Z' });
    first.hub.note(subject('3'), 'destroy');
    // Late, of one that is gone: it does not come back.
    first.hub.note(subject('3'), 'exec_die');
    await first.history.close();
    const second = await open();
    expect(second.lastSeq).toBe(8);
    expect(await seqsOf(second)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(second.before).toEqual({
      containers: [
        { id: '1'.repeat(32), name: 'name-1', image: 'busybox', runs: true, finishedAt: null },
        { id: '2'.repeat(32), name: 'name-2', image: 'busybox', runs: false, finishedAt: '2026-01-01T00:00:00Z' },
      ],
      images: [],
    });
  });

  it('is readable for nobody else', async () => {
    const { hub, history } = await startEvents(join(directory.path, 'events'), { epoch: epochOf('a') });
    hub.note(subject('1'), 'create');
    await history.close();
    expect(statSync(join(directory.path, 'events')).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory.path, 'events', '00000001.jsonl')).mode & 0o777).toBe(0o600);
  });

  it('ignores a line that a crash tore, at the end and when more was written behind it', async () => {
    const first = await open();
    first.append(record(1));
    first.append(record(2));
    await first.close();
    const path = join(directory.path, files()[0] ?? '');
    const whole = readFileSync(path, 'utf8');
    writeFileSync(path, whole.slice(0, -20));
    const second = await open();
    expect(second.lastSeq).toBe(1);
    second.append(record(2, { epoch: epochOf('b') }));
    await second.close();
    const third = await open();
    expect((await readAll(third)).map(({ seq, epoch }) => [seq, epoch])).toEqual([
      [1, epochOf('a')],
      [2, epochOf('b')],
    ]);
  });

  it('ignores what is none of its lines', async () => {
    const first = await open();
    first.append(record(1));
    await first.close();
    const path = join(directory.path, files()[0] ?? '');
    appendFileSync(path, `${'\0'.repeat(100)}\n{"seq":9}\nnull\n${JSON.stringify({ ...record(5), more: 1 })}\n`);
    const second = await open();
    expect(second.lastSeq).toBe(1);
    expect(await seqsOf(second)).toEqual([1]);
  });

  it('keeps so many files of such a size, and still knows the containers of those that are gone', async () => {
    const { hub, history } = await startEvents(directory.path, { epoch: epochOf('a'), bounds: { fileBytes: 1000, files: 2 } });
    hub.note(subject('1'), 'create');
    hub.note(subject('1'), 'start');
    for (let count = 0; count < 40; count += 1) {
      hub.note(subject('2'), 'create');
      hub.note(subject('2'), 'destroy');
      await settled({ hub, history });
    }
    await history.close();
    expect(files()).toHaveLength(2);
    for (const name of files()) expect(statSync(join(directory.path, name)).size).toBeLessThan(2500);
    const again = await open();
    expect(again.lastSeq).toBe(82);
    expect(again.before?.containers).toEqual([{ id: '1'.repeat(32), name: 'name-1', image: 'busybox', runs: true, finishedAt: null }]);
    const seqs = await seqsOf(again);
    expect(seqs.at(-1)).toBe(82);
    expect(seqs).toEqual(seqs.map((_, index) => 82 - seqs.length + 1 + index));
  });

  it('looks behind a last file that has no first line yet', async () => {
    const first = await open();
    first.append(record(1, { action: 'create' }));
    await first.close();
    writeFileSync(join(directory.path, '00000002.jsonl'), '');
    const second = await open();
    expect(second.lastSeq).toBe(1);
    expect(second.before?.containers).toHaveLength(1);
  });

  it('leaves out what the disk does not take, and goes on when it does', async () => {
    const path = join(directory.path, 'file-in-the-way');
    writeFileSync(path, '');
    const history = await EventHistory.open({ directory: path, log });
    expect(history.before).toBeUndefined();
    history.append(record(1));
    await history.close();
    expect(history.settledSeq).toBe(1);
    rmSync(path);
    history.append(record(2));
    await history.close();
    expect(await seqsOf(history)).toEqual([2]);
  });

  it('does not pile up what waits for a disk that hangs', async () => {
    const history = await open({ waiting: 10 });
    for (let seq = 1; seq <= 25; seq += 1) history.append(record(seq));
    await history.close();
    expect(await seqsOf(history)).toEqual([21, 22, 23, 24, 25]);
    expect(history.settledSeq).toBe(25);
  });
});
