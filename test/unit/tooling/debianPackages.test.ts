import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { isInstalled, missingOf, packageGroups } from '../../../scripts/setup/debianPackages.mjs';

let directory: string;

/** A PATH with these programs, and a dpkg-query that knows these packages. */
function machine(programs: readonly string[], packages: Readonly<Record<string, string>>): void {
  const answer = Object.entries(packages).map(([name, status]) => `echo '${name} ${status}'`);
  const write = (name: string, lines: readonly string[]): void =>
    fs.writeFileSync(path.join(directory, name), ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o755 });
  for (const program of programs) write(program, []);
  write('dpkg-query', answer);
  vi.stubEnv('PATH', directory);
}

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'strata-packages-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  fs.rmSync(directory, { recursive: true });
});

const engines = Object.keys(packageGroups.engines);

test('every package that is not installed is missing, one whose settings alone are left too', () => {
  machine([], { podman: 'installed', conmon: 'config-files' });
  expect(missingOf('engines')).toEqual(engines.filter((name) => name !== 'podman'));
  expect(isInstalled('engines')).toBe(false);
});

test('nothing is missing where all is installed', () => {
  machine([], Object.fromEntries(engines.map((name) => [name, 'installed'])));
  expect(isInstalled('engines')).toBe(true);
});

test('an engine that came from elsewhere is left alone', () => {
  machine(['dockerd', 'containerd'], {});
  expect(missingOf('engines')).toEqual(engines.filter((name) => name !== 'docker.io' && name !== 'containerd'));
});
