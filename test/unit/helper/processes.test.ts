import { describe, expect, it } from 'vitest';
import { parseProcess, readBootTime, readProcesses } from '../../../helper/containers/processes.ts';
import { containerProcessSchema, LIMITS } from '../../../helper/protocol/index.ts';

const files = {
  pid: 4321,
  stat: `4321 (a b) c) S 1 4321 4321 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 1000 1000000 25${' 0'.repeat(28)}`,
  status: 'Name:\ta\nUid:\t100007\t100007\t100007\t100007\nNSpid:\t4321\t7\n',
  command: 'sh\0-c\0echo \u001b[2J\n\0',
  uidMap: '         0     100000      65536\n',
};

describe('a process', () => {
  it('is what /proc says, and nothing in it reaches a terminal as a command', () => {
    expect(parseProcess(files, { bootTimeMs: 0 })).toEqual({
      hostPid: 4321,
      containerPid: 7,
      parentHostPid: 1,
      hostUid: 100007,
      containerUid: 7,
      state: 'S',
      startedAt: '1970-01-01T00:00:10.000Z',
      cpuMs: 2000,
      residentBytes: 25 * 4096,
      command: 'sh -c echo ?[2J',
    });
  });
});

describe('a list of processes', () => {
  it('leaves out those that have ended', async () => {
    const { processes, truncated } = await readProcesses([process.pid, 2 ** 30], await readBootTime());
    expect(processes.map(({ hostPid }) => hostPid)).toEqual([process.pid]);
    expect(truncated).toBe(false);
    expect(containerProcessSchema.safeParse(processes[0]).success).toBe(true);
  });
  it('says so where it is not all, and fits a message', async () => {
    const many = await readProcesses(new Array<number>(1500).fill(process.pid), await readBootTime());
    expect(many.truncated).toBe(true);
    expect(many.processes).toHaveLength(1024);
    expect(Buffer.byteLength(JSON.stringify(many))).toBeLessThan(LIMITS.maxMessageBytes);
  });
});
