import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { requires } from '../support/requires.ts';

const test = requires({ root: true, cgroup: 'v2' });

// The other tests of this world mean nothing where it is not what it claims to be.
test('every controller that Strata limits with is there, in one hierarchy', () => {
  const controllers = readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim().split(' ');
  expect(controllers).toEqual(expect.arrayContaining(['cpu', 'cpuset', 'io', 'memory', 'pids']));
  expect(readFileSync('/proc/self/cgroup', 'utf8').trim()).toMatch(/^0::\/\S*$/);
});
