// Where the time of a start goes: traces of many starts, step by step (native/runtime/trace.h).
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { summarize } from './statistics.ts';

export interface Phase {
  readonly process: string;
  readonly step: string;
  readonly milliseconds: number;
}

/** Steps of one kind become one row: what is mounted, made, masked or made read-only. */
const kinds: readonly (readonly [RegExp, string])[] = [
  [/^mount cgroup2? on /, 'mount the cgroup hierarchies'],
  [/^mount \S+ on /, 'mount proc, sysfs, tmpfs, devpts, mqueue'],
  [/^make '/, 'make device nodes and links'],
  [/^bind on '/, 'attach binds'],
  [/^(mask|restrict) '/, 'masked and read-only paths'],
];

/** The median of each step over all starts; a step's time is from the line before it of the same process. */
export function phasesOf(traces: readonly string[]): Phase[] {
  const times = new Map<string, number[]>();
  for (const [index, trace] of traces.entries()) {
    const before = new Map<string, number>();
    for (const line of trace.trimEnd().split('\n')) {
      const [, seconds = '', process = '', pid = '', done = ''] = /^(\S+) (\S+) (\d+:\d+) (.+)$/.exec(line) ?? [];
      const elapsed = (Number(seconds) - (before.get(pid) ?? Number(seconds))) * 1000;
      before.set(pid, Number(seconds));
      const key = `${process}\t${kinds.find(([pattern]) => pattern.test(done))?.[1] ?? done}`;
      const list = times.get(key) ?? [];
      times.set(key, list);
      while (list.length <= index) list.push(0);
      list[index] = (list[index] ?? 0) + elapsed;
    }
  }
  return [...times].map(([key, list]) => {
    const [process = '', step = ''] = key.split('\t');
    return { process, step, milliseconds: summarize(list).median };
  });
}

/** `command` has to append to `file`. */
export async function traceCommand(command: readonly string[], file: string, rounds: number): Promise<string[]> {
  const [program = '', ...args] = command;
  const traces: string[] = [];
  for (let round = -3; round < rounds; round += 1) {
    fs.rmSync(file, { force: true });
    execFileSync(program, args, { stdio: 'ignore' });
    if (round >= 0) traces.push(fs.readFileSync(file, 'utf8'));
    await sleep(40);
  }
  return traces;
}

/** One start each through the helper, whose supervisors and inits all append to one file; `start` tells the supervisor's pid. */
export async function traceStarts(start: () => Promise<number>, file: string, rounds: number): Promise<string[]> {
  const supervisors: number[] = [];
  for (let round = -3; round < rounds; round += 1) {
    const pid = await start();
    if (round >= 0) supervisors.push(pid);
    await sleep(60);
  }
  const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n');
  const writerOf = (line: string): string => line.split(' ')[2] ?? '';
  return supervisors.map((pid) => {
    const opener = writerOf(lines.find((line) => writerOf(line).endsWith(`:${pid}`)) ?? '').split(':')[0];
    return lines.filter((line) => writerOf(line).startsWith(`${opener}:`)).join('\n');
  });
}
