import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });

describe('--trace', () => {
  test('tells what was done when, by the runtime and by init, and the container sees nothing of it', () => {
    const { runtime } = context;
    const file = path.join(runtime.directory, 'trace');
    const bundle = runtime.bundle('ls -l /proc/self/fd', (config) => {
      config.mounts.push({ destination: '/traced', type: 'tmpfs', source: 'tmpfs' });
    });
    const ran = runtime.call(['--trace', file, 'run', '--bundle', bundle, path.basename(bundle)]);
    expect(ran).toMatchObject({ status: 0 });
    expect(ran.stdout).not.toContain('trace');
    const marks = fs.readFileSync(file, 'utf8').trimEnd().split('\n').map(parse);
    const done = (process: string): string[] => marks.filter((mark) => mark.process === process).map((mark) => mark.done);
    expect(done('strata-init')).toEqual(
      expect.arrayContaining(['enter the cgroups', "mount tmpfs on '/traced'", 'pivot, detach the old root']),
    );
    const steps = done('strata-runtime');
    expect(steps).toEqual(expect.arrayContaining(['begin', 'make the cgroups', 'plan the mounts, clone init', 'wait for the exit']));
    expect(steps.at(-1)).toBe('remove the state');
    expect(marks.every((mark) => mark.seconds > 0)).toBe(true);
  });

  test('a file that cannot be opened is an error before anything is made', () => {
    const { runtime } = context;
    const bundle = runtime.bundle('true');
    const ran = runtime.call(['--trace', path.join(runtime.directory, 'none/trace'), 'run', '--bundle', bundle, path.basename(bundle)]);
    expect(ran).toMatchObject({ status: 1, stderr: expect.stringContaining('open the trace') as string });
  });
});

function parse(line: string): { seconds: number; process: string; done: string } {
  const fields = /^(\d+\.\d{6}) (\S+) \d+:\d+ (.+)$/.exec(line);
  return { seconds: Number(fields?.[1]), process: fields?.[2] ?? '', done: fields?.[3] ?? '' };
}
