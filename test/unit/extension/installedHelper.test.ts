import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { installedHelper } from '../../../extension/client/installedHelper.ts';

const directory = mkdtempSync(join(tmpdir(), 'strata-path-'));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('a stratad on the PATH is found by its path, when it can be run', () => {
  mkdirSync(join(directory, 'bin'), { recursive: true });
  const searchPath = `:relative:${join(directory, 'nowhere')}:${join(directory, 'bin')}`;
  expect(installedHelper(searchPath)).toBeUndefined();
  const file = join(directory, 'bin/stratad');
  writeFileSync(file, '#!/bin/sh\n');
  chmodSync(file, 0o755);
  expect(installedHelper(searchPath)).toBe(file);
});
