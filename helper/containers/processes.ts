import { readFile } from 'node:fs/promises';
import { type ContainerProcess, maxProcessCommandLength } from '../protocol/index.ts';
import { readBounded } from '../store/boundedFile.ts';

/** USER_HZ: what /proc counts in, on every architecture that Strata knows. */
const ticksPerSecond = 100;
const pageBytes = 4096;

/** As many as an answer can hold; a container can have thousands. */
const maxProcesses = 1024;
/** Of all of them together: what is left of a message for commands, each byte of which can become three. */
const maxCommandBytes = 1024 * 1024;
/** All at once they would crowd everything else out of libuv's few threads. */
const readAtOnce = 16;
/**
 * What is read of each file. A process decides how long its `cmdline` is (prctl(2), PR_SET_MM_MAP, needs no privilege),
 * and with its groups and user namespaces how long the others are.
 */
const fileBytes = { stat: 4096, status: 64 * 1024, cmdline: maxProcessCommandLength, uid_map: 16 * 1024 } as const;

interface UidMap {
  readonly inside: number;
  readonly outside: number;
  readonly size: number;
}

export interface BootTime {
  readonly bootTimeMs: number;
}

export async function readBootTime(): Promise<BootTime> {
  const seconds = /^btime (\d+)$/m.exec(await readFile('/proc/stat', 'utf8'))?.[1];
  return { bootTimeMs: Number(seconds ?? 0) * 1000 };
}

export interface ProcessList {
  readonly processes: ContainerProcess[];
  /** There are more than are told. */
  readonly truncated: boolean;
}

/** Those of the processes that are still there, oldest pids first. */
export async function readProcesses(pids: readonly number[], boot: BootTime): Promise<ProcessList> {
  const told = pids.toSorted((a, b) => a - b).slice(0, maxProcesses);
  const commandBytes = Math.min(fileBytes.cmdline, Math.floor(maxCommandBytes / told.length));
  const processes: ContainerProcess[] = [];
  for (let at = 0; at < told.length; at += readAtOnce) {
    const read = await Promise.all(told.slice(at, at + readAtOnce).map((pid) => readProcess(pid, commandBytes, boot)));
    processes.push(...read.filter((process) => process !== undefined));
  }
  return { processes, truncated: told.length < pids.length };
}

async function readProcess(pid: number, commandBytes: number, boot: BootTime): Promise<ContainerProcess | undefined> {
  const text = async (name: keyof typeof fileBytes, mostBytes: number = fileBytes[name]): Promise<string> =>
    Buffer.from((await readBounded(`/proc/${pid}/${name}`, { mostBytes })) ?? []).toString();
  try {
    const [stat, status, command, uidMap] = [
      await text('stat'),
      await text('status'),
      await text('cmdline', commandBytes),
      await text('uid_map'),
    ];
    return parseProcess({ pid, stat, status, command, uidMap }, boot);
  } catch {
    return undefined; // it has just ended
  }
}

/** Pure: proc(5)'s files of one process. */
export function parseProcess(
  files: { pid: number; stat: string; status: string; command: string; uidMap: string },
  boot: BootTime,
): ContainerProcess {
  // The name is in parentheses and may hold anything, parentheses too; what follows is plain.
  const nameEnd = files.stat.lastIndexOf(')');
  const fields = files.stat.slice(nameEnd + 2).split(' ');
  const field = (number: number): number => Number(fields[number - 3] ?? 0);
  const name = files.stat.slice(files.stat.indexOf('(') + 1, nameEnd);
  const hostUid = Number(/^Uid:\s+(\d+)/m.exec(files.status)?.[1] ?? 0);
  const pids = (/^NSpid:\s+(.*)$/m.exec(files.status)?.[1] ?? '').split(/\s+/);
  return {
    hostPid: files.pid,
    containerPid: Number(pids.at(-1) ?? files.pid),
    parentHostPid: field(4),
    hostUid,
    containerUid: insideUid(parseUidMap(files.uidMap), hostUid),
    state: fields[0] ?? '?',
    startedAt: new Date(boot.bootTimeMs + (field(22) / ticksPerSecond) * 1000).toISOString(),
    cpuMs: Math.round(((field(14) + field(15)) / ticksPerSecond) * 1000),
    residentBytes: field(24) * pageBytes,
    command: printable(files.command.split('\0').join(' ').trim() || `[${name}]`),
  };
}

/** As ps(1) shows it: control characters are nobody's to send to a terminal, and each is six bytes as JSON. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}

function parseUidMap(text: string): UidMap[] {
  return text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .map(([inside = 0, outside = 0, size = 0]) => ({ inside, outside, size }));
}

function insideUid(maps: readonly UidMap[], hostUid: number): number | null {
  const map = maps.find(({ outside, size }) => hostUid >= outside && hostUid < outside + size);
  return map === undefined ? null : map.inside + hostUid - map.outside;
}
