import { expect, it, vi } from 'vitest';
import type { ViewReference } from '../../../helper/protocol/index.ts';

vi.mock('vscode', () => ({ Uri: { from: (parts: object) => parts } }));

import type { Uri } from 'vscode';
import { DOCUMENT_SCHEME } from '../../../extension/files/helperDocuments.ts';
import { LAYER_SCHEME } from '../../../extension/files/layerUri.ts';
import { CONTAINER_SCHEME, PAST_SCHEME, parseViewUri, viewUri } from '../../../extension/files/viewUri.ts';

const container = 'c'.repeat(32);
const image = `sha256:${'a'.repeat(64)}`;

it.each<[ViewReference, string]>([
  [{ kind: 'container', container }, 'strata'],
  [{ kind: 'container', container, layers: 3 }, 'strata-past'],
  [{ kind: 'image', image }, 'strata-past'],
  [{ kind: 'image', image, layers: 12 }, 'strata-past'],
])('%j is named by a URI of %s and found again', (view, scheme) => {
  const uri = viewUri(view, '/etc/passwd');
  expect(uri.scheme).toBe(scheme);
  expect(parseViewUri(uri)).toEqual({ view, path: '/etc/passwd' });
});

it('shares its schemes with no other kind of document', () => {
  const schemes = [CONTAINER_SCHEME, PAST_SCHEME, LAYER_SCHEME, DOCUMENT_SCHEME];
  expect(new Set(schemes).size).toBe(schemes.length);
});

it('takes nothing for a view that is none, nor one by the scheme of the other', () => {
  const uri = (scheme: string, authority: string): Uri => ({ scheme, authority, path: '/' }) as Uri; // all that is read of it
  for (const authority of ['', 'container-xyz', 'image-abc', `container-${container}-0`, `container-${container}-1-2`, `init-${container}`])
    expect(parseViewUri(uri('strata', authority))).toBeUndefined();
  expect(parseViewUri(uri('strata', `container-${container}-1`))).toBeUndefined();
  expect(parseViewUri(uri('strata-past', `container-${container}`))).toBeUndefined();
  expect(parseViewUri(uri('file', `container-${container}`))).toBeUndefined();
});
