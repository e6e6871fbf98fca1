import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { refuseLink } from '../../../scripts/setup/npmPackages.mjs';
import { steps } from '../../../scripts/setup/steps.mjs';

test('the extension is packed anew when anything that is packed has changed', () => {
  const vsix = steps.find(({ id }) => id === 'vsix');
  const packed = readFileSync(join(import.meta.dirname, '../../../.vscodeignore'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1).replace('/**', ''));
  expect(packed).toContain('dist/extension.cjs');
  // The licences of what is bundled are written with the bundle.
  for (const path of packed.filter((name) => !name.endsWith('.LEGAL.txt'))) expect(vsix?.inputs()).toContain(path);
  expect(vsix?.needs).toContain('bundles');
});

test('a folder of packages that is a link is refused: npm would empty what it points to', () => {
  const directory = mkdtempSync(join(tmpdir(), 'strata-link-'));
  mkdirSync(join(directory, 'theirs'));
  symlinkSync('theirs', join(directory, 'node_modules'));
  expect(() => refuseLink(join(directory, 'node_modules'))).toThrow(/node_modules is a link/);
  expect(() => refuseLink(join(directory, 'theirs'))).not.toThrow();
  expect(() => refuseLink(join(directory, 'missing'))).not.toThrow();
  rmSync(directory, { recursive: true });
});
