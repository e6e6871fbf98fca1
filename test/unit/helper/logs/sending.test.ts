import { appendFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LogCursor, type LogItem } from '../../../../helper/containers/logs/cursor.ts';
import { formatLogTime, JsonEncoder, LineTimestamps, type LogEncoder, RawEncoder } from '../../../../helper/containers/logs/encoders.ts';
import { LineEnd } from '../../../../helper/containers/logs/lineEnd.ts';
import { firstPlace, wholeLog } from '../../../../helper/containers/logs/places.ts';
import { LogPump, type LogPumpOptions } from '../../../../helper/containers/logs/pump.ts';
import type { LogChannel, LogOutput } from '../../../../helper/containers/logs/records.ts';
import { createLogger } from '../../../../helper/log.ts';
import { Channel, logLineSchema } from '../../../../helper/protocol/index.ts';
import { NoticeReader, noticeWords } from '../../../../helper/wire/logNotices.ts';
import { Recorder, record, startMs, startNs, textOf, useDirectory, WrittenLog } from './support.ts';

const directory = useDirectory();

const output = (text: string | Buffer, channel: LogChannel = 1, atMs = 0): LogOutput => ({
  kind: 'output',
  offset: 0,
  channel,
  timeNs: startNs + BigInt(atMs) * 1_000_000n,
  payload: Buffer.from(text),
});
const gap: LogItem = { kind: 'gap', reason: 'rotated', bytes: { 1: 5, 2: 7 }, position: { 1: 10, 2: 20 } };

const pieces = (encoder: LogEncoder, ...batches: LogItem[][]): string[] =>
  [...batches.flatMap((items) => [...encoder.encode(items)]), ...encoder.end()].map(
    ({ channel, bytes }) => `${channel}:${Buffer.from(bytes).toString()}`,
  );

describe('timestamps', () => {
  it('are RFC 3339 with nanoseconds', () => {
    expect(formatLogTime(1_700_000_000_000_000_001n)).toBe('2023-11-14T22:13:20.000000001Z');
  });
  it('stand before each line, not before each record', () => {
    const stamps = new LineTimestamps();
    const apply = (line: string) => Buffer.from(stamps.apply({ channel: 1, timeNs: 0n, payload: Buffer.from(line) })).toString();
    const time = '1970-01-01T00:00:00.000000000Z ';
    expect(apply('a\nb')).toBe(`${time}a\n${time}b`);
    expect(apply('c\n')).toBe('c\n');
    expect(apply('d\n')).toBe(`${time}d\n`);
  });
});

describe('raw', () => {
  it('has each stream on its channel, and what is missing between', () => {
    const items = [output('a'), output('E', 2), gap, output('b')];
    expect(pieces(new RawEncoder(wholeLog.channels, false), items)).toEqual([
      '1:a',
      '2:E',
      '3:{"missed":{"bytes":12,"reason":"rotated"},"at":{"stdout":10,"stderr":20}}\n',
      '1:b',
    ]);
    expect(pieces(new RawEncoder(new Set([2]), false), items)).toEqual([
      '2:E',
      '3:{"missed":{"bytes":7,"reason":"rotated"},"at":{"stdout":10,"stderr":20}}\n',
    ]);
  });
});

describe('json', () => {
  const lines = (...batches: LogItem[][]): unknown[] =>
    pieces(new JsonEncoder(wholeLog.channels), ...batches)
      .flatMap((piece) => piece.slice(2).split('\n'))
      .filter((line) => line !== '')
      .map((line): unknown => JSON.parse(line));
  const time = '2023-11-14T22:13:20.123000000Z';

  it('has an object a line, with the time of its first byte, wherever the writes were cut', () => {
    const found = lines([output('one\ntw'), output('E\n', 2, 1)], [output('o\n', 1, 5), output('rest', 1, 6)]);
    expect(found).toEqual([
      { time, stream: 'stdout', text: 'one' },
      { time: time.replace('123', '124'), stream: 'stderr', text: 'E' },
      { time, stream: 'stdout', text: 'two' },
      { time: time.replace('123', '129'), stream: 'stdout', text: 'rest', partial: true },
    ]);
    for (const line of found) logLineSchema.parse(line);
  });
  it('loses no byte of what is no text', () => {
    expect(lines([output(Buffer.from([0xff, 0x0a]))])).toEqual([{ time, stream: 'stdout', base64: '/w==' }]);
  });
  it('cuts very long lines', () => {
    const found = lines([output('x'.repeat(600_000)), output('\n')]) as { text: string; partial?: boolean }[];
    expect(found.map(({ text, partial }) => [text.length, partial])).toEqual([
      [262_144, true],
      [262_144, true],
      [75_712, undefined],
    ]);
  });
  it('says what is missing, and joins nothing across it', () => {
    expect(lines([output('be'), gap, output('gun\n')])).toEqual([
      { time, stream: 'stdout', text: 'be', partial: true },
      { missed: { bytes: 12, reason: 'rotated' }, at: { stdout: 10, stderr: 20 } },
      { time, stream: 'stdout', text: 'gun' },
    ]);
  });
});

describe('the end of a time range', () => {
  const cut = (items: LogOutput[]): [string, boolean] => {
    const end = new LineEnd(startMs + 10, wholeLog.channels);
    return [textOf(end.cut(items)), end.isReached];
  };
  it('is before the first line that is younger', () => {
    expect(cut([output('a\n', 1, 10), output('b\n', 1, 11), output('c\n', 1, 10)])).toEqual(['a\n', true]);
  });
  it('gives a line that was begun before to its end', () => {
    expect(cut([output('be', 1, 10), output('gun\nb\n', 1, 11)])).toEqual(['begun\n', true]);
    expect(cut([output('be', 1, 10), output('g', 1, 11), output('un\n', 1, 12)])).toEqual(['begun\n', false]);
    expect(cut([output('be', 1, 10), output('gun\n', 1, 11), output('E\n', 2, 12)])).toEqual(['begun\n', true]);
  });
});

describe('notices', () => {
  it('are read however they are cut, and unknown ones are left out', () => {
    const reader = new NoticeReader();
    const text = '{"new":1}\nnonsense\n{"missed":{"bytes":1048576,"reason":"diskFull"},"at":{"stdout":1,"stderr":0}}\n';
    const found = [...Buffer.from(text)].flatMap((byte) => reader.push(Uint8Array.of(byte)));
    expect(found.map(noticeWords)).toEqual(['1 MiB of output are missing here: the disk of the log was full']);
  });
});

describe('pump', () => {
  const start = async (options: Partial<LogPumpOptions> = {}) => {
    const log = new WrittenLog(directory.path).add([{ text: 'a' }]);
    const stream = new Recorder();
    const cursor = await LogCursor.open(log.path, await firstPlace(log.path));
    const pump = new LogPump({ cursor, stream, logger: createLogger('silent'), ...options });
    return { log, stream, pump };
  };

  it('joins neighbours of one channel and closes after the last record', async () => {
    const { log, stream, pump } = await start();
    appendFileSync(log.path, Buffer.concat([record('b'), record('E', 2), record('c')]));
    pump.finish();
    expect(await stream.closed.promise).toBeUndefined();
    expect(stream.written.join('')).toMatch(new RegExp(`^${Channel.stdout}:a.*b${Channel.stderr}:E${Channel.stdout}:c$`));
  });
  it('sends what is written between its start and the finish', async () => {
    const { log, stream, pump } = await start();
    appendFileSync(log.path, record('b'));
    pump.wake();
    appendFileSync(log.path, record('c'));
    pump.finish();
    await stream.closed.promise;
    expect(stream.written.join('').replaceAll('1:', '')).toBe('abc');
  });
  it('ends when the reader leaves', async () => {
    const { stream, pump } = await start();
    stream.abort.abort();
    await pump.done;
    expect(stream.written.length).toBeLessThanOrEqual(1);
  });
  it('ends at the end of a time range, also while it follows', async () => {
    const { log, stream, pump } = await start({ end: new LineEnd(startMs + 5, wholeLog.channels) });
    appendFileSync(log.path, Buffer.concat([record('b\n', 1, startNs), record('late\n', 1, startNs + 6_000_000n)]));
    pump.wake();
    await stream.closed.promise;
    expect(stream.written.join('').replaceAll('1:', '')).toBe('ab\n');
    await pump.done;
  });
});
