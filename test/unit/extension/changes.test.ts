import { expect, it } from 'vitest';
import { changeRow, changesSummary } from '../../../extension/model/changes.ts';
import { parseUriList, uriList } from '../../../extension/model/uriList.ts';
import type { Change } from '../../../helper/protocol/index.ts';

const added: Change = { change: 'A', path: '/etc/motd', kind: 'file', sizeBytes: 6 };

it('says of each change what it is and how large', () => {
  expect(changeRow(added)).toMatchObject({ label: '$(diff-added) /etc/motd', description: 'added · 6 B' });
  expect(changeRow({ change: 'C', path: '/etc', kind: 'directory', sizeBytes: 0 })).toMatchObject({ description: 'changed · directory' });
  expect(changeRow({ change: 'D', path: '/x', kind: 'symlink', sizeBytes: 0 }).label).toBe('$(diff-removed) /x');
});

it('shows names that a container made to mislead as they are', () => {
  expect(changeRow({ ...added, path: '/a\u001b[2J\n$(trash)' }).label).toBe('$(diff-added) /a?[2J?$\u200b(trash)');
});

it('counts them', () => {
  expect(changesSummary([added, added, { ...added, change: 'D' }])).toBe('2 added, 1 deleted');
  expect(changesSummary([])).toBe('nothing');
});

it('reads and writes lists of URIs', () => {
  expect(parseUriList('# from the explorer\r\nfile:///a%20b\r\n\r\nfile:///c\n')).toEqual(['file:///a%20b', 'file:///c']);
  expect(parseUriList(uriList(['file:///a', 'file:///b']))).toEqual(['file:///a', 'file:///b']);
  expect(parseUriList('')).toEqual([]);
});
