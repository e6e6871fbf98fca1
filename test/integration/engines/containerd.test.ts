import * as fs from 'node:fs';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { until } from './support/command.ts';
import { useContainerd } from './support/containerd.ts';

const context = useContainerd();
const test = requires({ root: true, commands: ['containerd', 'ctr', 'umoci', 'script', 'ip'] });
const MIB = 1024 * 1024;
const said = (text: string): string => expect.stringContaining(text) as string;

describe('ctr run', () => {
  test('status, streams, environment, directory, seccomp, and a failed start', async () => {
    const { containerd } = context;
    const options = ['--rm', '--env', 'A=b', '--cwd', '/bin', '--seccomp', ...containerd.inCgroup('one')];
    const script = 'pwd; echo $A; grep Seccomp: /proc/self/status; echo x >/dev/null; echo err >&2; exit 7';
    expect(await containerd.run(...containerd.create(...options), 'one', 'sh', '-c', script)).toMatchObject({
      status: 7,
      stdout: '/bin\nb\nSeccomp:\t2\n',
      stderr: said('err\n'),
    });
    expect(await containerd.run(...containerd.create('--rm', ...containerd.inCgroup('two')), 'two', 'nosuch')).toMatchObject({
      status: 1,
      stderr: said("OCI runtime create failed: exec 'nosuch': executable file not found in $PATH"),
    });
  });

  test('on a terminal, run and exec', async () => {
    const { containerd } = context;
    const script = 'test -t 0 && tty; until stty size 2>/dev/null | grep -v "^0 0"; do :; done; exit 4';
    expect(
      await containerd.onTerminal(...containerd.create('--rm', '--tty', ...containerd.inCgroup('tty')), 'tty', 'sh', '-c', script),
    ).toMatchObject({ status: 4, stdout: said('/dev/pts/0\n30 90\n') });
    await containerd.start('held', 'exec sleep 1000');
    expect(await containerd.onTerminal('tasks', 'exec', '--tty', '--exec-id', 'e', 'held', 'sh', '-c', script)).toMatchObject({
      status: 4,
      stdout: said('/dev/pts/0\n30 90\n'),
    });
  });

  test('the network and the pid namespace of the host; a bind; a read-only root', async () => {
    const { containerd } = context;
    fs.writeFileSync(containerd.place.file('bound'), 'of the host\n');
    const mount = ['--mount', `type=bind,src=${containerd.place.file('bound')},dst=/bound,options=rbind:ro`];
    const options = [
      '--rm',
      '--net-host',
      '--with-ns',
      `pid:/proc/${process.pid}/ns/pid`,
      '--read-only',
      ...mount,
      ...containerd.inCgroup('host'),
    ];
    const script = 'readlink /proc/self/ns/net; readlink /proc/self/ns/pid; cat /bound; echo x > /bound; touch /no; true';
    const ran = await containerd.run(...containerd.create(...options), 'host', 'sh', '-c', script);
    expect(ran.stdout.split('\n')).toEqual([
      fs.readlinkSync(`/proc/${containerd.place.networkPid}/ns/net`),
      fs.readlinkSync('/proc/self/ns/pid'),
      'of the host',
      '',
    ]);
    expect(ran.stderr.match(/Read-only file system/g)).toHaveLength(2);
  });
});

describe('a task', () => {
  test('exec, ps, metrics, limits', async () => {
    const { containerd } = context;
    await containerd.start('task', 'sleep 1000 & exec sleep 1000', '--memory-limit', String(64 * MIB));
    expect(containerd.place.limit('task', 'memory.limit_in_bytes', 'memory.max')).toBe(String(64 * MIB));
    const exec = (id: string, ...args: readonly string[]) => containerd.run('tasks', 'exec', '--exec-id', id, ...args);
    const [ran, missing, ps, metrics] = await Promise.all([
      exec('a', '--cwd', '/bin', 'task', 'sh', '-c', 'pwd; echo err >&2; exit 9'),
      exec('b', 'task', 'nosuch'),
      containerd.output('tasks', 'ps', 'task'),
      containerd.output('tasks', 'metrics', '--format', 'json', 'task'),
    ]);
    expect(ran).toMatchObject({ status: 9, stdout: '/bin\n', stderr: said('err\n') });
    expect(missing).toMatchObject({ status: 1, stderr: said('executable file not found in $PATH') });
    expect(ps.trim().split('\n').length).toBeGreaterThanOrEqual(3);
    expect(metrics).toContain(String(64 * MIB));
    expect(fs.existsSync(containerd.place.file('runtime/default/task/state.json'))).toBe(true);
  });

  test('pause, resume, kill, delete', async () => {
    const { containerd } = context;
    await containerd.start('task', 'trap "exit 5" TERM; while :; do sleep 0.05; done');
    await containerd.output('tasks', 'pause', 'task');
    expect(await containerd.status('task')).toBe('PAUSED');
    await containerd.output('tasks', 'resume', 'task');
    expect(await containerd.status('task')).toBe('RUNNING');
    await containerd.output('tasks', 'kill', '--signal', 'SIGTERM', 'task');
    await until(async () => (await containerd.status('task')) === 'STOPPED', 'the end');
    await containerd.output('tasks', 'delete', 'task');
    expect(await containerd.status('task')).toBeUndefined();
    await containerd.output('containers', 'delete', 'task');
    await containerd.start('many', 'sleep 1000 & exec sleep 1000', '--with-ns', `pid:/proc/${process.pid}/ns/pid`);
    await containerd.output('tasks', 'kill', '--all', '--signal', 'SIGKILL', 'many');
    await until(async () => (await containerd.status('many')) === 'STOPPED', 'the end of all');
  });
});
