import { readFileSync } from 'node:fs';

/** How a host arranges cgroups: a hierarchy per controller, one for all, or v1 controllers beside an empty unified tree. */
export type CgroupMode = 'v1' | 'v2' | 'hybrid';

/** Read from the mount table, as it is what counts: a kernel may know v2 and have nothing mounted. */
export function cgroupMode(mountInfo: string = readFileSync('/proc/self/mountinfo', 'utf8')): CgroupMode {
  // Field after the separator " - " is the file system's type: proc_pid_mountinfo(5).
  const types = mountInfo.split('\n').map((line) => line.split(' - ')[1]?.split(' ')[0]);
  const hasV1 = types.includes('cgroup');
  const hasV2 = types.includes('cgroup2');
  if (hasV1) return hasV2 ? 'hybrid' : 'v1';
  return 'v2';
}
