import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { countReport } from '../../../scripts/test/vitestSuite.mjs';

let folder: string;
const reportFile = () => join(folder, 'report.json');
const write = (report: object) => writeFileSync(reportFile(), JSON.stringify(report));
const tests = (...statuses: string[]) => statuses.map((status, index) => ({ status, fullName: `test ${index}` }));
const counts = {
  testResults: [{ name: 'a', status: 'passed', assertionResults: tests('passed', 'passed', 'pending', 'todo') }],
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'strata-report-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('counts passed, failed and skipped', () => {
  write(counts);
  expect(countReport(reportFile(), 0, '')).toMatchObject({ passed: 2, failed: 0, skipped: 2 });
});

test('a file that could not be loaded is a failure', () => {
  write({ ...counts, testResults: [{ name: 'b', status: 'failed', assertionResults: [] }] });
  expect(countReport(reportFile(), 1, '')).toMatchObject({ failed: 1, files: [{ name: 'b', failures: ['(the file itself)'] }] });
});

test('a failed test is known by its file and name', () => {
  write({ testResults: [...counts.testResults, { name: 'b', status: 'failed', assertionResults: tests('passed', 'failed') }] });
  expect(countReport(reportFile(), 1, '')).toMatchObject({ passed: 3, failed: 1, files: [{}, { name: 'b', failures: ['test 1'] }] });
});

test('a run that ended badly is a failure, whatever the counts say', () => {
  write(counts);
  expect(countReport(reportFile(), 1, '')).toMatchObject({ failed: 1 });
});

test('a run without a report is a failure that shows what it said', () => {
  const result = countReport(reportFile(), 127, 'no such program');
  expect(result).toMatchObject({ passed: 0, failed: 1 });
  expect(result.report).toContain('no such program');
});
