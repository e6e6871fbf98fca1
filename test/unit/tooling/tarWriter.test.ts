import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { writeTar } from '../../../scripts/tarWriter.mjs';

test('GNU tar reads what it writes: order, modes, owners, links and contents', () => {
  const archive = writeTar([
    { path: 'etc/passwd', type: 'file', mode: 0o640, gid: 42, content: 'root:x:0:0\n' },
    { path: 'etc', type: 'directory', mode: 0o1777 },
    { path: 'bin', type: 'symlink', mode: 0o777, target: 'etc' },
  ]);
  const listing = execFileSync('tar', ['--numeric-owner', '--utc', '-tvf', '-'], { input: archive, encoding: 'utf8' });
  expect(
    listing
      .trim()
      .split('\n')
      .map((line) => line.replace(/\s+/g, ' ')),
  ).toEqual([
    'lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin -> etc',
    'drwxrwxrwt 0/0 0 1970-01-01 00:00 etc/',
    '-rw-r----- 0/42 11 1970-01-01 00:00 etc/passwd',
  ]);
  expect(execFileSync('tar', ['-xOf', '-', 'etc/passwd'], { input: archive, encoding: 'utf8' })).toBe('root:x:0:0\n');
});

test('a name that does not fit is refused, not cut', () => {
  expect(() => writeTar([{ path: 'x'.repeat(101), type: 'file', mode: 0o644 }])).toThrow(/too long for a ustar header/);
});
