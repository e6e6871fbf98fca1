import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Place } from './helperProcess.ts';

/** Everything on the host that belongs to one place, by kind; each entry is a line that a person can look up. */
export interface Leftovers {
  readonly mounts: readonly string[];
  readonly cgroups: readonly string[];
  readonly processes: readonly string[];
  readonly interfaces: readonly string[];
  readonly directories: readonly string[];
}

export function leftovers(place: Place): Leftovers {
  return {
    mounts: lines('/proc/self/mountinfo').filter((line) => line.includes(place.directory)),
    cgroups: cgroupsBelow(place.cgroupParent),
    processes: processesOf(place),
    interfaces: fs.readdirSync('/sys/class/net').sort(),
    directories: [
      ...children(path.join(place.root, 'containers')),
      ...children(path.join(place.run, 'containers')),
      ...children(path.join(place.root, 'layers')).filter((name) => !/[0-9a-f]{64}$/.test(name)),
    ],
  };
}

/** Open descriptors of a process, without those that come and go by themselves (timers, epoll). */
export function openDescriptors(pid: number): readonly string[] {
  const directory = `/proc/${pid}/fd`;
  return fs
    .readdirSync(directory)
    .map((fd) => readLink(path.join(directory, fd)))
    .filter((target) => target !== '')
    .sort();
}

function lines(file: string): string[] {
  return fs.readFileSync(file, 'utf8').split('\n').filter(Boolean);
}

function children(directory: string): string[] {
  return fs.existsSync(directory) ? fs.readdirSync(directory).map((name) => path.join(directory, name)) : [];
}

/** The directory of a cgroup in each hierarchy that is mounted and has it. */
export function directoriesOf(cgroup: string): string[] {
  return lines('/proc/self/mountinfo')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => path.join(line.split(' ')[4] ?? '', cgroup))
    .filter((directory) => fs.existsSync(directory));
}

/** The parent itself is the helper's to keep: the next one uses it again. A test's place is used once. */
export function removeCgroupParent(place: Pick<Place, 'cgroupParent'>): void {
  for (const directory of directoriesOf(place.cgroupParent)) fs.rmdirSync(directory);
}

/** Cgroups below `parent` in every hierarchy. */
function cgroupsBelow(parent: string): string[] {
  return directoriesOf(parent).flatMap((directory) => {
    return fs
      .readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => path.join(directory, entry.name));
  });
}

/** Processes that name the place on their command line (helper, supervisors), or live in its cgroups (everything else). */
function processesOf(place: Place): string[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const command = readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
      const inside = readText(`/proc/${pid}/cgroup`).includes(`:${place.cgroupParent}/`);
      const named = command.includes(place.directory) && Number(pid) !== process.pid;
      return inside || named ? [`${pid} ${command}`] : [];
    });
}

function readText(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return ''; // the process has ended meanwhile
  }
}

function readLink(file: string): string {
  try {
    return fs.readlinkSync(file);
  } catch {
    return '';
  }
}
