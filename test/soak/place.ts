import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Place } from '../integration/support/helperProcess.ts';
import { leftovers, removeCgroupParent } from '../integration/support/leaks.ts';

/** A place of its own whose data lies on this file system; sockets' paths must stay short. */
export function placeIn(directory: string, name: string): Place {
  const run = path.join(directory, name, 'run');
  return {
    directory: path.join(directory, name),
    root: path.join(directory, name, 'root'),
    run,
    socketPath: path.join(run, 'strata.sock'),
    cgroupParent: `/strata-soak-${process.pid}-${name}`,
  };
}

export interface SupervisorOf {
  readonly id: string;
  readonly pid: number;
}

/** Of running containers and of warm sandboxes, by what they have written of themselves. */
export function supervisorsOf(place: Place): SupervisorOf[] {
  return namesIn(path.join(place.run, 'containers')).flatMap((id) => {
    try {
      const state = JSON.parse(fs.readFileSync(path.join(place.run, 'containers', id, 'state.json'), 'utf8')) as {
        supervisor: { pid: number };
      }; // docs/supervisor.md, "Files"
      return [{ id, pid: state.supervisor.pid }];
    } catch {
      return []; // it comes up, or has just ended
    }
  });
}

export function namesIn(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

/** Ends whatever is left of a place; nothing of it counts any more. */
export async function clearPlace(place: Place): Promise<void> {
  for (let processes = leftovers(place).processes; processes.length > 0; processes = leftovers(place).processes) {
    for (const line of processes) {
      try {
        process.kill(Number.parseInt(line, 10), 'SIGKILL');
      } catch {
        // It has ended since.
      }
    }
    await sleep(20);
  }
  for (const cgroup of leftovers(place).cgroups) fs.rmdirSync(cgroup);
  removeCgroupParent(place);
}
