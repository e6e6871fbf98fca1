import { expect, it } from 'vitest';
import { mergeListings } from '../../../extension/model/mergedLayers.ts';
import type { Layer, LayerEntry } from '../../../helper/protocol/index.ts';
import { containerId, digest } from './samples.ts';

const layer = (index: number): Layer => ({
  reference: index === 0 ? { kind: 'upper', container: containerId('1') } : { kind: 'image', chainId: digest(String(index)) },
  role: index === 0 ? 'upper' : 'image',
  ...{ index, diffId: null, sizeBytes: 0, entries: 0, createdBy: null, createdAt: null, path: `/l${index}` },
});

/** "name" a file, "name/" a directory, "name/!" an opaque one, "-name" a whiteout. */
function entry(text: string): LayerEntry {
  const [, deleted, name = '', directory, opaque] = /^(-?)([^/]+)(\/?)(!?)$/.exec(text) ?? [];
  const kind = deleted === '-' ? 'whiteout' : directory === '/' ? 'directory' : 'file';
  return { name, kind, sizeBytes: 0, mode: 0o644, uid: 0, gid: 0, mtimeMs: 0, ...(opaque === '!' ? { opaque: true } : {}) };
}

/** "name@layers>hidden" */
function merged(...listings: readonly (readonly string[])[]): string[] {
  const entries = mergeListings(listings.map((texts, index) => ({ layer: layer(index), entries: texts.map(entry) })));
  return entries.map(({ entry: { name, kind }, layer: top, layers, hides }) => {
    const from = kind === 'directory' ? `/@${layers.map(({ index }) => index).join('+')}` : `@${top.index}`;
    return `${name}${from}${hides === undefined ? '' : `>${hides.index}`}`;
  });
}

it.each<[string, readonly (readonly string[])[], readonly string[]]>([
  ['the uppermost file is seen', [['a'], ['a', 'b'], ['c']], ['a@0>1', 'b@1', 'c@2']],
  ['a whiteout hides what is below', [['-a'], ['a'], ['a', 'b']], ['b@2']],
  ['a file above a whiteout is seen, and hides nothing', [['a'], ['-a'], ['a', 'b']], ['a@0', 'b@2']],
  ['directories merge', [['d/'], ['e/'], ['d/']], ['d/@0+2', 'e/@1']],
  ['an opaque one hides those below', [['d/!'], ['d/']], ['d/@0']],
  ['one that is opaque further down hides those below that', [['d/'], ['d/!'], ['d/']], ['d/@0+1']],
  ['a file between ends the merging', [['d/'], ['d'], ['d/']], ['d/@0']],
  ['a whiteout between ends the merging', [['d/'], ['-d'], ['d/']], ['d/@0']],
  ['a file in the place of a directory hides it', [['d'], ['d/']], ['d@0>1']],
])('%s', (_, listings, seen) => expect(merged(...listings)).toEqual(seen));
