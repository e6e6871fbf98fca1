import { expect, it } from 'vitest';
import { parseEnd } from '../../../helper/cli/commands/copies.ts';

it('tells paths of a container from paths of this host, as Docker does', () => {
  expect(parseEnd('web:/etc/hosts')).toEqual({ container: 'web', path: '/etc/hosts' });
  expect(parseEnd('web:etc')).toEqual({ container: 'web', path: '/etc' });
  expect(parseEnd('web:/a:b')).toEqual({ container: 'web', path: '/a:b' });
  expect(parseEnd('./a:b')).toEqual({ path: './a:b' });
  expect(parseEnd('/a:b')).toEqual({ path: '/a:b' });
  expect(parseEnd('plain')).toEqual({ path: 'plain' });
  expect(parseEnd('-')).toEqual({ path: '-' });
  for (const text of ['web:', ':x']) expect(() => parseEnd(text)).toThrow('is not CONTAINER:PATH');
});
