import * as fs from 'node:fs';
import type { Place } from '../../integration/support/helperProcess.ts';
import { supervisorsOf } from '../place.ts';

export type Victim = 'helper' | 'supervisor' | 'child' | 'helper and supervisor' | 'supervisor and helper' | 'everything';
export const victims: readonly Victim[] = [
  'helper',
  'helper',
  'helper',
  'supervisor',
  'child',
  'helper and supervisor',
  'supervisor and helper',
  'everything',
];

/** Kills at once. Returns the ids of the containers whose supervisor was among the killed, and whether the helper was. */
export function strike(
  victim: Victim,
  options: { place: Place; helper: number; preferred: string | undefined },
): { ids: string[]; helper: boolean } {
  const { place, helper, preferred } = options;
  const ids: string[] = [];
  const killSupervisors = (all: boolean): void => {
    const found = supervisorsOf(place);
    // The one of the container that something happens to; of a new one, which nobody knows by its id yet, any.
    const chosen = all ? found : [found.find(({ id }) => id === preferred) ?? found.at(-1)];
    for (const one of chosen) if (one !== undefined && kill(one.pid)) ids.push(one.id);
  };
  switch (victim) {
    case 'helper':
      kill(helper);
      break;
    case 'supervisor':
      killSupervisors(false);
      break;
    case 'child':
      // The runtime's foreground, while it makes a sandbox.
      for (const pid of childrenOf(helper)) kill(pid);
      kill(helper);
      break;
    case 'helper and supervisor':
      kill(helper);
      killSupervisors(false);
      break;
    case 'supervisor and helper':
      killSupervisors(false);
      kill(helper);
      break;
    case 'everything':
      kill(helper);
      killSupervisors(true);
      break;
    default:
      victim satisfies never;
  }
  return { ids, helper: victim !== 'supervisor' };
}

function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false; // it has just ended by itself
  }
}

function childrenOf(pid: number): number[] {
  return fs.readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      return fs.readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
    } catch {
      return []; // the thread has ended
    }
  });
}
