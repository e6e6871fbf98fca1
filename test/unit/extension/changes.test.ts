import { expect, it } from 'vitest';
import { changeWords, GroupedChanges, groupOf, letterOf, shownPath } from '../../../extension/model/changes.ts';
import { parseUriList, uriList } from '../../../extension/model/uriList.ts';
import type { Change } from '../../../helper/protocol/index.ts';

const added: Change = { change: 'A', path: '/etc/motd', kind: 'file', sizeBytes: 6, detail: 'added' };
const below = { layer: 2, kind: 'file', sizeBytes: 6 } as const;
const metadata: Change = { ...added, change: 'C', detail: 'metadata', differs: ['mode', 'mtime'], below };

it('says of each change what it is and how large', () => {
  expect(changeWords(added)).toBe('Added · file of 6 B');
  expect(changeWords(metadata)).toBe('Metadata only: another mode, time, the same content · file of 6 B');
  expect(changeWords({ ...metadata, detail: 'modified', differs: ['content', 'mtime'], sizeBytes: 2048 })).toBe(
    'Modified, and another time · file of 2 KiB, was 6 B',
  );
  expect(changeWords({ ...added, change: 'C', detail: 'typeChanged', kind: 'symlink', below: { ...below, kind: 'directory' } })).toBe(
    'Was a directory, is a symlink · symlink',
  );
  expect(changeWords({ ...added, movedFrom: '/a\nb' })).toBe('Added, moved from /a?b · file of 6 B');
});

it('has a group and a letter for each', () => {
  expect(groupOf(metadata)).toBe('metadata');
  expect(letterOf({ ...metadata, detail: 'typeChanged' })).toBe('T');
  expect(groupOf({ ...metadata, detail: 'typeChanged' })).toBe('modified');
  // A directory that is listed for what is in it is no row.
  expect(groupOf({ ...metadata, detail: 'contains' })).toBeUndefined();
});

it('counts all, shows so many, and says so', () => {
  const grouped = new GroupedChanges();
  for (let i = 0; i < 5001; i++) grouped.add({ ...added, path: `/${i}` });
  grouped.add({ ...metadata, change: 'U', detail: 'copiedUp' });
  grouped.add({ ...metadata, detail: 'contains' });
  expect(grouped.count).toBe(5001);
  expect(grouped.rows.added.length).toBe(5000);
  expect(grouped.isCut).toBe(true);
  expect(grouped.label('added')).toBe('Added (5,000 of 5,001)');
  expect(grouped.label('copiedUp')).toBe('Copied Up Unchanged');
});

it('shows names that a container made to mislead as they are', () => {
  expect(shownPath('/a\u001b[2J\n')).toBe('/a?[2J?');
});

it('reads and writes lists of URIs', () => {
  expect(parseUriList('# from the explorer\r\nfile:///a%20b\r\n\r\nfile:///c\n')).toEqual(['file:///a%20b', 'file:///c']);
  expect(parseUriList(uriList(['file:///a', 'file:///b']))).toEqual(['file:///a', 'file:///b']);
  expect(parseUriList('')).toEqual([]);
});
