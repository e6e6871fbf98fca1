import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, describe, expect } from 'vitest';
import { cgroupMode } from '../../support/cgroupMode.ts';
import { requires } from '../../support/requires.ts';
import { type Config, until, useRuntime } from './support/runtime.ts';

/** What the machine's root hands down is the machine's: a limit of a rare controller makes the runtime enable it from there on. */
const handedDown = ['/sys/fs/cgroup/cgroup.subtree_control', '/sys/fs/cgroup/unified/cgroup.subtree_control'].find(fs.existsSync);
const rareControllers = (): string[] => {
  const enabled = handedDown === undefined ? [] : fs.readFileSync(handedDown, 'utf8').trim().split(' ');
  return enabled.filter((name) => name !== '' && !['cpu', 'cpuset', 'io', 'memory', 'pids'].includes(name));
};
const enabledBefore = rareControllers();
// Registered first, so that it runs last: when the runtime's own cgroups are gone.
afterAll(() => {
  const enabledByUs = rareControllers().filter((name) => !enabledBefore.includes(name));
  for (const name of enabledByUs) fs.writeFileSync(handedDown ?? '', `-${name}`);
  expect(rareControllers()).toEqual(enabledBefore);
});

const context = useRuntime();
const test = requires({ root: true });
const isV2 = cgroupMode() === 'v2';
const MIB = 1024 * 1024;

/** One limit: what the config says, and the file and text that it becomes in the one world and the other. */
interface Limit {
  readonly resources: Record<string, unknown>;
  /** The first of these files that the kernel has. `undefined` as a world: there it means nothing and is left out. */
  readonly v1?: Record<string, string>;
  readonly v2?: Record<string, string>;
}

const device = fs
  .readdirSync('/sys/block')
  .filter((name) => !name.startsWith('loop') && !name.startsWith('zram'))
  .concat('loop0')
  .map((name) => path.join('/sys/block', name, 'dev'))
  .filter((file) => fs.existsSync(file))
  .map((file) => fs.readFileSync(file, 'utf8').trim())[0];
const [major = 0, minor = 0] = (device ?? '').split(':').map(Number);
const rate = (value: number): object => ({ major, minor, rate: value });

const limits: Record<string, Limit> = {
  'cpu shares': { resources: { cpu: { shares: 512 } }, v1: { 'cpu.shares': '512' }, v2: { 'cpu.weight': '20' } },
  'cpu quota and period': {
    resources: { cpu: { quota: 50_000, period: 200_000 } },
    v1: { 'cpu.cfs_quota_us': '50000' },
    v2: { 'cpu.max': '50000 200000' },
  },
  'cpu burst': {
    resources: { cpu: { quota: 50_000, period: 200_000, burst: 10_000 } },
    v1: { 'cpu.cfs_burst_us': '10000' },
    v2: { 'cpu.max.burst': '10000' },
  },
  'cpu idle': { resources: { cpu: { idle: 1 } }, v1: { 'cpu.idle': '1' }, v2: { 'cpu.idle': '1' } },
  'cpuset cpus': { resources: { cpu: { cpus: '0' } }, v1: { 'cpuset.cpus': '0' }, v2: { 'cpuset.cpus': '0' } },
  'cpuset mems': { resources: { cpu: { mems: '0' } }, v1: { 'cpuset.mems': '0' }, v2: { 'cpuset.mems': '0' } },
  'memory limit': {
    // Kernel memory is not limited apart from the rest since Linux 6.0: the field is taken and ignored.
    resources: { memory: { limit: 64 * MIB, kernel: 16 * MIB, kernelTCP: 16 * MIB } },
    v1: { 'memory.limit_in_bytes': String(64 * MIB), 'memory.kmem.tcp.limit_in_bytes': String(16 * MIB) },
    v2: { 'memory.max': String(64 * MIB) },
  },
  'memory and swap': {
    resources: { memory: { limit: 64 * MIB, swap: 96 * MIB } },
    v1: { 'memory.memsw.limit_in_bytes': String(96 * MIB) },
    v2: { 'memory.swap.max': String(32 * MIB) },
  },
  'memory reservation': {
    resources: { memory: { reservation: 32 * MIB } },
    v1: { 'memory.soft_limit_in_bytes': String(32 * MIB) },
    v2: { 'memory.low': String(32 * MIB) },
  },
  'memory swappiness': { resources: { memory: { swappiness: 10 } }, v1: { 'memory.swappiness': '10' } },
  'memory without limit': {
    resources: { memory: { limit: -1, reservation: -1 } },
    v1: { 'memory.limit_in_bytes': '9223372036854771712' },
    v2: { 'memory.max': 'max', 'memory.low': 'max' },
  },
  pids: { resources: { pids: { limit: 33 } }, v1: { 'pids.max': '33' }, v2: { 'pids.max': '33' } },
  'block io weight': {
    resources: { blockIO: { weight: 300 } },
    v1: { 'blkio.weight': '300', 'blkio.bfq.weight': '300' },
    v2: { 'io.bfq.weight': 'default 300', 'io.weight': 'default 2930' },
  },
  'block io leaf weight': { resources: { blockIO: { leafWeight: 300 } }, v1: { 'blkio.leaf_weight': '300' } },
  'block io, bytes read': {
    resources: { blockIO: { throttleReadBpsDevice: [rate(MIB)] } },
    v1: { 'blkio.throttle.read_bps_device': `${device} ${MIB}` },
    v2: { 'io.max': `${device} rbps=${MIB} wbps=max riops=max wiops=max` },
  },
  'block io, bytes written': {
    resources: { blockIO: { throttleWriteBpsDevice: [rate(MIB)] } },
    v1: { 'blkio.throttle.write_bps_device': `${device} ${MIB}` },
    v2: { 'io.max': `${device} rbps=max wbps=${MIB} riops=max wiops=max` },
  },
  'block io, reads': {
    resources: { blockIO: { throttleReadIOPSDevice: [rate(77)] } },
    v1: { 'blkio.throttle.read_iops_device': `${device} 77` },
    v2: { 'io.max': `${device} rbps=max wbps=max riops=77 wiops=max` },
  },
  'block io, writes': {
    resources: { blockIO: { throttleWriteIOPSDevice: [rate(78)] } },
    v1: { 'blkio.throttle.write_iops_device': `${device} 78` },
    v2: { 'io.max': `${device} rbps=max wbps=max riops=max wiops=78` },
  },
  'huge pages': {
    resources: { hugepageLimits: [{ pageSize: '2MB', limit: 4 * MIB }] },
    v1: { 'hugetlb.2MB.limit_in_bytes': String(4 * MIB) },
    v2: { 'hugetlb.2MB.max': String(4 * MIB), 'hugetlb.2MB.rsvd.max': String(4 * MIB) },
  },
  'network class': {
    resources: { network: { classID: 1_048_577 } },
    v1: { 'net_cls.classid': '1048577' },
    v2: { 'net_cls.classid': 'of v1 alone' },
  },
  'network priority': {
    resources: { network: { priorities: [{ name: 'lo', priority: 5 }] } },
    v1: { 'net_prio.ifpriomap': 'lo 5' },
    v2: { 'net_prio.ifpriomap': 'of v1 alone' },
  },
  'a file of cgroup v2': {
    resources: { unified: { 'memory.high': String(48 * MIB) } },
    v1: { 'memory.high': 'of v2 alone' },
    v2: { 'memory.high': String(48 * MIB) },
  },
};

const unifiedControllers = ['/sys/fs/cgroup/cgroup.controllers', '/sys/fs/cgroup/unified/cgroup.controllers']
  .filter(fs.existsSync)
  .flatMap((file) => fs.readFileSync(file, 'utf8').trim().split(' '));

describe('linux.resources', () => {
  test.each(Object.entries(limits))('%s: read back from the cgroup, or an error that names the file', (_, limit) => {
    const { runtime } = context;
    // On a hybrid host a controller that no v1 hierarchy has is in the unified one.
    const inUnified = ([file]: [string, string]): boolean => unifiedControllers.includes(file.split('.')[0] ?? '');
    const wanted = isV2
      ? Object.entries(limit.v2 ?? {})
      : [...Object.entries(limit.v1 ?? {}), ...Object.entries(limit.v2 ?? {}).filter(inUnified)];
    const { id, status } = runtime.tryCreate('exec sleep 1000', withResources(limit.resources));
    if (status === 0) {
      const found = wanted.filter(([file]) => runtime.cgroupFile(id, file) !== undefined);
      // Alternatives of one limit are all but one missing.
      expect(wanted.length === 0 || found.length > 0, 'a limit that was accepted is in a file').toBe(true);
      for (const [file, text] of found) expect(`${file}=${runtime.cgroupFile(id, file)}`).toContain(`${file}=${text}`);
      return;
    }
    const [file = ''] = wanted[0] ?? [];
    expect(runtime.printed(id)).toContain(file);
    expect(runtime.printed(id)).toMatch(/no \w+ controller|has no such file|has the controller on cgroup v1/);
    // The complaint must be true.
    expect(unifiedControllers).not.toContain(file.split('.')[0]);
    expect(runtime.leftovers()).toEqual([]);
  });

  test('an rdma device that the host does not have is named by file', () => {
    expect(context.runtime.run('true', withResources({ rdma: { mlx5_0: { hcaHandles: 3 } } })).stderr).toContain('rdma.max');
  });

  test('a contradiction of memory and swap is refused as by the known runtime', () => {
    const { runtime } = context;
    expect(runtime.run('true', withResources({ memory: { limit: 64 * MIB, swap: 32 * MIB } }))).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(
        isV2 ? /memory\+swap limit should be >= memory limit/ : /memory.memsw.limit_in_bytes.*invalid argument/,
      ) as string,
    });
  });
});

describe('update', () => {
  test('takes every flag, up and down, in whatever order the kernel wants them', () => {
    const { runtime } = context;
    const id = runtime.start(
      'exec sleep 1000',
      withResources({ memory: { limit: 64 * MIB, swap: 80 * MIB }, cpu: { quota: 50_000, period: 100_000, burst: 50_000 } }),
    );
    const file = (v1: string, v2: string): string => runtime.cgroupFile(id, isV2 ? v2 : v1) ?? 'missing';
    for (const [memory, swap] of [
      [128, 256],
      [32, 40],
      [512, 512],
    ]) {
      runtime.must('update', '--memory', `${memory}M`, '--memory-swap', `${swap}M`, id);
      expect(file('memory.limit_in_bytes', 'memory.max')).toBe(String(Number(memory) * MIB));
      expect(file('memory.memsw.limit_in_bytes', 'memory.swap.max')).toBe(String((Number(swap) - (isV2 ? Number(memory) : 0)) * MIB));
    }
    runtime.must('update', '--cpu-quota', '20000', '--cpu-burst', '10000', id);
    expect(file('cpu.cfs_quota_us', 'cpu.max')).toBe(isV2 ? '20000 100000' : '20000');
    expect(file('cpu.cfs_burst_us', 'cpu.max.burst')).toBe('10000');
    runtime.must('update', '--cpu-burst', '0', '--cpu-period', '50000', id);
    expect(file('cpu.cfs_burst_us', 'cpu.max.burst')).toBe('0');
    expect(file('cpu.cfs_period_us', 'cpu.max')).toBe(isV2 ? '20000 50000' : '50000');
    runtime.must(
      'update',
      '--cpu-share',
      '2048',
      '--memory-reservation',
      '16M',
      '--pids-limit',
      '-1',
      '--cpuset-cpus',
      '0',
      '--cpuset-mems',
      '0',
      id,
    );
    expect(file('cpu.shares', 'cpu.weight')).toBe(isV2 ? '79' : '2048');
    expect(file('memory.soft_limit_in_bytes', 'memory.low')).toBe(String(16 * MIB));
    expect(file('pids.max', 'pids.max')).toBe('max');
    expect(file('cpuset.cpus', 'cpuset.cpus')).toBe('0');
    runtime.must('update', '--cpu-idle', '1', id);
    expect(file('cpu.idle', 'cpu.idle')).toBe('1');
    runtime.must('update', '--memory', '-1', id);
    expect(file('memory.limit_in_bytes', 'memory.max')).toBe(isV2 ? 'max' : '9223372036854771712');
    expect(file('memory.memsw.limit_in_bytes', 'memory.swap.max')).toBe(isV2 ? 'max' : '9223372036854771712');
    expect(runtime.call(['update', '--memory', 'x', id]).stderr).toContain('--memory must be a number');
    expect(runtime.call(['update', '--kernel-memory', '5M', id])).toMatchObject({
      status: 0,
      stderr: expect.stringContaining('ignored') as string,
    });
    expect(runtime.call(['update', '--l3-cache-schema', 'L3:0=f', id])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('resctrl') as string,
    });
  });

  test('takes resources from a file and from standard input, and leaves devices alone', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const resources = path.join(runtime.directory, id, 'resources.json');
    fs.writeFileSync(resources, JSON.stringify({ pids: { limit: 41 }, devices: [{ allow: false, access: 'rwm' }] }));
    runtime.must('update', '--resources', resources, id);
    expect(runtime.cgroupFile(id, 'pids.max')).toBe('41');
    expect(runtime.must('exec', id, 'sh', '-c', 'echo x > /dev/null && echo writable')).toBe('writable\n');
    expect(runtime.call(['update', '-r', '-', id], { input: '{"pids":{"limit":42}}' }).status).toBe(0);
    expect(runtime.cgroupFile(id, 'pids.max')).toBe('42');
    expect(runtime.call(['update', '-r', '-', id], { input: '{' }).status).toBe(1);
    if (!isV2) return;
    expect(runtime.call(['update', '-r', '-', id], { input: '{"memory":{"limit":4096,"checkBeforeUpdate":true}}' })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('bytes are in use') as string,
    });
    expect(runtime.cgroupFile(id, 'memory.max')).toBe('max');
  });
});

describe('the cgroup', () => {
  test('is paused by the freezer of its world', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    runtime.must('pause', id);
    expect(runtime.cgroupFile(id, isV2 ? 'cgroup.freeze' : 'freezer.state')).toBe(isV2 ? '1' : 'FROZEN');
    runtime.must('resume', id);
    expect(runtime.cgroupFile(id, isV2 ? 'cgroup.freeze' : 'freezer.state')).toBe(isV2 ? '0' : 'THAWED');
  });

  test('takes an exec though the container manages cgroups of its own', async () => {
    const { runtime } = context;
    const where = isV2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/pids';
    const line = isV2 ? '^0:' : ':pids:';
    const id = runtime.start(
      `cd ${where} && mkdir leaf && echo $$ > leaf/cgroup.procs && ${isV2 ? 'echo +pids > cgroup.subtree_control' : 'true'} && echo ready; exec sleep 1000`,
      (config) => {
        for (const mount of config.mounts) if (mount.type === 'cgroup') mount.options = ['rw'];
      },
    );
    await until(() => runtime.printed(id).includes('ready'), 'the leaf');
    if (isV2) expect(runtime.cgroupFile(id, 'cgroup.subtree_control')).toContain('pids');
    expect(runtime.must('exec', id, 'grep', line, '/proc/self/cgroup')).toMatch(isV2 ? /:\/leaf\n$/ : /:\/\n$/);
    expect(runtime.must('exec', '--cgroup', isV2 ? '/leaf' : 'pids:/leaf', id, 'grep', line, '/proc/self/cgroup')).toMatch(/:\/leaf\n$/);
    // v1: without a controller in front it is a path in each hierarchy.
    if (!isV2) expect(runtime.must('exec', '--cgroup', '/', id, 'grep', line, '/proc/self/cgroup')).toMatch(/:\/\n$/);
    expect(runtime.call(['exec', '--cgroup', '/none', id, 'true'])).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('none') as string,
    });
    expect(runtime.call(['exec', '--cgroup', isV2 ? '/none' : 'pids:/none', id, 'true'])).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('none') as string,
    });
    expect(runtime.call(['exec', '--cgroup', '/../..', id, 'true'])).toMatchObject({
      status: 255,
      stderr: expect.stringContaining('--cgroup') as string,
    });
  });
});

describe('a cgroup that is there already', () => {
  test('and frozen is refused and stays as it was, for init would sleep in it', () => {
    const { runtime } = context;
    const cgroup = path.join(isV2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/freezer', runtime.cgroupParent, 'frozen');
    fs.mkdirSync(cgroup, { recursive: true });
    const [file, frozen] = isV2 ? ['cgroup.freeze', '1'] : ['freezer.state', 'FROZEN'];
    fs.writeFileSync(path.join(cgroup, file), frozen);
    const refused = runtime.run('true', (config) => {
      config.linux['cgroupsPath'] = `${runtime.cgroupParent}/frozen`;
    });
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("container's cgroup unexpectedly frozen") as string });
    expect(fs.readFileSync(path.join(cgroup, file), 'utf8').trim()).toBe(frozen);
    fs.rmdirSync(cgroup);
    expect(runtime.leftovers()).toEqual([]);
  });
});

describe('events', () => {
  test('say that memory ran out, and when it was', async () => {
    const { runtime } = context;
    const id = runtime.start('while :; do sleep 0.05; done', withResources({ memory: { limit: 24 * MIB, swap: 24 * MIB } }));
    const events = runtime.spawn(['events', '--interval', '1h', id]);
    const watches = (): boolean =>
      fs.readdirSync(`/proc/${events.pid}/fd`).some((fd) => /memory\.(events|oom_control)$/.test(linkOf(`/proc/${events.pid}/fd/${fd}`)));
    await until(watches, 'the watch');
    expect(runtime.call(['exec', id, 'sh', '-c', 'dd if=/dev/zero of=/dev/null bs=64M count=1']).status).not.toBe(0);
    await until(() => events.stdout().includes('"oom"'), 'the event');
    const lines = events.stdout().trim().split('\n');
    expect(JSON.parse(lines.at(-1) ?? '')).toEqual({ type: 'oom', id });
    runtime.must('kill', id, 'KILL');
    expect(await events.ended).toBe(0);
  });

  test('come at the interval, with the figures that the known runtime gives', async () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000', withResources({ pids: { limit: 9 }, memory: { limit: 64 * MIB } }));
    const events = runtime.spawn(['events', '--interval', '100ms', id]);
    await until(() => events.stdout().split('\n').length > 3, 'three lines');
    const first = JSON.parse(events.stdout().split('\n')[0] ?? '') as Record<string, unknown>; // written by the program under test
    expect(first).toMatchObject({
      type: 'stats',
      id,
      data: {
        cpu: { usage: { total: expect.any(Number) as number }, throttling: {} },
        memory: {
          usage: { limit: 64 * MIB, usage: expect.any(Number) as number },
          swap: {},
          raw: { [isV2 ? 'anon' : 'rss']: expect.any(Number) as number },
        },
        pids: { current: 1, limit: 9 },
        blkio: {},
        hugetlb: {},
      },
    });
    runtime.must('kill', id, 'KILL');
    expect(await events.ended).toBe(0);
    expect(runtime.call(['events', '--interval', '0', id]).stderr).toContain('--interval');
  });
});

function linkOf(file: string): string {
  try {
    return fs.readlinkSync(file);
  } catch {
    return ''; // closed meanwhile
  }
}

function withResources(resources: Record<string, unknown>) {
  return (config: Config): void => {
    config.linux.resources = { ...config.linux.resources, ...resources };
  };
}
