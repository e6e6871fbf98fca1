import { appendFileSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ByteStream } from '../../../helper/containers/byteStream.ts';
import {
  advance,
  findTail,
  formatLogTime,
  LineTimestamps,
  LogFile,
  type LogRecord,
  parseRecords,
} from '../../../helper/containers/logFile.ts';
import { LogPump } from '../../../helper/containers/logPump.ts';
import { createLogger } from '../../../helper/log.ts';
import { Channel } from '../../../helper/protocol/index.ts';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'strata-log-'));
  path = join(directory, 'log');
});
afterEach(() => rmSync(directory, { recursive: true }));

function record(text: string, channel = 1, timeNs = 1_700_000_000_123_456_789n): Buffer {
  const payload = Buffer.from(text);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt8(channel, 4);
  header.writeBigUInt64LE(timeNs, 8);
  return Buffer.concat([header, payload]);
}

async function withLog<T>(bytes: Buffer, use: (log: LogFile) => Promise<T>): Promise<T> {
  writeFileSync(path, bytes);
  const log = await LogFile.open(path);
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ''; // closed meanwhile
  }
}

/** The naive way: all lines' starts, in the order in which they begin. */
function lastLines(items: readonly (readonly [string, number])[], lines: number): string {
  const starts: number[] = [];
  const atLineStart: Record<number, boolean> = { 1: true, 2: true };
  let all = '';
  for (const [item, channel] of items) {
    for (const character of item) {
      if (atLineStart[channel] === true) starts.push(all.length);
      atLineStart[channel] = character === '\n';
      all += character;
    }
  }
  return all.slice(starts.at(-lines) ?? starts[0] ?? 0);
}

const text = (records: readonly LogRecord[]) => records.map(({ payload }) => Buffer.from(payload).toString()).join('');

describe('records', () => {
  it('are read whole, and a torn last one is not there', async () => {
    const whole = Buffer.concat([record('one\n'), record('two\n', 2)]);
    for (const torn of [0, 3, 16, 18]) {
      await withLog(Buffer.concat([whole, record('three\n').subarray(0, torn)]), async (log) => {
        const chunk = await log.read(0);
        expect(chunk.records.map(({ channel }) => channel)).toEqual([1, 2]);
        expect(chunk.next).toBe(whole.length);
      });
    }
  });

  it('are read when they are larger than one read', async () => {
    const large = 'x'.repeat(700_000);
    await withLog(Buffer.concat([record(large), record('end')]), async (log) => {
      const first = await log.read(0);
      expect(first.records[0]?.payload.byteLength).toBe(700_000);
      expect(text((await log.read(first.next)).records)).toBe('end');
    });
  });

  it('end before what cannot be one', () => {
    const broken = Buffer.alloc(32, 0xff);
    expect(parseRecords(Buffer.concat([record('ok'), broken]), 0).records).toHaveLength(1);
  });

  it('come back from any cut as they went in', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 40 })), fc.nat(), (texts, cut) => {
        const bytes = Buffer.concat(texts.map((item) => record(item)));
        const at = bytes.length === 0 ? 0 : cut % (bytes.length + 1);
        const before = parseRecords(bytes.subarray(0, at), 0);
        const after = parseRecords(bytes.subarray(before.next), before.next);
        expect(text([...before.records, ...after.records])).toBe(texts.join(''));
      }),
    );
  });
});

describe('resume', () => {
  it('finds the place after any number of bytes, however they were written', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ maxLength: 8, unit: 'grapheme-ascii' })),
        fc.nat(40),
        fc.nat(40),
        async (texts, first, second) => {
          const all = texts.join('');
          await withLog(Buffer.concat(texts.map((item) => record(item))), async (log) => {
            // In two steps, as a stream that was cut off twice.
            const place = await advance(log, await advance(log, { offset: 0, skip: 0 }, first), second);
            const seen = Math.min(first, all.length) + second;
            expect(text((await log.read(place.offset)).records).slice(place.skip)).toBe(all.slice(seen));
          });
        },
      ),
    );
  });
});

describe('tail', () => {
  const tail = (bytes: Buffer, lines: number) =>
    withLog(bytes, async (log) => {
      const { offset, skip } = await findTail(log, lines);
      let all = '';
      for (let chunk = await log.read(offset); chunk.records.length > 0; chunk = await log.read(chunk.next)) all += text(chunk.records);
      return all.slice(skip);
    });

  it('finds lines within, across and at the end of records', async () => {
    const log = Buffer.concat([record('a\nb\nc'), record('c\nd\n'), record('e')]);
    expect(await tail(log, 0)).toBe('');
    expect(await tail(log, 1)).toBe('e');
    expect(await tail(log, 2)).toBe('d\ne');
    expect(await tail(log, 3)).toBe('cc\nd\ne');
    expect(await tail(log, 99)).toBe('a\nb\ncc\nd\ne');
  });
  it('counts a line of each channel', async () => {
    expect(await tail(Buffer.concat([record('out\n', 1), record('err\n', 2)]), 2)).toBe('out\nerr\n');
  });
  it('is what the last lines are, however the log was written and however much of it is read at once', async () => {
    const line = fc.oneof(fc.string({ maxLength: 4, unit: fc.constantFrom('a', '\n') }), fc.constant('y'.repeat(200_000)));
    const writes = fc.array(fc.tuple(line, fc.constantFrom(1, 2)), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(writes, fc.integer({ min: 1, max: 12 }), async (items, lines) => {
        const bytes = Buffer.concat(items.map(([item, channel]) => record(item, channel)));
        // Both are ends of the same text.
        expect((await tail(bytes, lines)).length).toBe(lastLines(items, lines).length);
      }),
      { numRuns: 60 },
    );
  });
  it('takes no memory for each line', async () => {
    const chunk = record('\n'.repeat(64 * 1024));
    await withLog(Buffer.concat(Array.from({ length: 128 }, () => chunk)), async (log) => {
      const heap = (): number => process.memoryUsage().heapUsed;
      const before = heap();
      let peak = before;
      const read = log.read.bind(log);
      log.read = async (offset) => {
        peak = Math.max(peak, heap());
        return await read(offset);
      };
      expect(await findTail(log, 10_000_000)).toEqual({ offset: 0, skip: 0 });
      expect(await findTail(log, 64 * 1024 + 1)).toEqual({ offset: 126 * chunk.length, skip: 64 * 1024 - 1 });
      expect(peak - before).toBeLessThan(100 * 1024 * 1024);
    });
  });
  it('is not looked for any more when nobody wants it, and the file is closed', async () => {
    const writing = Buffer.concat(Array.from({ length: 8 }, () => record('\n'.repeat(200_000))));
    writeFileSync(path, writing);
    const abort = new AbortController();
    const open = (): string[] => readdirSync('/proc/self/fd').flatMap((fd) => (linkOf(fd) === path ? [fd] : []));
    const looking = LogFile.openAt(path, (log) => {
      const read = log.read.bind(log);
      log.read = async (offset) => {
        abort.abort();
        return await read(offset);
      };
      return findTail(log, 1, abort.signal);
    });
    await expect(looking).rejects.toThrow(/abort/i);
    expect(open()).toEqual([]);
  });
  it('has nothing of an empty log', async () => {
    expect(await tail(Buffer.alloc(0), 5)).toBe('');
  });
});

describe('timestamps', () => {
  it('are RFC 3339 with nanoseconds', () => {
    expect(formatLogTime(1_700_000_000_000_000_001n)).toBe('2023-11-14T22:13:20.000000001Z');
  });
  it('stand before each line, not before each record', () => {
    const stamps = new LineTimestamps();
    const apply = (line: string) => Buffer.from(stamps.apply({ offset: 0, channel: 1, timeNs: 0n, payload: Buffer.from(line) })).toString();
    const time = '1970-01-01T00:00:00.000000000Z ';
    expect(apply('a\nb')).toBe(`${time}a\n${time}b`);
    expect(apply('c\n')).toBe('c\n');
    expect(apply('d\n')).toBe(`${time}d\n`);
  });
});

describe('pump', () => {
  class Recorder implements ByteStream {
    readonly id = 1;
    readonly abort = new AbortController();
    readonly signal = this.abort.signal;
    readonly written: string[] = [];
    closed = Promise.withResolvers<unknown>();
    write(channel: Channel, bytes: Uint8Array): Promise<void> {
      this.written.push(`${channel}:${Buffer.from(bytes).toString()}`);
      return Promise.resolve();
    }
    end(): void {}
    close(error?: unknown): void {
      this.closed.resolve(error);
    }
    consume(): void {}
  }
  const start = async (bytes: Buffer) => {
    writeFileSync(path, bytes);
    const stream = new Recorder();
    const pump = new LogPump({ log: await LogFile.open(path), stream, from: { offset: 0, skip: 0 }, logger: createLogger('silent') });
    return { stream, pump };
  };

  it('joins neighbours of one channel and closes after the last record', async () => {
    const { stream, pump } = await start(Buffer.concat([record('a'), record('b'), record('E', 2), record('c')]));
    pump.finish();
    expect(await stream.closed.promise).toBeUndefined();
    expect(stream.written).toEqual([`${Channel.stdout}:ab`, `${Channel.stderr}:E`, `${Channel.stdout}:c`]);
  });
  it('sends what is written between its start and the finish', async () => {
    const { stream, pump } = await start(record('a'));
    appendFileSync(path, record('b'));
    pump.wake();
    appendFileSync(path, record('c'));
    pump.finish();
    await stream.closed.promise;
    expect(stream.written.join('').replaceAll('1:', '')).toBe('abc');
  });
  it('ends when the reader leaves', async () => {
    const { stream, pump } = await start(record('a'));
    stream.abort.abort();
    await pump.done;
    expect(stream.written.length).toBeLessThanOrEqual(1);
  });
});
