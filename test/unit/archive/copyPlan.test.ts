import { describe, expect, it } from 'vitest';
import { baseName, type CopyPlan, isContent, parentOf, planCopy } from '../../../helper/archive/copyPlan.ts';

type Present = 'nothing' | 'directory' | 'other';
/** What is copied, the destination, what is there, and where it goes; an error where it cannot be. */
type Rule = readonly [source: string, kind: 'file' | 'directory', destination: string, present: Present, plan: CopyPlan | RegExp];

// docker cp's documented rules, row by row.
const rules: readonly Rule[] = [
  ['/s/f', 'file', '/d/new', 'nothing', { directory: '/d', name: 'new' }],
  ['/s/f', 'file', '/d/new/', 'nothing', /there is no directory \/d\/new\//],
  ['/s/f', 'file', '/d/f', 'other', { directory: '/d', name: 'f' }],
  ['/s/f', 'file', '/d/f/', 'other', /there is no directory \/d\/f\//],
  ['/s/f', 'file', '/d', 'directory', { directory: '/d', name: 'f' }],
  ['/s/f', 'file', '/', 'directory', { directory: '/', name: 'f' }],
  ['/s/dir', 'directory', '/d/new', 'nothing', { directory: '/d', name: 'new' }],
  ['/s/dir', 'directory', '/d/new/', 'nothing', { directory: '/d', name: 'new' }],
  ['/s/dir/.', 'directory', '/d/new', 'nothing', { directory: '/d', name: 'new' }],
  ['/s/dir', 'directory', '/d/f', 'other', /cannot copy the directory \/s\/dir to \/d\/f/],
  ['/s/dir/.', 'directory', '/d/f', 'other', /cannot copy the directory/],
  ['/s/dir', 'directory', '/d', 'directory', { directory: '/d', name: 'dir' }],
  ['/s/dir/', 'directory', '/d', 'directory', { directory: '/d', name: 'dir' }],
  ['/s/dir/.', 'directory', '/d', 'directory', { directory: '/d', name: undefined }],
  ['/', 'directory', '/d', 'directory', { directory: '/d', name: undefined }],
  ['.', 'directory', '/d', 'directory', { directory: '/d', name: undefined }],
  ['f', 'file', 'new', 'nothing', { directory: '.', name: 'new' }],
  ['f', 'file', '/new', 'nothing', { directory: '/', name: 'new' }],
];

describe('where a copy goes', () => {
  it.each(rules)('%s (%s) to %s (%s)', (path, kind, destination, present, plan) => {
    const planned = (): CopyPlan => planCopy({ path, isDirectory: kind === 'directory' }, { path: destination, present });
    if (plan instanceof RegExp)
      expect(planned).toThrow(expect.objectContaining({ code: 'NOT_A_DIRECTORY', message: expect.stringMatching(plan) as unknown }));
    else expect(planned()).toEqual(plan);
  });
});

it('takes paths apart without a look at what they lead to', () => {
  expect(['/a/b/', '/a/b', 'b', '/a/b/.', '/'].map(baseName)).toEqual(['b', 'b', 'b', 'b', '/']);
  expect(['/a/b/', '/a', 'a', '/a/b/.', '/a/../b'].map(parentOf)).toEqual(['/a', '/', '.', '/a', '/a/..']);
  expect(['/', '//', '.', '..', '/a/.', '/a/..', '/a/../'].every(isContent)).toBe(true);
  expect(['/a', '/a/', '/.a', '/a/..b', '/a/b.'].some(isContent)).toBe(false);
});
