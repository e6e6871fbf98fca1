import { describe, expect, it } from 'vitest';
import {
  environmentOption,
  healthCommandOption,
  healthIntervalOption,
  logFilesOption,
  logSizeOption,
  nameOption,
  optionWords,
  type RunOptions,
  stopSignalOption,
  stopTimeoutOption,
  type TextOption,
} from '../../../extension/model/runOptions.ts';

describe('options of a new container, as they are typed', () => {
  it.each<[TextOption, string, RunOptions]>([
    [nameOption, ' web ', { name: 'web' }],
    [environmentOption, `PORT=8080 GREETING='hello world'`, { env: ['PORT=8080', 'GREETING=hello world'] }],
    [healthIntervalOption, '1m 30s', { healthcheck: { intervalMs: 90_000 } }],
    [stopSignalOption, 'sigint', { stopSignal: 'SIGINT' }],
    [stopTimeoutOption, '30', { stopTimeoutMs: 30_000 }],
    [stopTimeoutOption, '1.5m', { stopTimeoutMs: 90_000 }],
    [stopTimeoutOption, '0', { stopTimeoutMs: 0 }],
    [logSizeOption, '2m', { logMaxSize: 2 * 1024 ** 2 }],
    [logFilesOption, '3', { logMaxFiles: 3 }],
  ])('%o reads %s', (option, text, next) => {
    expect(option.read(text, {})).toEqual({ next });
    // What is there is what stands in the box when one comes back, and nothing takes it away again.
    expect(option.read(option.edit(next), {})).toEqual({ next });
    expect(option.read('', next)).toEqual({ next: {} });
  });

  it.each<[TextOption, string, string]>([
    [nameOption, '-web', 'container name'],
    [environmentOption, 'PORT', 'NAME=value'],
    [environmentOption, `A='b`, 'not closed'],
    [healthCommandOption, ' ', 'Write a command'],
    [healthIntervalOption, 'often', 'like 10s'],
    [healthIntervalOption, '0s', 'at least 1 ms'],
    [stopSignalOption, 'please stop', 'SIGINT'],
    [stopTimeoutOption, '2h', 'an hour at most'],
    [logSizeOption, '1k', '4 KiB at least'],
    [logFilesOption, '0', 'one segment at least'],
  ])('%o refuses %s', (option, text, why) => {
    expect(option.read(text, {})).toHaveProperty('problem', expect.stringContaining(why));
  });

  it('keeps the time of a check whose command changes, and the other way round', () => {
    const first = healthCommandOption.read('test -f /ready', {});
    expect(first).toEqual({ next: { healthcheck: { test: ['CMD-SHELL', 'test -f /ready'] } } });
    const timed = healthIntervalOption.read('5s', { healthcheck: { test: ['CMD-SHELL', 'test -f /ready'] } });
    expect(timed).toEqual({ next: { healthcheck: { test: ['CMD-SHELL', 'test -f /ready'], intervalMs: 5000 } } });
    expect(healthCommandOption.read('true', { healthcheck: { test: ['CMD-SHELL', 'x'], intervalMs: 5000 } })).toEqual({
      next: { healthcheck: { test: ['CMD-SHELL', 'true'], intervalMs: 5000 } },
    });
  });

  it('says what is chosen', () => {
    expect(Object.values(optionWords).map((words) => words({}))).toEqual([
      'made up',
      "the image's alone",
      'never',
      'as the image says',
      'the command itself',
      "the image's signal, killed after 10 s",
      '10 segments of 10 MiB',
    ]);
    expect(optionWords.environment({ env: ['TOKEN=secret', 'A=b=c'] })).toBe("the image's and TOKEN, A");
    expect(optionWords.health({ healthcheck: { test: ['CMD-SHELL', 'test -f /ready'], intervalMs: 5000 } })).toBe(
      'every 5 s: test -f /ready',
    );
    expect(optionWords.health({ healthcheck: { test: ['CMD-SHELL', 'true'], intervalMs: 200 } })).toBe('every 0.2 s: true');
    expect(optionWords.health({ healthcheck: { test: ['NONE'] } })).toBe('never');
    expect(optionWords.restarts({ restartPolicy: { name: 'on-failure', maximumRetryCount: 2 } })).toBe('on failure, 2 times at most');
  });
});
