import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { type Ran, runtimeBinary, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });

/** Whether criu works here depends on the kernel as much as on its version: see checkpoint.v2.test.ts for where it does. */
const criuWorks = spawnSync('criu', ['check']).status === 0;

function callWithPath(folders: string, ...args: string[]): Ran {
  const ran = spawnSync(runtimeBinary, ['--root', context.runtime.root, ...args], { env: { PATH: folders }, encoding: 'utf8', cwd: '/' });
  return { status: ran.status ?? -1, stdout: ran.stdout, stderr: ran.stderr };
}

const refused = (words: string | RegExp) => ({ status: 1, stdout: '', stderr: expect.stringMatching(words) as string });

describe('checkpoint and restore', () => {
  test('without criu are not available, which engines ask --help for', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const bundle = path.join(runtime.directory, id);
    const words = /not available: there is no program 'criu' in PATH \(install the package criu/;
    expect(callWithPath('/nonexistent', 'checkpoint', id)).toMatchObject(refused(words));
    expect(callWithPath('/nonexistent', 'restore', '--bundle', bundle, 'other')).toMatchObject(refused(words));
    expect(callWithPath('/nonexistent', 'checkpoint', '--help').status).toBe(1);
    expect(callWithPath('/nonexistent', '--criu', '/etc/passwd', 'checkpoint', id)).toMatchObject(refused("'/etc/passwd' is no program"));
    expect(runtime.state(id).status).toBe('running');
  });

  requires({ root: true, commands: ['criu'] })('do what criu can do on this kernel, or say what it says', () => {
    const { runtime } = context;
    expect(runtime.call(['checkpoint', '--help']).status).toBe(0);
    expect(runtime.call(['restore', '--help']).status).toBe(0);
    const { id } = runtime.tryCreate('exec sleep 1000 >/dev/null 2>&1');
    runtime.must('start', id);
    const images = path.join(runtime.directory, 'images');
    const ran = runtime.call(['checkpoint', '--leave-running', '--image-path', images, id]);
    // Where it does not work it says so before it looks at the container.
    if (!criuWorks)
      expect(ran).toMatchObject(refused(/checkpoint container '\S+': criu failed: .+ \(its log is '\S+dump.log'; `criu check`/));
    else expect(ran).toMatchObject({ status: 0 });
    expect(runtime.state(id).status).toBe('running');
    const bundle = runtime.bundle('true');
    const restored = runtime.call(['restore', '--detach', '--bundle', bundle, '--image-path', runtime.directory, 'other']);
    expect(restored).toMatchObject(refused(/descriptors.json/));
    fs.writeFileSync(path.join(images, 'descriptors.json'), '["pipe:[1]","../x",7]');
    fs.rmSync(path.join(images, 'inventory.img'), { force: true });
    expect(runtime.call(['restore', '--detach', '--bundle', bundle, '--image-path', images, 'other'])).toMatchObject(
      refused(/restore container 'other': criu failed: .+ \(its log is '\S+restore.log'/),
    );
    expect(runtime.must('list', '--quiet')).toBe(`${id}\n`);
  });

  test('by a program that is not criu leave everything as it was', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const images = path.join(runtime.directory, 'no-images');
    for (const program of ['/bin/true', '/bin/false']) {
      expect(runtime.call(['--criu', program, 'checkpoint', '--image-path', images, id])).toMatchObject(
        refused('criu ended without an answer'),
      );
      expect(runtime.state(id).status).toBe('running');
      expect(runtime.call(['--criu', program, 'restore', '--bundle', runtime.bundle('true'), '--image-path', images, 'x'])).toMatchObject(
        refused('criu ended without an answer'),
      );
      expect(runtime.must('list', '--quiet')).toBe(`${id}\n`);
    }
  });

  test('refuse what they cannot do by name', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const cases: [string[], string | RegExp][] = [
      [['checkpoint', '--lazy-pages', id], '--lazy-pages is not available'],
      [['checkpoint', '--page-server', 'a:1', id], '--page-server is not available'],
      [['checkpoint', '--manage-cgroups-mode', 'x', id], "soft, full, strict or ignore, not 'x'"],
      [['checkpoint', '--empty-ns', 'pid', id], "network, not 'pid'"],
      [['checkpoint', '--image-path', runtime.directory, '--parent-path', '/x', id], '--parent-path must be relative'],
      [['checkpoint', '--image-path', runtime.directory, '--parent-path', 'nosuch', id], /find --parent-path '\S+nosuch'/],
      [['checkpoint', '--image-path', runtimeBinary, id], /not a directory|file exists/i],
      [
        ['restore', '--manage-cgroups-mode', 'strict', '--bundle', path.join(runtime.directory, id), 'x'],
        'has no --manage-cgroups-mode strict',
      ],
      [['restore', '--bundle', '/nonexistent', 'x'], /no such file or directory/],
      [['restore', '--bundle', path.join(runtime.directory, id), '--image-path', '/nonexistent', 'x'], "open the directory '/nonexistent'"],
    ];
    for (const [args, words] of cases) expect(runtime.call(args), args.join(' ')).toMatchObject(refused(words));
    const waiting = runtime.create('true');
    expect(runtime.call(['checkpoint', waiting])).toMatchObject(refused('cannot be checkpointed in created state'));
    const joined = runtime.start('exec sleep 1000', (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== 'cgroup');
      config.linux.namespaces.push({ type: 'cgroup', path: '/proc/self/ns/cgroup' });
      config.mounts = config.mounts.filter(({ type }) => type !== 'cgroup');
    });
    expect(runtime.call(['checkpoint', joined])).toMatchObject(refused('in the cgroup namespace .* cannot be checkpointed'));
    const mapped = runtime.start('exec sleep 1000', (config) => {
      fs.chmodSync(runtime.directory, 0o711);
      config.linux.namespaces.push({ type: 'user' });
      for (const kind of ['uidMappings', 'gidMappings']) config.linux[kind] = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    });
    expect(runtime.call(['checkpoint', mapped])).toMatchObject(refused('with a user namespace cannot be checkpointed'));
  });
});
