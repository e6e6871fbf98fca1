import { describe, expect, it } from 'vitest';
import { mountSources } from '../../../helper/images/mountSources.ts';
import { completion, receivedBytes, sessionAfter, smallerChunk } from '../../../helper/images/registry/uploadSession.ts';
import { digestSchema, StrataError } from '../../../helper/protocol/index.ts';

const digest = (digit: string) => digestSchema.parse(`sha256:${digit.repeat(64)}`);

describe('the session of an upload', () => {
  const asked = new URL('https://registry.example/v2/app/blobs/uploads/');
  const before = { offset: 5, leastChunkBytes: 1 };

  it.each([
    ['/v2/app/blobs/uploads/1?_state=a%2Bb==', 'https://registry.example/v2/app/blobs/uploads/1?_state=a%2Bb=='],
    ['1', 'https://registry.example/v2/app/blobs/uploads/1'],
    ['https://storage.example/put?x=1', 'https://storage.example/put?x=1'],
    [undefined, 'https://registry.example/v2/app/blobs/uploads/'],
  ])('goes on where the answer says: %s', (location, expected) => {
    const session = sessionAfter(location === undefined ? {} : { location }, asked, before);
    expect(session).toEqual({ ...before, location: new URL(expected) });
  });

  it.each(['http://registry.example/v2/1', 'ftp://registry.example/1', 'https://'])('follows no %s', (location) => {
    expect(() => sessionAfter({ location }, asked, before)).toThrow(StrataError);
  });

  it('minds how small a part may be', () => {
    const least = (value: string): number => sessionAfter({ 'oci-chunk-min-length': value }, asked, before).leastChunkBytes;
    expect(least('1048576')).toBe(1_048_576);
    expect(least('nonsense')).toBe(1);
    expect(least('-3')).toBe(1);
  });

  it('reads what the registry has', () => {
    expect(receivedBytes('0-99')).toBe(100);
    expect(receivedBytes('bytes=0-99')).toBe(100);
    expect(receivedBytes('0-0')).toBe(0);
    expect(receivedBytes(undefined)).toBeUndefined();
    expect(receivedBytes('5-99')).toBeUndefined();
    expect(receivedBytes('0-99999999999999999999')).toBeUndefined();
  });

  it('ends with the digest after what the registry put there', () => {
    const end = `digest=${encodeURIComponent(digest('a'))}`;
    expect(completion(new URL('https://r.example/u/1?_state=a%2Bb=='), digest('a')).search).toBe(`?_state=a%2Bb==&${end}`);
    expect(completion(new URL('https://r.example/u/1'), digest('a')).search).toBe(`?${end}`);
  });

  it('makes parts smaller, but not smaller than the registry takes', () => {
    const mebibyte = 1024 * 1024;
    expect(smallerChunk(100 * mebibyte, 1)).toBe(64 * mebibyte);
    expect(smallerChunk(64 * mebibyte, 1)).toBe(16 * mebibyte);
    expect(smallerChunk(16 * mebibyte, 5 * mebibyte)).toBeUndefined();
    expect(smallerChunk(mebibyte, 1)).toBeUndefined();
  });
});

describe('where a registry may take blobs from', () => {
  const known = [
    {
      repositoryDigests: ['debian', 'registry.example:5000/base', 'registry.example:5000/app', 'registry.example:5000/team/base'].map(
        (name) => `${name}@${digest('0')}`,
      ),
      blobs: [digest('a'), digest('b')],
    },
    { repositoryDigests: [`registry.example:5000/other@${digest('1')}`], blobs: [digest('b')] },
    { repositoryDigests: [], blobs: [digest('c')] },
  ];

  it('is where images with them came from or went to', () => {
    const sources = mountSources(known, { registry: 'registry.example:5000', repository: 'app' });
    expect(sources).toEqual(
      new Map([
        [digest('a'), ['team/base', 'base']],
        [digest('b'), ['team/base', 'base', 'other']],
      ]),
    );
    expect(mountSources(known, { registry: 'docker.io', repository: 'me/app' }).get(digest('a'))).toEqual(['library/debian']);
    expect(mountSources(known, { registry: 'elsewhere.example', repository: 'app' })).toEqual(new Map());
  });
});
