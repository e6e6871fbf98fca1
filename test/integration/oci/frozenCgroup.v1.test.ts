import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { mountPoints, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();

requires({ root: true, cgroup: ['v1', 'hybrid'] })(
  'delete --force ends what somebody moved into a frozen cgroup, and leaves that one frozen',
  async () => {
    const { runtime } = context;
    const freezer =
      mountPoints().find((mount) => fs.existsSync(path.join(mount, 'cgroup.clone_children')) && mount.endsWith('/freezer')) ?? '';
    const bystander = spawn('sleep', ['1000']);
    const foreign = path.join(freezer, `${runtime.cgroupParent}-foreign`);
    try {
      for (const below of [false, true]) {
        const id = runtime.start('sleep 1000 & exec sleep 1000');
        await until(() => (JSON.parse(runtime.must('ps', '--format', 'json', id)) as number[]).length === 2, 'both processes');
        const pids = JSON.parse(runtime.must('ps', '--format', 'json', id)) as number[];
        const cgroup = below ? path.join(freezer, runtime.cgroupParent, id, 'below') : foreign;
        fs.mkdirSync(cgroup);
        for (const pid of below ? pids : [...pids, bystander.pid]) fs.writeFileSync(path.join(cgroup, 'cgroup.procs'), String(pid));
        fs.writeFileSync(path.join(cgroup, 'freezer.state'), 'FROZEN');
        await until(() => fs.readFileSync(path.join(cgroup, 'freezer.state'), 'utf8') === 'FROZEN\n', 'the freeze');
        if (!below) fs.rmdirSync(path.join(freezer, runtime.cgroupParent, id)); // whoever took them away may tidy up
        runtime.must('delete', '--force', id);
        expect(pids.filter((pid) => fs.existsSync(`/proc/${pid}/ns/mnt`))).toEqual([]); // a zombie has none
      }
      expect(fs.readFileSync(path.join(foreign, 'freezer.state'), 'utf8')).toBe('FROZEN\n');
      expect(fs.readFileSync(path.join(foreign, 'cgroup.procs'), 'utf8')).toBe(`${bystander.pid}\n`);
    } finally {
      if (fs.existsSync(foreign)) fs.writeFileSync(path.join(foreign, 'freezer.state'), 'THAWED');
      const ended = new Promise((resolve) => bystander.on('exit', resolve));
      bystander.kill('SIGKILL');
      await ended;
      if (fs.existsSync(foreign)) fs.rmdirSync(foreign);
    }
  },
);
