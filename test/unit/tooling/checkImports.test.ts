import { describe, expect, test } from 'vitest';
import { cyclesIn, importsOf, nativeViolationOf, violationOf } from '../../../scripts/checkImports.mjs';

describe('import rules', () => {
  test.each([
    ['helper/containers/service.ts', '../server/session.ts'],
    ['helper/containers/service.ts', 'ws'],
    ['helper/protocol/model/containers.ts', 'node:fs'],
    ['extension/client/connection.ts', 'vscode'],
    ['extension/views/tree.ts', '../../helper/store/files.ts'],
    ['helper/store/files.ts', '../../test/support/requires.ts'],
  ])('%s may not import %s', (file, specifier) => {
    expect(violationOf(file, specifier)).toContain(file);
  });

  test.each([
    ['helper/server/session.ts', '../containers/service.ts'],
    ['helper/containers/service.ts', './plan.ts'],
    ['extension/model/reducer.ts', '../../helper/protocol/index.ts'],
    ['extension/views/tree.ts', 'vscode'],
    ['test/unit/anything.test.ts', '../../helper/store/files.ts'],
  ])('%s may import %s', (file, specifier) => {
    expect(violationOf(file, specifier)).toBeUndefined();
  });

  test('the addon and the runtime never include each other', () => {
    expect(nativeViolationOf('native/addon/tar.cc', 'runtime/init.h')).toContain('addon may not know runtime');
    expect(nativeViolationOf('native/addon/tar.cc', 'core/tar.h')).toBeUndefined();
  });

  test('every form of import is seen, comments are not', () => {
    const source = `
      import type { A } from './a.ts';
      import './b.ts';
      export * from './c.ts';
      const d = await import('./d.ts');
      // import './not.ts';
      /* import './not.ts'; */`;
    expect(importsOf(source)).toEqual(['./a.ts', './c.ts', './b.ts', './d.ts']);
  });

  test('a cycle is named by its files', () => {
    const graph = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['a']],
    ]);
    expect(cyclesIn(graph)).toEqual(['a -> b -> c -> a']);
  });
});
