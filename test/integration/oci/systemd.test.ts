import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { cgroupMode } from '../../support/cgroupMode.ts';
import { requires } from '../../support/requires.ts';
import { type Config, type Ran, runtimeBinary, useRuntime } from './support/runtime.ts';
import { Systemd } from './support/systemd.ts';

const context = useRuntime();
const test = requires({ root: true, commands: ['systemctl', 'nsenter', 'unshare'] });
const isV2 = cgroupMode() === 'v2';
const MIB = 1024 * 1024;

describe('--systemd-cgroup', () => {
  let systemd: Systemd;
  beforeAll(async () => {
    systemd = await Systemd.boot(`${context.runtime.cgroupParent}-systemd`);
  });
  afterAll(() => systemd.stop());

  const call = (...args: string[]): Ran => systemd.run(runtimeBinary, '--root', context.runtime.root, '--systemd-cgroup', ...args);
  const must = (...args: string[]): string => {
    const ran = call(...args);
    expect(ran, args.join(' ')).toMatchObject({ status: 0 });
    return ran.stdout;
  };
  const bundle = (command: string, change: (config: Config) => void = () => undefined): string =>
    context.runtime.bundle(command, (config) => {
      config.linux['cgroupsPath'] = 'strata-test.slice:strata:one';
      config.linux.resources = {
        ...config.linux.resources,
        memory: { limit: 64 * MIB },
        pids: { limit: 50 },
        cpu: { shares: 512, quota: 25_000, period: 50_000 },
      };
      change(config);
    });
  const unit = 'strata-one.scope';
  const memoryLimit = isV2 ? 'MemoryMax' : 'MemoryLimit';

  test('a scope of its own with the limits, updated, reloaded, removed', () => {
    const out = path.join(context.runtime.directory, 'out');
    const directory = bundle('exec sleep 1000');
    const create = `exec ${runtimeBinary} --root ${context.runtime.root} --systemd-cgroup create --bundle ${directory} one >${out} 2>&1`;
    expect(systemd.run('sh', '-c', create).status, fs.readFileSync(out, 'utf8')).toBe(0);
    must('start', 'one');
    const shown = systemd.show(
      unit,
      'ActiveState',
      'Slice',
      'Delegate',
      'ControlGroup',
      memoryLimit,
      'TasksMax',
      'CPUQuotaPerSecUSec',
      'DevicePolicy',
    );
    expect(shown).toEqual({
      ActiveState: 'active',
      Slice: 'strata-test.slice',
      Delegate: 'yes',
      ControlGroup: '/strata.slice/strata-test.slice/strata-one.scope',
      [memoryLimit]: String(64 * MIB),
      TasksMax: '50',
      CPUQuotaPerSecUSec: '500ms',
      DevicePolicy: 'strict',
    });
    // Every process of the scope is the container's: who held it is gone.
    const pids = systemd
      .run('cat', `/sys/fs/cgroup${isV2 ? '' : '/systemd'}${shown['ControlGroup']}/cgroup.procs`)
      .stdout.trim()
      .split('\n');
    expect(pids).toEqual([String((JSON.parse(must('state', 'one')) as { pid: number }).pid)]);
    const file = (v1: string, v2: string): string =>
      systemd.run('cat', `/sys/fs/cgroup/${isV2 ? '' : v1.split('.')[0]}${shown['ControlGroup']}/${isV2 ? v2 : v1}`).stdout.trim();
    expect(file('memory.limit_in_bytes', 'memory.max')).toBe(String(64 * MIB));
    must('update', '--memory', '96M', '--pids-limit', '60', 'one');
    expect(systemd.show(unit, memoryLimit, 'TasksMax')).toEqual({ [memoryLimit]: String(96 * MIB), TasksMax: '60' });
    expect(systemd.run('systemctl', 'daemon-reload').status).toBe(0);
    expect(file('memory.limit_in_bytes', 'memory.max')).toBe(String(96 * MIB));
    expect(file('pids.max', 'pids.max')).toBe('60');
    expect(must('exec', 'one', 'sh', '-c', 'echo x > /dev/null && echo null; grep -c . /proc/self/cgroup >/dev/null && echo in')).toBe(
      'null\nin\n',
    );
    must('pause', 'one');
    expect(JSON.parse(must('state', 'one'))).toMatchObject({ status: 'paused' });
    must('resume', 'one');
    must('delete', '--force', 'one');
    expect(systemd.show(unit, 'LoadState')).toEqual({ LoadState: 'not-found' });
    expect(systemd.run('find', '/sys/fs/cgroup', '-name', unit).stdout).toBe('');
  });

  test('run, and a create that fails, leave no scope', () => {
    expect(call('run', '--bundle', bundle('cat /proc/1/cmdline'), 'one').stdout).toContain('cat');
    const failing = bundle('', (config) => Object.assign(config.process, { args: ['nosuch'] }));
    expect(call('run', '--bundle', failing, 'one')).toMatchObject({ status: 127, stderr: expect.stringContaining('nosuch') as string });
    expect(systemd.show(unit, 'LoadState')).toEqual({ LoadState: 'not-found' });
    expect(systemd.run('find', '/sys/fs/cgroup', '-name', unit).stdout).toBe('');
  });

  test('what systemd refuses is said in its words', () => {
    const wrong = bundle('true', (config) => (config.linux['cgroupsPath'] = 'strata-test.slice:a b/c:one'));
    expect(call('run', '--bundle', wrong, 'one')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/a b\/c-one.scope|cgroupsPath/) as string,
    });
  });
});

test('without systemd the error names its socket and the way out', () => {
  const bundle = context.runtime.bundle('true', (config) => (config.linux['cgroupsPath'] = 'a.slice:b:c'));
  const command = `mount -t tmpfs tmpfs /run && exec ${runtimeBinary} --root ${context.runtime.root} --systemd-cgroup run --bundle ${bundle} x`;
  const ran = spawnSync('unshare', ['--mount', 'sh', '-c', command], { encoding: 'utf8' });
  expect(ran).toMatchObject({ status: 1, stderr: expect.stringMatching(/\/run\/systemd\/private.*cgroupfs/s) as string });
});
