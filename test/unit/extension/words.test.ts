import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { joinCommand, splitCommand } from '../../../extension/model/commandLine.ts';
import { appearanceOf, badgeOf, exitSentence, healthSentence, stateWords, troubleOf } from '../../../extension/model/containerWords.ts';
import { figureSummary, figuresOf, figureWords, shortName, worstStrain } from '../../../extension/model/figures.ts';
import { type LimitField, limitFields, limitsSummary, parseLimit } from '../../../extension/model/limitFields.ts';
import { policyOf, restartWords, retryCountProblem } from '../../../extension/model/restartPolicies.ts';
import {
  bytesForEditing,
  cpusWord,
  formatBytes,
  formatDuration,
  formatTime,
  parseBytes,
  parseCpus,
} from '../../../extension/model/units.ts';
import type { ContainerState, ContainerSummary } from '../../../helper/protocol/index.ts';
import { container, exit, exited, limits, running, stats } from './samples.ts';

const MIB = 1024 ** 2;
const host = { cpus: 2, memoryBytes: 8 * 1024 ** 3 };

describe('bytes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [45.1 * MIB, '45.1 MiB'],
    [512 * MIB, '512 MiB'],
    [1024 ** 3 - 1, '1 GiB'],
  ])('writes %d as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    ['512m', 512 * MIB],
    ['1.5 GiB', 1.5 * 1024 ** 3],
    ['64MB', 64 * MIB],
    ['1048576', MIB],
    ['', undefined],
    ['-5m', undefined],
    ['5 apples', undefined],
  ])('reads %s', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it('reads back what it writes for editing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 50 }), (bytes) => {
        expect(parseBytes(bytesForEditing(bytes))).toBe(bytes);
      }),
    );
  });
});

describe('cpus and spans', () => {
  it('reads and writes cpus as people do', () => {
    expect([parseCpus('0.5'), parseCpus('2 cpus'), parseCpus('50 %'), parseCpus('.25'), parseCpus('half')]).toEqual([
      0.5,
      2,
      0.5,
      0.25,
      undefined,
    ]);
    expect([cpusWord(0.5), cpusWord(1), cpusWord(2)]).toEqual(['0.5 cpu', '1 cpu', '2 cpus']);
  });

  it('writes spans in two units', () => {
    expect([formatDuration(0), formatDuration(59_000), formatDuration(3_660_000), formatDuration(90_061_000)]).toEqual([
      '0 s',
      '59 s',
      '1 h 1 min',
      '1 d 1 h',
    ]);
  });
});

describe('times', () => {
  it('are shown in one form, and as they are where they are none', () => {
    const time = new Date(2026, 10, 20, 7, 5, 9);
    expect(formatTime(time.toISOString())).toBe('2026-11-20 07:05:09');
    expect(formatTime(time.getTime())).toBe('2026-11-20 07:05:09');
    // A container may give its files any time, beyond the end of JavaScript's too.
    expect(formatTime(8.7e15)).toBe('8700000000000000');
    expect(formatTime('soon')).toBe('soon');
  });
});

describe('command lines', () => {
  it.each([
    ['sleep 1000', ['sleep', '1000']],
    [`sh -c 'echo "a b"; date'`, ['sh', '-c', 'echo "a b"; date']],
    [`a "b \\"c\\"" d\\ e ''`, ['a', 'b "c"', 'd e', '']],
    ['   ', []],
  ])('splits %s', (line, args) => expect(splitCommand(line)).toEqual(args));

  it('says when a quote is open', () => expect(() => splitCommand("echo 'a")).toThrow('quote'));

  it('reads back what it joins', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (args) => {
        expect(splitCommand(joinCommand(args))).toEqual(args);
      }),
    );
  });
});

describe('restart policies', () => {
  it('are said in words', () => {
    expect(restartWords({ name: 'no' })).toBe('never');
    expect(restartWords({ name: 'on-failure', maximumRetryCount: 1 })).toBe('on failure, 1 time at most');
    expect(restartWords({ name: 'on-failure', maximumRetryCount: 5 })).toBe('on failure, 5 times at most');
    expect(restartWords({ name: 'unless-stopped' })).toBe('unless stopped');
  });

  it('take a number of retries, or any number', () => {
    expect(['', ' 5 ', '0', '1000000'].map(retryCountProblem)).toEqual([undefined, undefined, undefined, undefined]);
    for (const text of ['-1', 'five', '1.5', '1000001']) expect(retryCountProblem(text)).toContain('how many times');
    expect(policyOf('on-failure', ' 5 ')).toEqual({ name: 'on-failure', maximumRetryCount: 5 });
    expect(policyOf('on-failure', '')).toEqual({ name: 'on-failure' });
    expect(policyOf('always', '5')).toEqual({ name: 'always' });
  });
});

describe('the health of a container in words', () => {
  it('is there while it runs and is checked', () => {
    const sentence = (health: ContainerSummary['health'], state: ContainerState = container('1').state) =>
      healthSentence(container('1', { state, ...(health === undefined ? {} : { health }) }));
    expect(sentence(undefined)).toBeUndefined();
    expect(sentence({ status: 'starting', failingStreak: 0 })).toBe('not known yet');
    expect(sentence({ status: 'healthy', failingStreak: 1 })).toBe('healthy');
    expect(sentence({ status: 'unhealthy', failingStreak: 3 })).toBe('unhealthy: its last checks failed');
    expect(sentence({ status: 'unhealthy', failingStreak: 3 }, exited())).toBeUndefined();
  });
});

describe('the state of a container in words', () => {
  it.each([
    [container('1'), 'running', 'running'],
    [container('1', { health: { status: 'starting', failingStreak: 0 } }), 'running · health starting', 'healthStarting'],
    [container('1', { health: { status: 'healthy', failingStreak: 1 } }), 'running · healthy', 'healthy'],
    [container('1', { health: { status: 'unhealthy', failingStreak: 3 } }), 'running · unhealthy', 'unhealthy'],
    [container('1', { state: { kind: 'running', pid: 1, startedAt: '2026-01-01T00:00:00Z', paused: true } }), 'paused', 'paused'],
    [
      container('1', { state: { ...exited({ code: 2 }), restartsAt: '2026-01-01T00:02:00Z' } as ContainerState }),
      'restarting · exited (2)',
      'restarting',
    ], // a spread of a union loses which member it is
    [container('1', { state: { kind: 'created' } }), 'created', 'created'],
    [container('1', { state: exited() }), 'exited (0)', 'ended'],
    [container('1', { state: exited({ code: 2 }) }), 'exited (2)', 'failed'],
    [container('1', { state: exited({ code: null, signal: 'SIGKILL' }) }), 'killed (SIGKILL)', 'failed'],
    [container('1', { state: exited({ code: null, signal: 'SIGKILL', oomKilled: true }) }), 'out of memory', 'oom'],
    [container('1', { state: exited({ code: null }) }), 'ended, status unknown', 'unknown'],
  ])('%#', (value, words, appearance) => {
    expect(stateWords(value)).toBe(words);
    expect(appearanceOf(value)).toBe(appearance);
  });

  it('ends a terminal with the reason', () => {
    expect(exitSentence(exit({ code: null, signal: 'SIGKILL', reason: 'killed by SIGKILL: out of memory (limit 64 MiB)' }))).toContain(
      'out of memory',
    );
    expect(exitSentence(exit())).toBe('exited with status 0');
  });
});

describe('figures', () => {
  it('are summed up in one line', () => {
    expect(figureSummary(stats('1'), [])).toBe('12 % · 45 MiB');
    expect(figureSummary(stats('1', { cpuPercent: 0.34 }), [])).toBe('0.3 % · 45 MiB');
    expect(figureSummary(stats('1', { cpuPercent: null }), [])).toBe('– · 45 MiB');
    expect(figureSummary(stats('1', { cpuPercent: 399.96 }), [])).toBe('400 % · 45 MiB');
    expect(figureWords(stats('1', { memoryLimitBytes: 64 * MIB, pids: 1 }), [])).toBe('12.3 % cpu, 45 MiB of 64 MiB memory, 1 process');
  });

  it('say what a container suffers from', () => {
    const sample = stats('1', { memoryBytes: 64 * MIB, memoryLimitBytes: 64 * MIB, throttledPercent: 80 });
    const figures = figuresOf(sample, limits({ cpuQuotaUs: 50_000 }));
    expect(figureSummary(sample, figures)).toBe('throttled · memory full · 12 % · 64 MiB');
    expect(figureWords(sample, figures)).toMatch(/3 processes, throttled, memory full$/);
    expect(worstStrain(figures)).toBe('over');
    expect(worstStrain(figuresOf(stats('1'), limits({})))).toBe('none');
  });

  it.each([
    ['calm-mesa', 'calm-mesa'],
    ['fourteen-let-1', 'fourteen-let-1'],
    ['compose-project-frontend-1', 'compos…ntend-1'],
  ])('leave room beside the name %s', (name, shown) => expect(shortName(name)).toBe(shown));

  it('show limits, and mark what is near one', () => {
    const rows = figuresOf(
      stats('1', { memoryBytes: 60 * MIB, memoryLimitBytes: 64 * MIB, pidsLimit: 3, throttledPercent: 80, oomKills: 1 }),
      limits({ cpuQuotaUs: 50_000 }),
    );
    const row = (key: string) => rows.find((figure) => figure.key === key);
    expect(row('cpu')?.value).toBe('12.3 % · limit 0.5 cpu (50 %)');
    expect(row('memory')).toMatchObject({ value: '60 MiB / 64 MiB (94 %)', strain: 'high' });
    expect(row('pids')).toMatchObject({ value: '3 / 3', strain: 'over' });
    expect(row('throttled')).toMatchObject({ strain: 'over' });
    expect(row('oomKills')).toMatchObject({ strain: 'over' });
  });

  it('keep the row of throttling below a quota, also when the container slept', () => {
    const rows = figuresOf(stats('1', { throttledPercent: null }), limits({ cpuQuotaUs: 50_000 }));
    expect(rows.find(({ key }) => key === 'throttled')).toMatchObject({ value: '–', strain: 'none' });
  });

  it('leave out what the kernel does not tell', () => {
    const keys = figuresOf(stats('1'), limits({})).map(({ key }) => key);
    expect(keys).toEqual(['cpu', 'memory', 'memoryKinds', 'pids', 'io', 'oomKills']);
  });
});

describe('limits', () => {
  const field = (key: LimitField['key']): LimitField => {
    const found = limitFields.find((candidate) => candidate.key === key);
    if (found === undefined) throw new Error(key);
    return found;
  };
  const parse = (key: LimitField['key'], text: string, present = limits({})) => parseLimit(field(key), text, present, host);

  it.each([
    ['cpu', '0.5', { cpuQuotaUs: 50_000 }],
    ['cpu', '', { cpuQuotaUs: null }],
    ['memory', '512m', { memoryMaxBytes: 512 * MIB }],
    ['pids', ' 100 ', { pidsMax: 100 }],
    ['cpuWeight', '', { cpuWeight: 100 }],
    ['cpuset', '0 - 1', { cpusetCpus: '0-1' }],
  ] as const)('%s takes "%s"', (key, text, change) => expect(parse(key, text)).toEqual({ kind: 'change', change }));

  it.each([
    ['cpu', '3', '2 cpus'],
    ['cpu', '-1', 'number of cpus'],
    ['memory', '9', 'Add a unit'],
    ['memory', '9g', '8 GiB'],
    ['pids', '0', 'from 1'],
    ['pids', '1.5', 'whole number'],
    ['cpuset', '2', 'cpus 0 to 1'],
    ['memorySwap', '1g', 'memory limit first'],
  ] as const)('%s refuses "%s" with words', (key, text, words) => {
    const result = parse(key, text);
    expect(result).toMatchObject({ kind: 'invalid' });
    expect(result.kind === 'invalid' ? result.message : '').toContain(words);
  });

  it('reads back every value that it shows for editing', () => {
    const present = limits({
      cpuQuotaUs: 25_000,
      memoryMaxBytes: 64 * MIB,
      memorySwapMaxBytes: 128 * MIB,
      pidsMax: 7,
      cpuWeight: 200,
      cpusetCpus: '0',
    });
    for (const each of limitFields) {
      const result = parseLimit(each, each.edit(present), present, host);
      expect(result.kind === 'change' ? { ...present, ...result.change } : result).toEqual(present);
    }
  });

  it('are summed up in words', () => {
    expect(limitsSummary(limits({}))).toBe('');
    expect(limitsSummary(limits({ cpuQuotaUs: 50_000, memoryMaxBytes: 64 * MIB, pidsMax: 100 }))).toBe('0.5 cpu · 64 MiB · 100 processes');
  });
});

describe('badges', () => {
  const ended = { kind: 'exited', exit: exit({ code: 1 }), startedAt: null } as const;
  it.each<[Partial<ContainerSummary>, string | undefined, string | undefined]>([
    [{ state: running }, undefined, undefined],
    [{ state: running, health: { status: 'healthy', failingStreak: 0 } }, '✓', undefined],
    [{ state: running, health: { status: 'unhealthy', failingStreak: 3 }, restartCount: 2 }, '!', 'web is unhealthy'],
    [{ state: running, restartCount: 2 }, '↻2', undefined],
    [{ state: running, restartCount: 12 }, '↻+', undefined],
    [{ state: { ...ended, restartsAt: '2026-01-01T00:00:00Z' }, restartCount: 1 }, '↻1', 'web is restarting'],
  ])('%o', (change, badge, trouble) => {
    const shown = container('1', { name: 'web', ...change });
    expect(badgeOf(shown)?.text).toBe(badge);
    expect(troubleOf(shown)).toBe(trouble);
  });
});
