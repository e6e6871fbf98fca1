import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Strata } from '../integration/support/strata.ts';

export interface Footprint {
  readonly containers: number;
  readonly helperRssMib: number;
  readonly helperCpuPercent: number;
  readonly supervisorPrivateKib: readonly number[];
  /** Of each sandbox that waits: supervisor and init, with what the kernel counts for init's cgroup. */
  readonly warmSlotKib: readonly number[];
}

/** What Strata costs while nothing happens: `count` containers that sleep, nobody watching. */
export async function measureFootprint(strata: Strata, count: number, seconds: number): Promise<Footprint> {
  const ids: string[] = [];
  for (let index = 0; index < count; index += 1) ids.push(await strata.start());
  await sleep(3000);
  const before = cpuTicks(strata.helper.pid);
  await sleep(seconds * 1000);
  const ticks = cpuTicks(strata.helper.pid) - before;
  const supervisorPrivateKib: number[] = [];
  for (const id of ids) {
    const { supervisorPid } = await strata.connection.request('container.inspect', { container: id });
    if (supervisorPid !== null) supervisorPrivateKib.push(privateKib(supervisorPid));
  }
  const helperRssMib = statusKib(strata.helper.pid, 'VmRSS') / 1024;
  const warmSlotKib = warmSlots(strata, new Set(ids));
  for (const id of ids) await strata.remove(id);
  return { containers: count, helperRssMib, helperCpuPercent: ticks / seconds, supervisorPrivateKib, warmSlotKib };
}

/** A cgroup's figure holds init's pages and the kernel memory of its namespaces; shared pages of the program are counted for nobody. */
function warmSlots(strata: Strata, used: ReadonlySet<string>): number[] {
  const { run, cgroupParent } = strata.place;
  const waiting = fs.readdirSync(path.join(run, 'containers')).filter((id) => !used.has(id));
  return waiting.map((id) => {
    const text = fs.readFileSync(path.join(run, 'containers', id, 'state.json'), 'utf8');
    const state = JSON.parse(text) as { supervisor: { pid: number } }; // docs/supervisor.md, "Files"
    const files = [
      `/sys/fs/cgroup/memory${cgroupParent}/${id}/memory.usage_in_bytes`,
      `/sys/fs/cgroup${cgroupParent}/${id}/memory.current`,
    ];
    const file = files.find((candidate) => fs.existsSync(candidate));
    const cgroupBytes = file === undefined ? Number.NaN : Number(fs.readFileSync(file, 'utf8'));
    return cgroupBytes / 1024 + privateKib(state.supervisor.pid);
  });
}

/** utime + stime in clock ticks of 10 ms, which makes ticks per second a percentage of one cpu. */
function cpuTicks(pid: number): number {
  const fields = fs
    .readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

function privateKib(pid: number): number {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
}

function statusKib(pid: number, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? Number.NaN);
}
