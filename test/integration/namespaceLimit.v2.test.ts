import * as fs from 'node:fs';
import { describe, expect } from 'vitest';
import { requires } from '../support/requires.ts';
import { failure, useStrata } from './support/strata.ts';

// In the virtual machine: the limit is the whole host's, and writing it takes CAP_SYS_RESOURCE.
const test = requires({ root: true, cgroup: 'v2' });

describe('a kernel that refuses a namespace', () => {
  const context = useStrata();
  const limit = '/proc/sys/user/max_time_namespaces';

  test('is told in words with what to change, and nothing is left', async () => {
    const before = fs.readFileSync(limit, 'utf8');
    fs.writeFileSync(limit, '0');
    try {
      const { connection } = context.strata;
      const error = await failure(
        connection.request('container.run', {
          options: { image: 'busybox', command: ['true'], autoRemove: true, timeNamespace: { boottimeSeconds: 1 } },
        }),
      );
      expect(error.message).toMatch(/time namespace/);
      expect(error.hint).toMatch(/max_(\*|time)_namespaces/);
      expect((await connection.request('container.list', { all: true })).containers).toEqual([]);
    } finally {
      fs.writeFileSync(limit, before);
    }
  });
});
