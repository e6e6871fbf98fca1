import { describe, expect, it } from 'vitest';
import { changeLimits, type HostCapacity, limitsDifference, parseCpuList } from '../../../helper/cgroups/limits.ts';
import { statsOf } from '../../../helper/cgroups/rates.ts';
import { type EndingNote, encodeNote } from '../../../helper/containers/endingNote.ts';
import { exitOf } from '../../../helper/containers/exitReason.ts';
import { generateName } from '../../../helper/containers/names.ts';
import { defaultSeccomp } from '../../../helper/containers/seccomp.ts';
import type { CgroupFigures } from '../../../helper/native/addon.ts';
import { containerIdSchema, DEFAULT_LIMITS } from '../../../helper/protocol/index.ts';

const mebibyte = 1024 * 1024;
const host: HostCapacity = {
  cpus: 2,
  onlineCpus: '0-1',
  memoryNodes: '0',
  memoryBytes: 1024 * mebibyte,
  swapAccounting: true,
  controllers: ['cpu', 'cpuset', 'memory', 'pids'],
};

describe('limits', () => {
  it('let swap follow memory as Docker does', () => {
    const limited = changeLimits(DEFAULT_LIMITS, { memoryMaxBytes: 64 * mebibyte }, host);
    expect(limited.memorySwapMaxBytes).toBe(128 * mebibyte);
    expect(changeLimits(limited, { memoryMaxBytes: 32 * mebibyte }, host).memorySwapMaxBytes).toBe(64 * mebibyte);
    expect(changeLimits(limited, { memoryMaxBytes: null }, host).memorySwapMaxBytes).toBeNull();
    const own = changeLimits(DEFAULT_LIMITS, { memoryMaxBytes: 64 * mebibyte, memorySwapMaxBytes: 100 * mebibyte }, host);
    expect(changeLimits(own, { memoryMaxBytes: 80 * mebibyte }, host).memorySwapMaxBytes).toBe(100 * mebibyte);
    expect(changeLimits(DEFAULT_LIMITS, { memoryMaxBytes: mebibyte }, { ...host, swapAccounting: false }).memorySwapMaxBytes).toBeNull();
  });
  it.each([
    ['more cpus than the host has', { cpuQuotaUs: 300_000 }],
    ['cpus that are not there', { cpusetCpus: '0-2' }],
    ['memory nodes that are not there', { cpusetMems: '0,9' }],
    ['more memory than the host has', { memoryMaxBytes: 4096 * mebibyte }],
    ['swap below memory', { memoryMaxBytes: 64 * mebibyte, memorySwapMaxBytes: mebibyte }],
    ['swap without memory', { memorySwapMaxBytes: mebibyte }],
  ])('refuse %s', (_, change) => {
    expect(() => changeLimits(DEFAULT_LIMITS, change, host)).toThrowError(expect.objectContaining({ code: 'LIMIT_INVALID' }));
  });
  it('refuse what the host cannot count', () => {
    const bare = { ...host, controllers: [] };
    expect(() => changeLimits(DEFAULT_LIMITS, { pidsMax: 5 }, bare)).toThrowError(expect.objectContaining({ code: 'FEATURE_MISSING' }));
    expect(changeLimits(DEFAULT_LIMITS, { pidsMax: null }, bare).pidsMax).toBeNull();
  });
  it('know what differs', () => {
    const next = changeLimits(DEFAULT_LIMITS, { cpuQuotaUs: 20_000, pidsMax: undefined }, host);
    expect(limitsDifference(DEFAULT_LIMITS, next)).toEqual({ cpuQuotaUs: 20_000 });
  });
  it('read cpu lists', () => {
    expect([...(parseCpuList('0-2,5') ?? [])]).toEqual([0, 1, 2, 5]);
    for (const text of ['', 'a', '3-1', '1,,2', '0-99999999']) expect(parseCpuList(text)).toBeUndefined();
  });
});

const id = containerIdSchema.parse('0'.repeat(32));
const figures = (over: Partial<CgroupFigures>): CgroupFigures => ({
  atNs: 0,
  cpuUsageUs: 0,
  cpuUserUs: 0,
  cpuSystemUs: 0,
  throttledPeriods: 0,
  totalPeriods: 0,
  throttledUs: 0,
  memoryBytes: 0,
  memoryUsageBytes: 0,
  memoryAnonBytes: 0,
  memoryFileBytes: 0,
  memoryPeakBytes: null,
  memoryMaxBytes: null,
  swapBytes: null,
  oomKills: 0,
  pids: 0,
  pidsMax: null,
  ioReadBytes: 0,
  ioWriteBytes: 0,
  ...over,
});

describe('rates', () => {
  it('need two readings', () => {
    expect(statsOf(id, figures({}), undefined, 0)).toMatchObject({ cpuPercent: null, throttledPercent: null });
  });
  it('are shares of the time between them', () => {
    const now = figures({ atNs: 2e9, cpuUsageUs: 500_000, totalPeriods: 10, throttledPeriods: 4 });
    expect(statsOf(id, now, figures({ atNs: 1e9 }), 0)).toMatchObject({ cpuPercent: 50, throttledPercent: 40 });
  });
  it('are unknown when a counter went back or no time passed', () => {
    expect(statsOf(id, figures({ atNs: 1e9 }), figures({ cpuUsageUs: 5 }), 0).cpuPercent).toBeNull();
    expect(statsOf(id, figures({}), figures({}), 0).cpuPercent).toBeNull();
  });
});

describe('exits', () => {
  const base = { code: null, signal: null, oomKilled: false, finishedAt: 'now' };
  const asked = (end: { code?: number; signal?: number }, signal: number, note: EndingNote) => ({
    ...{ ...base, ...end },
    requested: { signal, at: 'now', note: encodeNote(note) },
  });
  it.each([
    [{ ...base, code: 3 }, 'exited with status 3'],
    [{ ...base, signal: 15 }, 'killed by SIGTERM'],
    [{ ...base, signal: 9, oomKilled: true }, 'out of memory: the kernel killed it at its limit of 64 MiB'],
    [{ ...base, code: 137, oomKilled: true }, 'out of memory: the kernel killed it at its limit of 64 MiB'],
    [
      { ...base, code: 0, oomKilled: true },
      'exited with status 0; out of memory: the kernel killed a process of it at its limit of 64 MiB',
    ],
    [{ ...base, signal: 15, requested: null }, 'killed by SIGTERM from outside of Strata'],
    [{ ...base, signal: 11, requested: null }, 'killed by SIGSEGV: a fault of its own, or sent from outside of Strata'],
    [{ ...base, code: 3, requested: null }, 'exited with status 3'],
    [asked({ signal: 9 }, 9, { by: 'kill', user: 'ann' }), 'killed by SIGKILL: sent by ann'],
    [asked({ signal: 9 }, 15, { by: 'kill', user: 'ann' }), 'killed by SIGKILL from outside of Strata'],
    [asked({ code: 1 }, 10, { by: 'kill', user: 'ann' }), 'exited with status 1'],
    [asked({ code: 143 }, 15, { by: 'kill', user: 'ann' }), 'exited with status 143: sent by ann'],
    [asked({ code: 0 }, 15, { by: 'stop', user: 'ann' }), 'exited with status 0: stopped by ann'],
    [asked({ signal: 9 }, 9, { by: 'remove' }), 'killed by SIGKILL: removed by force'],
    [
      asked({ signal: 9 }, 9, { by: 'stop', user: 'ann', asked: 15, graceMs: 10_000 }),
      'killed by SIGKILL: stopped by ann, and did not end within 10 s of SIGTERM',
    ],
    [
      asked({ signal: 9 }, 9, { by: 'restart', user: 'ann', asked: 15, graceMs: 0 }),
      'killed by SIGKILL: restarted by ann, with no time to end',
    ],
    [{ ...base, signal: 9, requested: { signal: 9, at: 'now', note: 'what a newer helper says' } }, 'killed by SIGKILL'],
    [{ ...base, reason: 'the host restarted' }, 'the host restarted'],
    [{ ...base, code: 0, lostLogBytes: mebibyte }, 'exited with status 0; 1 MiB of its output were lost: the disk of the log was full'],
    [{ ...base, code: 127, error: { code: 'COMMAND_NOT_FOUND', message: 'no such file' } }, 'did not start: no such file'],
  ])('%j', (record, reason) => {
    expect(exitOf(record, 64 * mebibyte).reason).toBe(reason);
  });
});

describe('names', () => {
  it('get a number when the words are taken', () => {
    const taken = new Set<string>();
    for (let index = 0; index < 20; index += 1)
      taken.add(
        generateName(
          (name) => taken.has(name),
          (max) => index % max,
        ),
      );
    expect(taken.size).toBe(20);
    expect(
      generateName(
        (name) => !/\d/.test(name),
        () => 7,
      ),
    ).toMatch(/^[a-z]+-[a-z]+-7$/);
  });
});

describe('seccomp', () => {
  const allowed = (capabilities: string[]) => defaultSeccomp(capabilities, 'x64').syscalls[0]?.names ?? [];
  it('is an allow list that opens with capabilities', () => {
    expect(defaultSeccomp([], 'x64').defaultAction).toBe('SCMP_ACT_ERRNO');
    expect(allowed([])).toEqual(expect.arrayContaining(['read', 'execve', 'arch_prctl']));
    for (const name of [
      'mount',
      'bpf',
      'unshare',
      'clone',
      'clone3',
      'reboot',
      'keyctl',
      'socket',
      'personality',
      'userfaultfd',
      'io_uring_setup',
    ]) {
      expect(allowed([])).not.toContain(name);
    }
    expect(allowed(['CAP_SYS_ADMIN'])).toEqual(expect.arrayContaining(['mount', 'clone3']));
    expect(allowed(['CAP_SYS_CHROOT'])).toContain('chroot');
  });
  it('lets clone make no namespaces without CAP_SYS_ADMIN, and hides clone3', () => {
    const rules = defaultSeccomp([], 'x64').syscalls;
    expect(rules).toContainEqual({ names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 });
    expect(rules.find(({ names }) => names[0] === 'clone')?.args?.[0]).toMatchObject({ value: 0x7e02_0000, op: 'SCMP_CMP_MASKED_EQ' });
    expect(defaultSeccomp(['CAP_SYS_ADMIN'], 'x64').syscalls.some(({ args, names }) => args !== undefined && names[0] === 'clone')).toBe(
      false,
    );
  });
  it('names no call twice', () => {
    expect(new Set(allowed([])).size).toBe(allowed([]).length);
  });
  it('refuses an architecture that it does not know', () => {
    expect(() => defaultSeccomp([], 'mips')).toThrowError(expect.objectContaining({ code: 'FEATURE_MISSING' }));
  });
});
