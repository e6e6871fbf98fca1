import { describe, expect, it } from 'vitest';
import { chainIdsOf, digestOf } from '../../../helper/images/contentStore.ts';
import { imageSelectors } from '../../../helper/images/reference.ts';
import { normalizeReference } from '../../../helper/protocol/index.ts';

describe('normalizeReference', () => {
  it.each([
    ['busybox', 'busybox:latest'],
    ['busybox:1.36', 'busybox:1.36'],
    ['library/busybox', 'busybox:latest'],
    ['docker.io/library/busybox:1', 'busybox:1'],
    ['docker.io/a/b', 'a/b:latest'],
    ['index.docker.io/busybox', 'busybox:latest'],
    ['library/a/b', 'library/a/b:latest'],
    ['quay.io/library/busybox', 'quay.io/library/busybox:latest'],
    [`busybox:1@sha256:${'a'.repeat(64)}`, `busybox@sha256:${'a'.repeat(64)}`],
    ['localhost:5000/a/b', 'localhost:5000/a/b:latest'],
    ['localhost:5000/a/b:v1', 'localhost:5000/a/b:v1'],
    ['a--b__c.d', 'a--b__c.d:latest'],
  ])('%s is %s', (text, expected) => {
    expect(normalizeReference(text)).toBe(expected);
  });

  it.each(['', 'UPPER', 'a:', ':a', 'a b', 'a/', '/a', 'a:b:c', 'a@sha256:12', '../etc', `a:${'x'.repeat(129)}`, 'a'.repeat(300)])(
    'refuses "%s"',
    (text) => {
      expect(() => normalizeReference(text)).toThrowError(expect.objectContaining({ code: 'REFERENCE_INVALID' }));
    },
  );
});

describe('imageSelectors', () => {
  it('reads a digest as an id', () => {
    expect(imageSelectors('sha256:abc')).toEqual([{ kind: 'id', prefix: 'abc' }]);
  });
  it('tries hex digits as a name first', () => {
    expect(imageSelectors('cafe')).toEqual([
      { kind: 'reference', reference: 'cafe:latest' },
      { kind: 'id', prefix: 'cafe' },
    ]);
  });
});

describe('chainIdsOf', () => {
  it('is the diffId of the bottom layer, and a digest of the chain above', () => {
    const [a, b] = [digestOf('a'), digestOf('b')];
    expect(chainIdsOf([a])).toEqual([a]);
    expect(chainIdsOf([a, b])).toEqual([a, digestOf(`${a} ${b}`)]);
    expect(chainIdsOf([])).toEqual([]);
  });
});
