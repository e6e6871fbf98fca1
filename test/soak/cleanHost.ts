import * as fs from 'node:fs';
import * as path from 'node:path';
import type { ContainerSummary } from '../../helper/protocol/index.ts';
import type { HelperProcess } from '../integration/support/helperProcess.ts';
import { leftovers, openDescriptors } from '../integration/support/leaks.ts';
import { namesIn } from './place.ts';

export interface Allowed {
  readonly containers: readonly ContainerSummary[];
  /** Of the host before anything was made. */
  readonly interfaces: readonly string[];
  /** Sandboxes that may wait for nobody. */
  readonly mostWarm: number;
}

/** What a supervisor takes away when it ends. */
const ofSupervisor: ReadonlySet<string> = new Set(['control.sock', 'state.json']);

/** What of a helper's place is on the host and belongs to no container of its list. */
export function strayThings(helper: HelperProcess, { containers, interfaces, mostWarm }: Allowed): string[] {
  const { place } = helper;
  const left = leftovers(place);
  const running = new Set<string>(containers.filter(({ state }) => state.kind === 'running').map(({ id }) => id));
  const kept = new Set<string>(containers.map(({ id }) => id));
  const inRun = namesIn(path.join(place.run, 'containers'));
  const warm = new Set(inRun.filter((id) => !kept.has(id)));
  const alive = (id: string): boolean => running.has(id) || warm.has(id);
  const stray: string[] = [...left.mounts.map((mount) => `mount ${mount}`)];
  if (warm.size > mostWarm) stray.push(`sandboxes ${[...warm].join(' ')}`);
  stray.push(...left.cgroups.filter((cgroup) => !alive(path.basename(cgroup))).map((cgroup) => `cgroup ${cgroup}`));
  // What this helper has started again, by its policy, and seen ending keeps its directory until the next start or the next helper.
  const startedAgain = new Set<string>(containers.filter(({ restartPolicy }) => restartPolicy.name !== 'no').map(({ id }) => id));
  const isEmptied = (id: string): boolean => namesIn(path.join(place.run, 'containers', id)).every((name) => !ofSupervisor.has(name));
  const isOver = (id: string): boolean => !alive(id) && !(startedAgain.has(id) && isEmptied(id));
  stray.push(...inRun.filter(isOver).map((id) => `run directory ${id}`));
  const states = namesIn(path.join(place.root, 'containers'));
  stray.push(...states.filter((id) => !kept.has(id) && !warm.has(id)).map((id) => `directory ${id}`));
  stray.push(...left.processes.filter((line) => !isOf(line, helper.pid, alive)).map((line) => `process ${line}`));
  if (left.interfaces.join() !== interfaces.join()) stray.push(`interfaces ${left.interfaces.join(' ')}`);
  stray.push(...temporaryFiles(place.root, place.run).map((file) => `temporary file ${file}`));
  stray.push(...strayDescriptors(helper));
  return stray;
}

function isOf(line: string, helper: number, alive: (id: string) => boolean): boolean {
  const [pid = ''] = line.split(' ');
  if (Number(pid) === helper) return true;
  const id = / --id ([0-9a-f]{32})/.exec(line)?.[1] ?? idOfCgroup(pid);
  // Undefined: it has ended since it was listed.
  return id === undefined || alive(id);
}

function idOfCgroup(pid: string): string | undefined {
  try {
    return /\/([0-9a-f]{32})(\/|$)/m.exec(fs.readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

/** What a write that was cut off leaves. */
function temporaryFiles(root: string, run: string): string[] {
  const places = [
    path.join(root, 'images'),
    ...directoriesIn(path.join(root, 'containers')),
    ...directoriesIn(path.join(run, 'containers')),
  ];
  const files = places.flatMap((directory) =>
    namesIn(directory)
      .filter((name) => /\.tmp(-|$)/.test(name))
      .map((name) => path.join(directory, name)),
  );
  return [...files, ...namesIn(path.join(root, 'tmp')).map((name) => path.join(root, 'tmp', name))];
}

function directoriesIn(directory: string): string[] {
  return namesIn(directory).map((name) => path.join(directory, name));
}

/** Of files below its place a helper that has nothing to do holds its two locks, the file to which it writes its events, and the directory of layers, to sync what is written there. */
function strayDescriptors({ pid, place }: HelperProcess): string[] {
  const own = [`${place.root}/lock`, `${place.run}/lock`, `${place.root}/layers`];
  const held = openDescriptors(pid).filter((target) => target.startsWith(`${place.directory}/`));
  for (const target of own) if (held.includes(target)) held.splice(held.indexOf(target), 1);
  const [, ...strayEvents] = held.filter(isEventFile);
  return [...held.filter((target) => !isEventFile(target)), ...strayEvents].map((target) => `descriptor of ${target}`);
}

function isEventFile(target: string): boolean {
  return /\/events\/\d+\.jsonl$/.test(target);
}

/** How many descriptors a process has. */
export function countDescriptors(pid: number): number {
  return fs.readdirSync(`/proc/${pid}/fd`).length;
}
