import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { runtimeBinary, until, useRuntime } from './support/runtime.ts';

const context = useRuntime();
const test = requires({ root: true });

describe('exec', () => {
  test('joins every namespace and cgroup, and takes over streams and status', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const init = runtime.state(id).pid;
    const kinds = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'];
    const inside = runtime.must(
      'exec',
      id,
      'sh',
      '-c',
      `for kind in ${kinds.join(' ')}; do readlink /proc/self/ns/$kind; done; cat /proc/self/cgroup`,
    );
    for (const kind of kinds) expect(inside).toContain(fs.readlinkSync(`/proc/${init}/ns/${kind}`));
    // Its cgroup is the namespace's root.
    for (const line of inside.split('\n').filter((text) => /^\d+:/.test(text))) expect(line).toMatch(/:\/$/);
    expect(runtime.call(['exec', id, 'sh', '-c', 'cat; exit 3'], { input: 'through' })).toEqual({
      status: 3,
      stdout: 'through',
      stderr: '',
    });
    expect(runtime.call(['exec', id, 'nosuch'])).toMatchObject({
      status: 127,
      stderr: expect.stringContaining('executable file not found') as string,
    });
  });

  test('user, directory, environment and capabilities', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const out = runtime.must(
      'exec',
      '--user',
      '5:6',
      '--cwd',
      '/bin',
      '--env',
      'A=b',
      '--cap',
      'CAP_NET_RAW',
      id,
      'sh',
      '-c',
      'id -u; id -g; pwd; echo $A; grep CapBnd /proc/self/status',
    );
    expect(out).toMatch(/^5\n6\n\/bin\nb\nCapBnd:\s+0000000020002420\n$/);
  });

  test('a process file, detached, with its pid', async () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const bundle = path.join(runtime.directory, id);
    fs.writeFileSync(path.join(bundle, 'process.json'), JSON.stringify({ args: ['sleep', '500'], cwd: '/', user: { uid: 7, gid: 7 } }));
    expect(
      await runtime.callDetached([
        'exec',
        '--process',
        path.join(bundle, 'process.json'),
        '--detach',
        '--pid-file',
        path.join(bundle, 'exec.pid'),
        id,
      ]),
    ).toBe(0);
    const pid = fs.readFileSync(path.join(bundle, 'exec.pid'), 'utf8');
    expect(fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toBe('sleep\x00500\x00');
    runtime.must('kill', id, 'KILL');
    await until(
      () => !fs.existsSync(`/proc/${pid}/exe`) || !fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('500'),
      'the end of the exec',
    );
  });

  requires({ root: true, commands: ['script'] })('a terminal of the caller is joined to a terminal in the container', () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const command = `${runtimeBinary} --root ${runtime.root} exec --tty ${id} sh -c 'tty; exit 4'`;
    const ran = spawnSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8', input: '' });
    expect(ran.stdout).toContain('/dev/pts/0');
    expect(ran.status).toBe(4);
  });

  test('a terminal goes to the console socket', async () => {
    const { runtime } = context;
    const id = runtime.start('exec sleep 1000');
    const socket = path.join(runtime.directory, id, 'tty.sock');
    const received = new Promise<string>((resolve) => {
      const server = net.createServer((connection) => {
        // Node drops the descriptor that comes along: the terminal then hangs up, and the process with it.
        connection.on('data', (data) => resolve(data.toString()));
        server.close();
      });
      server.listen(socket);
    });
    await until(() => fs.existsSync(socket), 'the console socket');
    await runtime.callDetached(['exec', '--tty', '--detach', '--console-socket', socket, id, 'sleep', '400']);
    expect(await received).toBe('/dev/ptmx');
    expect(runtime.call(['exec', '--tty', '--detach', id, 'true']).stderr).toContain('console socket');
  });
});
