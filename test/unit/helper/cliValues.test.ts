import { describe, expect, it } from 'vitest';
import { logParams } from '../../../helper/cli/commands/logs.ts';
import { limitsOf } from '../../../helper/cli/createOptions.ts';
import { DetachKeys, parseDetachKeys } from '../../../helper/cli/detachKeys.ts';
import { inFlags } from '../../../helper/cli/flagNames.ts';
import { ago, commandText, duration, table } from '../../../helper/cli/output.ts';
import {
  parseCommand,
  parseCpus,
  parseEnvironmentFile,
  parseFilter,
  parseLogOptions,
  parseMoment,
  parseShare,
  parseShares,
  parseSize,
  parseTime,
  parseTimeOffset,
  parseTmpfs,
  parseUserNamespace,
  resolveEnvironment,
  weightOfShares,
} from '../../../helper/cli/values.ts';
import { formatBytes, StrataError } from '../../../helper/protocol/index.ts';

describe('sizes and numbers', () => {
  it.each([
    ['64m', 64 * 1024 ** 2],
    ['1.5g', 1.5 * 1024 ** 3],
    ['512K', 512 * 1024],
    ['1024', 1024],
    ['10b', 10],
    ['2MiB', 2 * 1024 ** 2],
    ['1GB', 1024 ** 3],
  ])('%s', (text, bytes) => {
    expect(parseSize('--memory', text)).toBe(bytes);
  });
  it.each(['', 'm', '-1m', '1x', '1 2', '1e3', '0x10'])('refuses "%s"', (text) => {
    expect(() => parseSize('--memory', text)).toThrow(/--memory/);
  });
  it('reads shares of a whole', () => {
    expect(['0.9', '90%', '0', '1', '12.5 %'].map((text) => parseShare('--lowest-efficiency', text))).toEqual([0.9, 0.9, 0, 1, 0.125]);
    for (const text of ['1.5', '101%', 'much', '', '-1', '.9'])
      expect(() => parseShare('--lowest-efficiency', text)).toThrow(/--lowest-efficiency/);
  });
  it('reads cpus as quota and period', () => {
    expect(parseCpus('0.5')).toEqual({ cpuQuotaUs: 50_000, cpuPeriodUs: 100_000 });
    expect(parseCpus('2')).toEqual({ cpuQuotaUs: 200_000, cpuPeriodUs: 100_000 });
    for (const text of ['0', '-1', 'all', '']) expect(() => parseCpus(text)).toThrow(/--cpus/);
  });
  it('converts shares as runc does', () => {
    expect([2, 1024, 262_144].map(weightOfShares)).toEqual([1, 39, 10_000]);
    expect(parseShares('0')).toBe(100);
    for (const text of ['-2', '1', '262145', 'x']) expect(() => parseShares(text)).toThrow(/--cpu-shares/);
  });
  it('writes sizes with the unit that fits', () => {
    expect([0, 122, 1536, 512 * 1024 ** 2, 24_105.6 * 1024 ** 2].map(formatBytes)).toEqual([
      '0 B',
      '122 B',
      '1.5 KiB',
      '512 MiB',
      '23.5 GiB',
    ]);
  });
});

describe('limits', () => {
  it('has only what was asked for', () => {
    expect(limitsOf({})).toEqual({});
    expect(limitsOf({ memory: '64m', pidsLimit: '-1' })).toEqual({ memoryMaxBytes: 64 * 1024 ** 2, pidsMax: null });
    expect(limitsOf({ memorySwap: '-1', cpusetCpus: '' })).toEqual({ memorySwapMaxBytes: null, cpusetCpus: null });
  });
  it.each([
    [{ cpus: '0.001' }, '--cpus 0.001 is not within 0.01 to 10000'],
    [{ cpuQuota: '-7' }, '--cpu-quota -7 is not within 1000 to 1000000000, or -1 for no limit'],
    [{ cpuPeriod: '10' }, '--cpu-period 10 is not within 1000 to 1000000'],
    [{ pidsLimit: '-5' }, '--pids-limit -5 is not within 1 to 4194304, or -1 for no limit'],
    [{ memory: '10' }, '--memory 10 is too little: the least is 512 KiB (512k); -1 is no limit'],
  ])('names the flag and the range: %j', (flags, message) => {
    expect(() => limitsOf(flags)).toThrow(message);
  });
  it('does not take cpus and a quota', () => {
    expect(() => limitsOf({ cpus: '1', cpuQuota: '1000' })).toThrow(/leave out/);
  });
});

describe('flags', () => {
  it('passes on variables by name', () => {
    expect(resolveEnvironment(['A=1', 'B', 'C'], { B: 'here' })).toEqual(['A=1', 'B=here']);
  });
  it('wants a name for each variable', () => {
    for (const entry of ['=x', '']) expect(() => resolveEnvironment([entry], {})).toThrow(/--env ".*" has no name/);
  });
  it('reads offsets of clocks', () => {
    expect(parseTimeOffset('boottime=86400,monotonic=-5')).toEqual({ boottimeSeconds: 86_400, monotonicSeconds: -5 });
    for (const text of ['', 'boottime', 'realtime=1', 'boottime=1h']) expect(() => parseTimeOffset(text)).toThrow(/--time-offset/);
  });
  it('reads filters', () => {
    expect(parseFilter('name=web').key).toBe('name');
    for (const text of ['name', 'web', 'status=asleep', 'size=3']) expect(() => parseFilter(text)).toThrow(/--filter/);
  });
  it('reads environment files', () => {
    expect(parseEnvironmentFile('# no\n\nA=1\r\n  B=2\n')).toEqual(['A=1', 'B=2']);
  });
  it('reads tmpfs mounts', () => {
    expect(parseTmpfs(['/run', '/tmp:size=1m'])).toEqual({ '/run': '', '/tmp': 'size=1m' });
    expect(() => parseTmpfs(['run'])).toThrow(/--tmpfs/);
  });
  it('reads user namespaces', () => {
    expect(parseUserNamespace('host')).toBeUndefined();
    expect(parseUserNamespace('auto')?.uidMaps).toEqual([{ containerId: 0, hostId: 100_000, size: 65_536 }]);
    expect(parseUserNamespace('5000:10')?.gidMaps).toEqual([{ containerId: 0, hostId: 5000, size: 10 }]);
    expect(() => parseUserNamespace('nope')).toThrow(/--userns/);
  });
  it('reads commands', () => {
    expect(parseCommand('sh -c date')).toEqual(['sh', '-c', 'date']);
    expect(parseCommand('["sh","-c","a b"]')).toEqual(['sh', '-c', 'a b']);
    expect(() => parseCommand('[1]')).toThrow(/JSON/);
  });
  it('reads times', () => {
    const at = (text: string): number => parseMoment('--until', text, 10_000_000);
    expect(at('1h30m')).toBe(10_000_000 - 5_400_000);
    expect(at('1.5h')).toBe(10_000_000 - 5_400_000);
    expect(at('1700000000.5')).toBe(1_700_000_000_500);
    expect(at('2026-01-01T00:00:00Z')).toBe(Date.UTC(2026, 0, 1));
    expect(at('2026-01-01T02:00:00.5+02:00')).toBe(Date.UTC(2026, 0, 1) + 500);
    expect(at('2026-01-01')).toBe(new Date(2026, 0, 1).getTime());
    expect(at('2026-01-01 12:30')).toBe(new Date(2026, 0, 1, 12, 30).getTime());
    for (const wrong of ['yesterday', '', '2026-13-01', '2026-1-1', '10 m', '-10m', '10y'])
      expect(() => at(wrong), wrong).toThrow(/--until/);
    expect(['30s', '1m30s', '250ms', '0'].map((text) => parseTime('--health-interval', text))).toEqual([30_000, 90_000, 250, 0]);
    expect(() => parseTime('--health-interval', '30')).toThrow('--health-interval "30" is no time');
  });
});

describe('output', () => {
  it('aligns columns', () => {
    expect(
      table(
        ['A', 'LONG'],
        [
          ['wide cell', 'x'],
          ['y', ''],
        ],
      ),
    ).toBe('A           LONG\nwide cell   x\ny\n');
  });
  it('says how long in words', () => {
    expect(duration(400)).toBe('less than a second');
    expect(duration(1000)).toBe('1 second');
    expect(duration(150_000)).toBe('2 minutes');
    expect(ago('2026-01-01T00:00:00Z', Date.UTC(2026, 0, 3))).toBe('2 days ago');
    expect(ago(null, 0)).toBe('unknown');
  });
  it('quotes commands, cuts them, and lets no control character through', () => {
    expect(commandText(['sh', '-c', 'a b'])).toBe("sh -c 'a b'");
    expect(commandText(['x'.repeat(50)], 10)).toBe(`${'x'.repeat(9)}…`);
    expect(commandText(['\u001b[2J'])).toBe("'?[2J'");
  });
});

describe('detach keys', () => {
  const type = (...parts: string[]) => {
    const keys = new DetachKeys();
    let out = '';
    for (const part of parts) {
      const { bytes, detach } = keys.push(Buffer.from(part));
      out += Buffer.from(bytes).toString();
      if (detach) return { out, detach };
    }
    return { out, detach: false };
  };
  it('finds the two keys, in one piece or two', () => {
    expect(type('ab\u0010\u0011cd')).toEqual({ out: 'ab', detach: true });
    expect(type('ab\u0010', '\u0011')).toEqual({ out: 'ab', detach: true });
  });
  it('takes other keys', () => {
    expect(parseDetachKeys('ctrl-a,x,ctrl-]')).toEqual([1, 120, 29]);
    for (const text of ['', 'ctrl-', 'ctrl-é', 'abc', 'a,,b']) expect(() => parseDetachKeys(text)).toThrow(/--detach-keys/);
    const keys = new DetachKeys([1, 1, 2]);
    const { bytes, detach } = keys.push(Uint8Array.from([9, 1, 1, 1, 2, 7]));
    expect({ bytes: [...bytes], detach }).toEqual({ bytes: [9, 1], detach: true });
  });
  it('gives a lone ctrl-p on with the next key', () => {
    expect(type('\u0010', 'x')).toEqual({ out: '\u0010x', detach: false });
    expect(type('\u0010\u0010\u0011')).toEqual({ out: '\u0010', detach: true });
  });
});

describe('errors of the helper', () => {
  const error = (code: 'INVALID_REQUEST' | 'LIMIT_INVALID' | 'INTERNAL', path: string, text: string) =>
    new StrataError(code, `${path}: ${text}`, { details: { path } });
  it.each([
    [error('INVALID_REQUEST', 'options.hostname', 'bad'), ['run', '-h', '-bad', 'busybox'], '-h -bad: bad'],
    [error('INVALID_REQUEST', 'options.env.3', 'bad'), ['run', '--env=1', 'busybox'], '--env: bad'],
    [error('LIMIT_INVALID', 'limits.memoryMaxBytes', 'bad'), ['update', '-m9t', 'x'], '-m 9t: bad'],
    [error('LIMIT_INVALID', 'options.limits.cpuQuotaUs', 'bad'), ['run', '--cpu-quota', '1', 'x'], '--cpu-quota 1: bad'],
    [error('LIMIT_INVALID', '/sys/fs/cgroup/a/cpuset.mems', 'bad'), ['run', '--cpuset-mems', '9', 'x'], '--cpuset-mems 9: bad'],
    // Not from a flag, or no such error: as it is.
    [error('INVALID_REQUEST', 'options.image', 'bad'), ['run', 'x'], 'options.image: bad'],
    [error('INTERNAL', 'options.hostname', 'bad'), ['run', '-h', 'x'], 'options.hostname: bad'],
  ])('%s of %j', (said, argv, text) => {
    expect(inFlags(said, argv)).toBe(text);
  });
});

describe('logs', () => {
  it('are asked for as they are with Docker', () => {
    const nowMs = Date.UTC(2026, 0, 1);
    expect(logParams('web', { follow: true, tail: 'all', since: '10m', until: '2026-01-01T00:00:00Z' }, nowMs)).toEqual({
      container: 'web',
      follow: true,
      sinceMs: nowMs - 600_000,
      untilMs: nowMs,
    });
    expect(logParams('web', { stdout: true }, 0)).toEqual({ container: 'web', stderr: false });
    expect(logParams('web', { stderr: true }, 0)).toEqual({ container: 'web', stdout: false });
    expect(logParams('web', { stdout: true, stderr: true }, 0)).toEqual({ container: 'web' });
    expect(logParams('web', { json: true, tail: '5' }, 0)).toEqual({ container: 'web', format: 'json', tail: 5 });
    expect(() => logParams('web', { format: 'json', timestamps: true }, 0)).toThrow(/--timestamps/);
    expect(() => logParams('web', { format: 'raw', json: true }, 0)).toThrow(/--json/);
  });
  it('are bounded as they are with Docker', () => {
    expect(parseLogOptions(['max-size=10m', 'max-file=3'])).toEqual({ logMaxSize: 10 * 1024 ** 2, logMaxFiles: 3 });
    expect(parseLogOptions([])).toEqual({});
    expect(() => parseLogOptions(['max-size=-1'])).toThrow(/cannot grow for ever/);
    expect(() => parseLogOptions(['max-file=0'])).toThrow(/max-file 0 is not within 1 to 1000/);
    expect(() => parseLogOptions(['mode=non-blocking'])).toThrow(/none of max-size/);
    expect(() => parseLogOptions(['max-size'])).toThrow(/none of/);
  });
});
