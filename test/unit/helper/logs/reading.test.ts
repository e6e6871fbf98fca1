import { appendFileSync, readdirSync, readlinkSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LogCursor, type LogItem, type LogPlace } from '../../../../helper/containers/logs/cursor.ts';
import { endPlace, findLines, firstPlace, placeAt, wholeLog } from '../../../../helper/containers/logs/places.ts';
import { type LogChannel, parseRecords } from '../../../../helper/containers/logs/records.ts';
import { firstSegment, LogSegment } from '../../../../helper/containers/logs/segments.ts';
import { lost, record, startMs, textOf, useDirectory, type Write, WrittenLog } from './support.ts';

const directory = useDirectory();
afterEach(() => vi.restoreAllMocks());

async function readAll(cursor: LogCursor): Promise<LogItem[]> {
  const all: LogItem[] = [];
  for (let items = await cursor.next(); items !== undefined; items = await cursor.next()) all.push(...items);
  return all;
}

async function readFrom(log: string, place: LogPlace): Promise<LogItem[]> {
  const cursor = await LogCursor.open(log, place);
  try {
    return await readAll(cursor);
  } finally {
    await cursor.close();
  }
}

const writtenLog = (...segments: (readonly Write[])[]): WrittenLog => {
  const log = new WrittenLog(directory.path);
  for (const segment of segments) log.add(segment);
  return log;
};

/** Of the log's files. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith(`${directory.path}/log`) ? [target] : [];
    } catch {
      return []; // closed meanwhile
    }
  });
}

/** The naive way: all lines' starts, in the order in which they begin. */
function lastLines(writes: readonly Write[], lines: number): string {
  const starts: number[] = [];
  const atLineStart: Record<number, boolean> = { 1: true, 2: true };
  let all = '';
  for (const { text, channel = 1 } of writes) {
    for (const character of text) {
      if (atLineStart[channel] === true) starts.push(all.length);
      atLineStart[channel] = character === '\n';
      all += character;
    }
  }
  return all.slice(starts.at(-lines) ?? starts[0] ?? 0);
}

describe('records', () => {
  it('are read whole, and a torn last one is not there', async () => {
    const whole = Buffer.concat([record('one\n'), record('two\n', 2)]);
    const log = `${directory.path}/log`;
    for (const torn of [0, 3, 16, 18]) {
      writeFileSync(log, Buffer.concat([whole, record('three\n').subarray(0, torn)]));
      const items = await readFrom(log, await firstPlace(log));
      expect([textOf(items, 1), textOf(items, 2)]).toEqual(['one\n', 'two\n']);
    }
  });

  it('are read when they are larger than one read', async () => {
    const log = writtenLog([{ text: 'x'.repeat(700_000) }, { text: 'end' }]);
    expect(textOf(await readFrom(log.path, await firstPlace(log.path)))).toBe(`${'x'.repeat(700_000)}end`);
  });

  it('end before what cannot be one', () => {
    for (const broken of [Buffer.alloc(32, 0xff), Buffer.alloc(4096), record('x', 4)])
      expect(parseRecords(Buffer.concat([record('ok'), broken]), 0).records).toHaveLength(1);
  });

  it('come back from any cut as they went in', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 40 })), fc.nat(), (texts, cut) => {
        const bytes = Buffer.concat(texts.map((item) => record(item)));
        const at = bytes.length === 0 ? 0 : cut % (bytes.length + 1);
        const before = parseRecords(bytes.subarray(0, at), 0);
        const after = parseRecords(bytes.subarray(before.next), before.next);
        const items = [...before.records, ...after.records].flatMap((one) => (one.kind === 'output' ? [one] : []));
        expect(textOf(items)).toBe(texts.join(''));
      }),
    );
  });
});

describe('a log in segments', () => {
  it('is read from one to the next', async () => {
    const log = writtenLog([{ text: 'a\n' }, { text: 'E\n', channel: 2 }], [{ text: 'b\n' }], [{ text: 'c\n' }]);
    const items = await readFrom(log.path, await firstPlace(log.path));
    expect(items.map(({ kind }) => kind)).toEqual(['output', 'output', 'output', 'output']);
    expect(textOf(items)).toBe('a\nE\nb\nc\n');
    expect(openFiles()).toEqual([]);
  });

  it('is followed into segments that come later', async () => {
    const log = writtenLog();
    const cursor = await LogCursor.open(log.path, await firstPlace(log.path));
    expect(await cursor.next()).toBeUndefined();
    log.add([{ text: 'a\n' }]);
    expect(textOf(await readAll(cursor))).toBe('a\n');
    log.add([{ text: 'b\n' }]);
    appendFileSync(log.names[1] ?? '', record('b2\n'));
    expect(textOf(await readAll(cursor))).toBe('b\nb2\n');
    await cursor.close();
    expect(openFiles()).toEqual([]);
  });

  it('tells a slow reader how much it missed, and goes on with what is there', async () => {
    const log = writtenLog([{ text: 'aa\n' }, { text: 'E\n', channel: 2 }]);
    const cursor = await LogCursor.open(log.path, await firstPlace(log.path));
    expect(textOf((await cursor.next()) ?? [])).toBe('aa\nE\n');
    log
      .add([{ text: 'bbbb\n' }, { text: 'EE\n', channel: 2 }])
      .add([{ text: 'c\n' }])
      .add([{ text: 'd\n' }]);
    log.drop();
    log.drop();
    const items = await readAll(cursor);
    expect(items[0]).toEqual({ kind: 'gap', reason: 'rotated', bytes: { 1: 5, 2: 3 }, position: { 1: 8, 2: 5 } });
    expect(textOf(items)).toBe('c\nd\n');
    await cursor.close();
  });

  it('is read to the end of a segment that was removed while it was read', async () => {
    const log = writtenLog([{ text: 'a\n' }]);
    const cursor = await LogCursor.open(log.path, await firstPlace(log.path));
    log.add([{ text: 'b\n' }]);
    expect(textOf((await cursor.next()) ?? [])).toBe('a\n');
    log.drop();
    const items = await readAll(cursor);
    expect(items.map(({ kind }) => kind)).toEqual(['output']);
    expect(textOf(items)).toBe('b\n');
    await cursor.close();
  });

  it('says what a crash of the host has taken, and where the disk was full', async () => {
    const log = writtenLog([{ text: 'one\n' }, { text: 'two\n' }], [{ text: 'three\n' }]);
    truncateSync(log.names[0] ?? '', 16 + 4 + 10);
    appendFileSync(log.names[1] ?? '', Buffer.concat([lost(77), record('four\n')]));
    const items = await readFrom(log.path, await firstPlace(log.path));
    expect(items.filter(({ kind }) => kind !== 'output')).toEqual([
      { kind: 'gap', reason: 'damaged', bytes: { 1: 4, 2: 0 }, position: { 1: 8, 2: 0 } },
      { kind: 'lost', offset: 56 + 16 + 6, bytes: 77, position: { 1: 14, 2: 0 } },
    ]);
    expect(textOf(items)).toBe('one\nthree\nfour\n');
  });

  it('does not take a segment for one whose beginning is not written yet', async () => {
    const log = writtenLog([{ text: 'a\n' }]);
    const next = `${log.path}.${'2'.padStart(20, '0')}`;
    const cursor = await LogCursor.open(log.path, await firstPlace(log.path));
    for (const begun of [Buffer.alloc(0), Buffer.alloc(30), Buffer.alloc(4096)]) {
      writeFileSync(next, begun);
      expect(textOf(await readAll(cursor))).toBe(begun.length === 0 ? 'a\n' : '');
    }
    // Its writer was killed; the next one goes on in the segment before.
    rmSync(next);
    appendFileSync(log.path, record('b\n'));
    expect(textOf(await readAll(cursor))).toBe('b\n');
    await cursor.close();
  });

  it('may be gone altogether', async () => {
    expect(await firstPlace(`${directory.path}/none/log`)).toEqual({ position: { 1: 0, 2: 0 } });
    expect(await readFrom(`${directory.path}/none/log`, await endPlace(`${directory.path}/none/log`))).toEqual([]);
  });
});

describe('a place', () => {
  const segments = fc.array(
    fc.array(
      fc.record({ text: fc.string({ maxLength: 8, unit: fc.constantFrom('a', 'b', '\n') }), channel: fc.constantFrom<LogChannel>(1, 2) }),
      {
        maxLength: 5,
      },
    ),
    { minLength: 1, maxLength: 5 },
  );
  const nonEmpty = segments.map((list) => list.filter((writes, index) => index === 0 || writes.some(({ text }) => text !== '')));
  const fresh = (list: readonly (readonly Write[])[]): WrittenLog => {
    for (const name of readdirSync(directory.path)) rmSync(`${directory.path}/${name}`);
    return writtenLog(...list);
  };

  it('is found again by how much of each stream came before it, whatever was rotated away since', async () => {
    await fc.assert(
      fc.asyncProperty(nonEmpty, fc.nat(), fc.nat(), fc.nat(4), async (list, first, second, drops) => {
        const log = fresh(list);
        const writes = list.flat();
        const of = (channel: LogChannel): string => writes.map((write) => (write.channel === channel ? write.text : '')).join('');
        const position = { 1: first % (of(1).length + 1), 2: second % (of(2).length + 1) };
        for (let drop = 0; drop < Math.min(drops, list.length - 1); drop += 1) log.drop();
        for (const wanted of [[1, 2], [1], [2]] as const) {
          const channels = new Set<LogChannel>(wanted);
          const items = await readFrom(log.path, await placeAt(log.path, position, channels));
          for (const channel of channels) {
            const gaps = items.reduce((sum, item) => sum + (item.kind === 'gap' ? item.bytes[channel] : 0), 0);
            expect(textOf(items, channel)).toBe(of(channel).slice(position[channel] + gaps));
          }
        }
      }),
      { numRuns: 50 },
    );
  }, 30_000);

  it('is the end, and what is written then comes', async () => {
    await fc.assert(
      fc.asyncProperty(nonEmpty, async (list) => {
        const log = fresh(list);
        const place = await endPlace(log.path);
        const cursor = await LogCursor.open(log.path, place);
        expect(await readAll(cursor)).toEqual([]);
        log.add([{ text: 'new\n' }]);
        expect(textOf(await readAll(cursor))).toBe('new\n');
        await cursor.close();
        const lengths = list.flat().reduce((sum, { text }) => sum + text.length, 0);
        expect(place.position[1] + place.position[2]).toBe(lengths);
      }),
      { numRuns: 50 },
    );
  }, 30_000);
});

describe('tail', () => {
  const tail = async (log: WrittenLog, lines: number): Promise<string> =>
    textOf(await readFrom(log.path, await findLines(log.path, wholeLog, lines)));

  it('finds lines within, across and at the end of records and segments', async () => {
    const log = writtenLog([{ text: 'a\nb\nc' }, { text: 'c\nd\n' }], [{ text: 'e' }]);
    expect(await tail(log, 0)).toBe('');
    expect(await tail(log, 1)).toBe('e');
    expect(await tail(log, 2)).toBe('d\ne');
    expect(await tail(log, 3)).toBe('cc\nd\ne');
    expect(await tail(log, 99)).toBe('a\nb\ncc\nd\ne');
  });

  it('counts a line of each channel, and only those that are wanted', async () => {
    const log = writtenLog([{ text: 'out\n' }, { text: 'err\n', channel: 2 }, { text: 'more\n' }, { text: 'err2\n', channel: 2 }]);
    expect(await tail(log, 2)).toBe('more\nerr2\n');
    const only = async (channel: LogChannel, lines: number): Promise<string> =>
      textOf(await readFrom(log.path, await findLines(log.path, { channels: new Set([channel]) }, lines)), channel);
    expect(await only(1, 1)).toBe('more\n');
    expect(await only(1, 2)).toBe('out\nmore\n');
    expect(await only(2, 1)).toBe('err2\n');
  });

  it('is what the last lines are, however the log was written and however much of it is read at once', async () => {
    const text = fc.oneof(fc.string({ maxLength: 4, unit: fc.constantFrom('a', '\n') }), fc.constant('y'.repeat(200_000)));
    const writes = fc.array(fc.record({ text, channel: fc.constantFrom<LogChannel>(1, 2) }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(writes, fc.integer({ min: 1, max: 12 }), fc.nat(12), async (items, lines, cut) => {
        for (const name of readdirSync(directory.path)) rmSync(`${directory.path}/${name}`);
        const before = items.slice(0, cut);
        const log = writtenLog(before, ...(before.some((item) => item.text !== '') ? [items.slice(cut)] : []));
        const all = before.some((item) => item.text !== '') ? items : before;
        // Both are ends of the same text.
        expect((await tail(log, lines)).length).toBe(lastLines(all, lines).length);
      }),
      { numRuns: 25 },
    );
  }, 30_000);

  it('reads no more segments than hold the lines', async () => {
    const log = writtenLog([{ text: 'a\nb\n' }], [{ text: 'c\nd\n' }], [{ text: 'e\nf\n' }]);
    const open = vi.spyOn(LogSegment, 'open');
    expect((await findLines(log.path, wholeLog, 3)).position).toEqual({ 1: 6, 2: 0 });
    expect(open.mock.calls.map(([name]) => name.path)).not.toContain(log.path);
  });

  it('takes no memory for each line', async () => {
    const log = `${directory.path}/log`;
    const chunk = record('\n'.repeat(64 * 1024));
    writeFileSync(log, Buffer.concat(Array.from({ length: 32 }, () => chunk)));
    const heap = (): number => process.memoryUsage().heapUsed;
    const before = heap();
    expect((await findLines(log, wholeLog, 10_000_000)).position).toEqual({ 1: 0, 2: 0 });
    expect((await findLines(log, wholeLog, 64 * 1024 + 1)).position).toEqual({ 1: 31 * 64 * 1024 - 1, 2: 0 });
    expect(heap() - before).toBeLessThan(100 * 1024 * 1024);
  });

  it('is not looked for any more when nobody wants it, and the files are closed', async () => {
    const log = writtenLog([{ text: '\n'.repeat(200_000) }, { text: '\n'.repeat(200_000) }], [{ text: '\n'.repeat(10) }]);
    const abort = new AbortController();
    const looking = findLines(log.path, wholeLog, 1_000_000, abort.signal);
    while (openFiles().length === 0) await turn();
    abort.abort();
    await expect(looking).rejects.toThrow(/abort/i);
    expect(openFiles()).toEqual([]);
  });
});

describe('since and until', () => {
  const at = (atMs: number, text: string, channel: LogChannel = 1): Write => ({ text, channel, atMs: startMs + atMs });
  const since = async (log: WrittenLog, sinceMs: number, untilMs?: number, lines?: number): Promise<string> => {
    const query = { ...wholeLog, sinceMs: startMs + sinceMs, ...(untilMs === undefined ? {} : { untilMs: startMs + untilMs }) };
    return textOf(await readFrom(log.path, await findLines(log.path, query, lines)));
  };

  it('begin with the first line that is not older, whose time is that of its first byte', async () => {
    const log = writtenLog([at(0, 'a\nb'), at(10, 'b\nc\n')], [at(20, 'd\n')]);
    expect(await since(log, -1)).toBe('a\nbb\nc\nd\n');
    expect(await since(log, 1)).toBe('c\nd\n');
    expect(await since(log, 10)).toBe('c\nd\n');
    expect(await since(log, 11)).toBe('d\n');
    expect(await since(log, 21)).toBe('');
  });

  it('count the last lines of the range only', async () => {
    const log = writtenLog([at(0, 'a\n'), at(1, 'b\n')], [at(2, 'c\n'), at(3, 'd\n')], [at(4, 'e\n')]);
    // What comes behind the range is cut off when it is sent.
    expect(await since(log, 0, 3, 2)).toBe('c\nd\ne\n');
    expect(await since(log, 1, 2, 9)).toBe('b\nc\nd\ne\n');
    expect(await since(log, 5, 9, 2)).toBe('');
  });

  it('skip segments that hold no such line, also where the clock was set back', async () => {
    const log = writtenLog([at(0, 'a\n')], [at(1000, 'b\n'), at(100, 'back\n')], [at(200, 'c\n')], [at(300, 'd\n')]);
    const read = vi.spyOn(LogSegment.prototype, 'read');
    expect((await findLines(log.path, { ...wholeLog, sinceMs: startMs + 900 }, undefined)).position).toEqual({ 1: 2, 2: 0 });
    const segments = read.mock.contexts as LogSegment[]; // of a method of theirs
    expect([...new Set(segments.map(({ name }) => name.path))]).toEqual([log.names[1]]);
  });
});

describe('a segment', () => {
  it('that is not there is no error', async () => {
    expect(await LogSegment.open(firstSegment(`${directory.path}/log`))).toBeUndefined();
  });
});
