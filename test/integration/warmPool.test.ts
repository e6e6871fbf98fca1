import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { HelperProcess, makePlace, type Place } from './support/helperProcess.ts';
import { leftovers, removeCgroupParent } from './support/leaks.ts';
import { Strata, until } from './support/strata.ts';

const mostBytes = 2 * 1024 * 1024;

describe('the pool of warm sandboxes', () => {
  it('grows with a burst, stays small, and gives each sandbox to one container', async () => {
    const place = makePlace();
    const helper = await HelperProcess.start(place, ['--warm', '1-3']);
    const strata = new Strata(helper, await helper.connect());
    const before = leftovers(place);
    const waiting = async (): Promise<string[]> => {
      const { containers } = await strata.connection.request('container.list', { all: true });
      const used = new Set<string>(containers.map(({ id }) => id));
      return fs.readdirSync(`${place.run}/containers`).filter((id) => !used.has(id) && readState(place, id) !== undefined);
    };

    // Two turns: the first shows that one is not enough, the second that two are not.
    const first = [...(await startAtOnce(strata, 4)), ...(await startAtOnce(strata, 4))];
    await until(async () => (await waiting()).length === 3, 'three warm sandboxes');
    const ready = await waiting();
    for (const id of ready) {
      const state = readState(place, id);
      const bytes = privateBytes(state?.supervisor.pid) + privateBytes(state?.init.pid);
      expect(bytes).toBeGreaterThan(0);
      expect(bytes).toBeLessThan(mostBytes);
    }
    const second = await startAtOnce(strata, 3);
    expect([...second].sort()).toEqual([...ready].sort());
    const all = [...first, ...second];
    expect(new Set(all).size).toBe(11);
    const processes = all.flatMap((id) => [readState(place, id)?.supervisor.pid, readState(place, id)?.init.pid]);
    expect(new Set(processes).size).toBe(22);

    for (const id of all) await strata.remove(id);
    strata.connection.close();
    await helper.stop();
    await until(() => leftovers(place).processes.length === 0, 'the end of every supervisor');
    expect(leftovers(place)).toEqual({ mounts: [], cgroups: [], processes: [], interfaces: before.interfaces, directories: [] });
    removeCgroupParent(place);
    fs.rmSync(place.directory, { recursive: true });
  });
});

async function startAtOnce(strata: Strata, count: number): Promise<string[]> {
  return await Promise.all(Array.from({ length: count }, () => strata.start()));
}

interface SupervisorState {
  readonly supervisor: { readonly pid: number };
  readonly init: { readonly pid: number };
}

/** What a supervisor writes when its sandbox stands. */
function readState(place: Place, id: string): SupervisorState | undefined {
  const file = `${place.run}/containers/${id}/state.json`;
  return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, 'utf8')) as SupervisorState) : undefined; // docs/supervisor.md, "Files"
}

function privateBytes(pid: number | undefined): number {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].reduce((sum, match) => sum + Number(match[1]) * 1024, 0);
}
