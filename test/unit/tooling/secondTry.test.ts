import { expect, test, vi } from 'vitest';
import { withSecondTry } from '../../../scripts/test/secondTry.mjs';

const file = (name: string, passed: number, failures: string[] = []) => ({
  name,
  passed,
  failed: failures.length,
  skipped: 0,
  failures,
});
type File = ReturnType<typeof file>;

function result(...files: File[]) {
  const sum = (key: 'passed' | 'failed') => files.reduce((total, one) => total + one[key], 0);
  return { passed: sum('passed'), failed: sum('failed'), skipped: 0, files, report: 'said' };
}

test('what passes is run once', async () => {
  const run = vi.fn().mockResolvedValue(result(file('a', 3)));
  expect(await withSecondTry(run)).toMatchObject({ passed: 3, failed: 0 });
  expect(run).toHaveBeenCalledOnce();
});

test('the files that failed run again; what passes then is counted, and named', async () => {
  const run = vi
    .fn()
    .mockResolvedValueOnce(result(file('a', 3), file('b', 1, ['one', 'two'])))
    .mockResolvedValueOnce(result(file('b', 3)));
  expect(await withSecondTry(run)).toMatchObject({ passed: 6, failed: 0, flaky: ['b: one', 'b: two'] });
  expect(run).toHaveBeenLastCalledWith({ files: ['b'], name: '.second' });
});

test('what fails twice has failed', async () => {
  const run = vi.fn().mockResolvedValue(result(file('b', 1, ['one'])));
  const report: unknown = expect.stringMatching(/^said\n.*a second try.*\nsaid$/);
  expect(await withSecondTry(run)).toMatchObject({ passed: 1, failed: 1, flaky: [], report });
});

test('a run without a report is repeated as a whole', async () => {
  const run = vi
    .fn()
    .mockResolvedValueOnce({ passed: 0, failed: 1, skipped: 0, files: [], report: 'died' })
    .mockResolvedValueOnce(result(file('a', 3)));
  expect(await withSecondTry(run)).toMatchObject({ passed: 3, failed: 0, flaky: ['(the run itself)'] });
  expect(run).toHaveBeenLastCalledWith({ files: [], name: '.second' });
});

test('where much is broken nothing is run again', async () => {
  const broken = ['a', 'b', 'c', 'd', 'e'].map((name) => file(name, 0, ['one']));
  const run = vi.fn().mockResolvedValue(result(...broken));
  expect(await withSecondTry(run)).toMatchObject({ passed: 0, failed: 5 });
  expect(run).toHaveBeenCalledOnce();
});
