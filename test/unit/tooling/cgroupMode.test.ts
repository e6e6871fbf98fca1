import { expect, test } from 'vitest';
import { cgroupMode } from '../../support/cgroupMode.ts';

const v1 = '30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu';
const v2 = '31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw';

test.each([
  ['v1', v1],
  ['hybrid', `${v1}\n${v2}`],
  ['v2', v2],
])('a host is %s by what is mounted', (mode, mountInfo) => {
  expect(cgroupMode(mountInfo)).toBe(mode);
});
