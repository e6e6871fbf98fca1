import { describe, expect, it } from 'vitest';
import { LogBuffer } from '../../../extension/model/log/logBuffer.ts';
import { parseFilter } from '../../../extension/model/log/logFilter.ts';
import { formatLogLine, type LogLine } from '../../../extension/model/log/logLine.ts';
import { parseTime, rangePresets, rangeWords } from '../../../extension/model/log/logRange.ts';
import { readableLine } from '../../../extension/model/log/logText.ts';
import { TimedLines } from '../../../extension/model/log/timedLines.ts';
import { LineTimestamps } from '../../../helper/containers/logs/encoders.ts';

const START_NS = 1_790_000_000_042_000_000n;

/** What the helper sends of a channel that wrote these, one a millisecond, from so many bytes of the log on. */
function sent(writes: readonly string[], skip = 0): Buffer {
  const timestamps = new LineTimestamps();
  let left = skip;
  const parts = writes.map((text, index) => {
    const payload = Buffer.from(text);
    const cut = Math.min(left, payload.byteLength);
    left -= cut;
    return timestamps.apply({ channel: 1, timeNs: START_NS + BigInt(index) * 1_000_000n, payload: payload.subarray(cut) });
  });
  return Buffer.concat(parts);
}

const texts = (lines: readonly LogLine[]): [number, string][] => lines.map(({ timeMs, text }) => [timeMs - 1_790_000_000_042, text]);

describe('lines of a log with times', () => {
  const writes = ['one\n', 'tw', 'o\nthree\n', 'vi', 'er: größe €\n', '\n', 'last'];
  const whole: [number, string][] = [
    [0, 'one'],
    [1, 'two'],
    [2, 'three'],
    [3, 'vier: größe €'],
    [5, ''],
    [6, 'last'],
  ];

  it('are the same however the bytes are cut', () => {
    const bytes = sent(writes);
    for (let size = 1; size <= bytes.byteLength; size += 1) {
      const lines = new TimedLines('stdout');
      const read: LogLine[] = [];
      for (let at = 0; at < bytes.byteLength; at += size) read.push(...lines.push(bytes.subarray(at, at + size)));
      expect(texts([...read, ...lines.end()])).toEqual(whole);
      expect(lines.logBytes).toBe(Buffer.byteLength(writes.join('')));
    }
  });

  it('are the same wherever a connection was cut off and another went on', () => {
    const bytes = sent(writes);
    for (let cut = 0; cut <= bytes.byteLength; cut += 1) {
      const lines = new TimedLines('stdout');
      lines.resume();
      const read = lines.push(bytes.subarray(0, cut));
      lines.resume();
      read.push(...lines.push(sent(writes, lines.logBytes)));
      expect([cut, texts([...read, ...lines.end()])]).toEqual([cut, whole]);
    }
  });

  it('come in pieces where they are very long', () => {
    const lines = new TimedLines('stdout').push(sent([`${'x'.repeat(40_000)}\n`]));
    expect(lines.map(({ text }) => text.length)).toEqual([16_384, 16_384, 7232]);
  });
});

describe('a line of output in a document', () => {
  it('has neither colours nor anything that ends a line or rings a bell', () => {
    expect(readableLine('\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\r')).toBe('red text');
    expect(readableLine('10 %\r20 %\r100 %\r')).toBe('100 %');
    expect(readableLine('a\u2028b\u0007c\u0000d\x7f\x9b')).toBe('a\ufffdb\u2407c\u2400d\u2421\ufffd');
    expect(readableLine('tab\tstays, ünïcode 🎉 too')).toBe('tab\tstays, ünïcode 🎉 too');
  });

  it('says its time and its stream where that is wanted', () => {
    const line: LogLine = { timeMs: new Date(2026, 10, 20, 17, 4, 5, 7).getTime(), source: 'stderr', text: 'oh' };
    expect(formatLogLine(line, { times: true, sources: true })).toBe('2026-11-20 17:04:05.007 err oh');
    expect(formatLogLine({ ...line, source: 'stdout' }, { times: false, sources: true })).toBe('out oh');
    expect(formatLogLine(line, { times: false, sources: false })).toBe('oh');
    expect(formatLogLine({ ...line, source: 'notice' }, { times: false, sources: true })).toBe('── oh ──');
  });
});

describe('a filter', () => {
  const matching = (typed: string, lines: readonly string[]): readonly string[] => {
    const parsed = parseFilter(typed);
    if (parsed.kind === 'invalid') throw new Error(parsed.message);
    return lines.filter((line) => parsed.filter?.lets(line) ?? true);
  };

  it('is a text, an expression, or what is not', () => {
    const lines = ['GET /a 200', 'GET /b 500', 'Error: x'];
    expect(matching('', lines)).toEqual(lines);
    expect(matching('error', lines)).toEqual(['Error: x']);
    expect(matching('/error/', lines)).toEqual([]);
    expect(matching('/error/i', lines)).toEqual(['Error: x']);
    expect(matching('/ 5\\d\\d$/', lines)).toEqual(['GET /b 500']);
    expect(matching('!get', lines)).toEqual(['Error: x']);
    expect(matching('!/^GET/', lines)).toEqual(['Error: x']);
    expect(matching('/a', lines)).toEqual(['GET /a 200']);
  });

  it('that is no expression says why', () => {
    const parsed = parseFilter('/(/');
    expect(parsed.kind === 'invalid' ? parsed.message : '').toContain('Invalid regular expression');
  });
});

describe('a time range', () => {
  const now = new Date(2026, 10, 20, 17, 4, 5).getTime();

  it('begins when a person says', () => {
    expect(parseTime('10m', now)).toBe(now - 600_000);
    expect(parseTime('1.5 h', now)).toBe(now - 5_400_000);
    expect(parseTime('14:30', now)).toBe(new Date(2026, 10, 20, 14, 30).getTime());
    expect(parseTime('2026-11-19', now)).toBe(new Date(2026, 10, 19).getTime());
    expect(parseTime('2026-11-19 08:00', now)).toBe(new Date(2026, 10, 19, 8).getTime());
    expect(parseTime('2026-11-19T08:00:00Z', now)).toBe(Date.UTC(2026, 10, 19, 8));
    for (const nonsense of ['', 'yesterday', '25:00', '10 parsecs', '2026-13-01'])
      expect([nonsense, parseTime(nonsense, now)]).toEqual([nonsense, undefined]);
  });

  it('has words', () => {
    expect(rangePresets(now).map(({ words }) => words)).toEqual(['last 5 minutes', 'last hour', 'today', 'all']);
    expect(rangeWords(now, undefined)).toBe('from 2026-11-20 17:04:05');
    expect(rangeWords(undefined, now)).toBe('to 2026-11-20 17:04:05');
    expect(rangeWords(undefined, undefined)).toBe('all');
  });
});

describe('a buffer of lines', () => {
  const line = (text: string): LogLine => ({ timeMs: 0, source: 'stdout', text });

  it('keeps the last ones, under the numbers that they had', () => {
    const buffer = new LogBuffer();
    buffer.add(['a', 'b', 'c', 'd'].map(line));
    buffer.trim(3);
    expect([buffer.first, buffer.end, buffer.size]).toEqual([1, 4, 3]);
    expect(buffer.at(1)?.text).toBe('b');
    expect(buffer.from(3)).toEqual([line('d')]);
    expect(buffer.find(line('c'))).toBe(2);
    expect(buffer.find(line('a'))).toBeUndefined();
  });

  it('counts text too: few very long lines are too much as well', () => {
    const buffer = new LogBuffer();
    buffer.add(['x'.repeat(1500), 'y'.repeat(1500), 'z'].map(line));
    expect(buffer.exceeds(3)).toBe(true);
    buffer.trim(3);
    expect(buffer.size).toBe(2);
  });
});
