import * as fs from 'node:fs';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { until } from './support/command.ts';
import { runtimeBinary } from './support/place.ts';
import { usePodman } from './support/podman.ts';

const context = usePodman();
const test = requires({ root: true, commands: ['podman', 'buildah', 'conmon', 'ip', 'iptables', 'script'] });
const MIB = 1024 * 1024;
const said = (text: string): string => expect.stringContaining(text) as string;

describe('podman run', () => {
  test('status, streams, user, directory, environment, limits', async () => {
    const { podman } = context;
    const options = ['--user', '5:6', '--workdir', '/bin', '--env', 'A=b c', '--ulimit', 'nofile=100:200', '--network', 'none'];
    const script = 'id -u; id -g; pwd; echo $A; ulimit -n; echo to the void >/dev/null; echo err >&2; exit 7';
    expect(await podman.sh(script, ...options)).toMatchObject({ status: 7, stdout: '5\n6\n/bin\nb c\n100\n', stderr: said('err\n') });
    const id = await podman.start('exec sleep 1000', '--network', 'none');
    expect(await podman.inspect(id, '{{.OCIRuntime}}')).toBe(runtimeBinary);
  });

  test('what cannot start says why, with the status that shells expect', async () => {
    const { podman } = context;
    const start = (command: string) =>
      podman.run('run', '--rm', '--network', 'none', '--cgroup-parent', podman.place.cgroupParent, 'localhost/busybox', command);
    const [missing, file] = await Promise.all(['nosuch', '/etc/passwd'].map(start));
    expect(missing).toMatchObject({ status: 127, stderr: said('executable file not found in $PATH') });
    expect(file).toMatchObject({ status: 126, stderr: said("start '/etc/passwd': permission denied") });
  });

  test('read-only root, tmpfs, volumes, capabilities, seccomp, the pid namespace of the host', async () => {
    const { podman } = context;
    const script = 'touch /no; touch /t/yes /v/kept && ls /t; readlink /proc/self/ns/pid; grep -E "^(CapEff|Seccomp):" /proc/self/status';
    const options = [
      '--read-only',
      '--read-only-tmpfs=false',
      '--tmpfs',
      '/t',
      '--volume',
      'kept:/v',
      '--cap-drop',
      'all',
      '--pid',
      'host',
    ];
    const ran = await podman.sh(script, ...options, '--network', 'none');
    expect(ran.stdout).toBe(`yes\n${fs.readlinkSync('/proc/self/ns/pid')}\nCapEff:\t0000000000000000\nSeccomp:\t2\n`);
    expect(ran.stderr).toContain('Read-only file system');
    expect((await podman.sh('ls /v', '--volume', 'kept:/v', '--network', 'none')).stdout).toBe('kept\n');
    await podman.output('volume', 'rm', 'kept');
  });

  test('out of memory', async () => {
    const { podman } = context;
    const options = ['--name', 'greedy', '--memory', '16m', '--network', 'none', '--cgroup-parent', podman.place.cgroupParent];
    expect((await podman.run('run', ...options, 'localhost/busybox', 'tail', '/dev/zero')).status).toBe(137);
    // Whether it says OOMKilled too is conmon's: on a hybrid host it does so with no runtime.
    expect(await podman.inspect('greedy', '{{.State.ExitCode}}')).toBe('137');
  });

  test('a published port reaches the container', async () => {
    const { podman } = context;
    await podman.start('mkdir /www; echo a page > /www/index.html; exec httpd -f -p 80 -h /www', '--publish', '8080:80');
    await until(async () => (await podman.place.page('http://127.0.0.1:8080/')) === 'a page\n', 'the page');
    expect((await podman.sh('ls /sys/class/net')).stdout).toBe('eth0\nlo\n');
  });
});

describe('a container of podman that runs', () => {
  test('exec, with and without a terminal, with input, and what cannot be executed', async () => {
    const { podman } = context;
    const id = await podman.start('exec sleep 1000', '--network', 'none');
    const [ran, missing, piped, onTerminal] = await Promise.all([
      podman.run('exec', '--env', 'A=b', '--workdir', '/bin', '--user', '5', id, 'sh', '-c', 'id -u; pwd; echo $A; echo err >&2; exit 9'),
      podman.run('exec', id, 'nosuch'),
      podman.runWithInput('through', 'exec', '--interactive', id, 'cat'),
      podman.onTerminal(
        'exec',
        '--interactive',
        '--tty',
        id,
        'sh',
        '-c',
        'tty; until stty size 2>/dev/null | grep -v "^0 0"; do :; done; exit 4',
      ),
    ]);
    expect(ran).toMatchObject({ status: 9, stdout: '5\n/bin\nb\n', stderr: said('err\n') });
    expect(missing).toMatchObject({ status: 127, stderr: said('executable file not found in $PATH') });
    expect(piped).toMatchObject({ status: 0, stdout: 'through' });
    expect(onTerminal).toMatchObject({ status: 4, stdout: '/dev/pts/0\n30 90\n' });
    const run = ['run', '-it', '--rm', '--network', 'none', '--cgroup-parent', podman.place.cgroupParent, 'localhost/busybox'];
    expect(await podman.onTerminal(...run, 'sh', '-c', 'tty; exit 6')).toMatchObject({ status: 6, stdout: '/dev/pts/0\n' });
  });

  test('logs, pause, stop, start, kill', async () => {
    const { podman } = context;
    const id = await podman.start('trap "echo bye; exit 3" TERM; echo hello; while :; do sleep 0.05; done', '--network', 'none');
    await until(async () => (await podman.output('logs', id)) === 'hello\n', 'the first line');
    await podman.output('pause', id);
    expect(await podman.inspect(id, '{{.State.Status}}')).toBe('paused');
    await podman.output('unpause', id);
    await podman.output('stop', '--time', '10', id);
    expect(await podman.inspect(id, '{{.State.Status}} {{.State.ExitCode}}')).toBe('exited 3');
    expect(await podman.output('logs', id)).toBe('hello\nbye\n');
    await podman.output('start', id);
    await podman.output('kill', '--signal', 'KILL', id);
    await until(async () => (await podman.inspect(id, '{{.State.Status}}')) === 'exited', 'the end');
    expect(await podman.inspect(id, '{{.State.ExitCode}}')).toBe('137');
  });

  test('stats, top, limits that change, health checks', async () => {
    const { podman } = context;
    const health = ['--health-cmd', 'test -e /well', '--health-interval', 'disable'];
    const id = await podman.start('sleep 1000 & exec sleep 1000', '--memory', '64m', '--network', 'none', ...health);
    const limit = (): string => podman.place.limit(`libpod-${id}`, 'memory.limit_in_bytes', 'memory.max');
    expect(limit()).toBe(String(64 * MIB));
    await podman.output('update', '--memory', '96m', id);
    expect(limit()).toBe(String(96 * MIB));
    expect(await podman.output('stats', '--no-stream', '--format', '{{.PIDs}} {{.MemUsage}}', id)).toMatch(/^2 [\d.]+[kM]B \//);
    expect((await podman.output('top', id, 'args')).match(/sleep 1000/g)).toHaveLength(2);
    expect((await podman.run('healthcheck', 'run', id)).status).toBe(1);
    await podman.output('exec', id, 'touch', '/well');
    expect((await podman.run('healthcheck', 'run', id)).status).toBe(0);
  });
});

describe('a pod', () => {
  test('shares the namespaces of its infra container, which are given by path', async () => {
    const { podman } = context;
    await podman.output('pod', 'create', '--name', 'pod', '--cgroup-parent', podman.place.cgroupParent, '--share', 'net,ipc,uts');
    const start = (name: string) => podman.output('run', '--detach', '--pod', 'pod', '--name', name, 'localhost/busybox', 'sleep', '1000');
    await start('first');
    await start('second');
    const namespaces = async (id: string): Promise<string[]> => {
      const pid = await podman.inspect(id, '{{.State.Pid}}');
      return ['net', 'ipc', 'uts', 'pid', 'mnt'].map((kind) => fs.readlinkSync(`/proc/${pid}/ns/${kind}`));
    };
    const [first, second, infra] = await Promise.all([
      namespaces('first'),
      namespaces('second'),
      podman.output('pod', 'inspect', '--format', '{{.InfraContainerID}}', 'pod').then((id) => namespaces(id.trim())),
    ]);
    expect(first.slice(0, 3)).toEqual(infra.slice(0, 3));
    expect(second.slice(0, 3)).toEqual(infra.slice(0, 3));
    expect(new Set([first, second, infra].flatMap((own) => own.slice(3))).size).toBe(6);
    await podman.output('exec', 'first', 'sh', '-c', 'echo over loopback | nc -l -p 99 >/dev/null & :');
    await until(async () => (await podman.run('exec', 'second', 'nc', '127.0.0.1', '99')).stdout === 'over loopback\n', 'the neighbour');
    await podman.output('pod', 'stop', '--time', '0', 'pod');
  });
});

describe('a build', () => {
  test('podman build and buildah run execute their commands in Strata', async () => {
    const { podman } = context;
    const directory = podman.place.file('build');
    fs.mkdirSync(directory);
    fs.writeFileSync(
      `${directory}/Containerfile`,
      'FROM localhost/busybox\nRUN echo built by $(id -u) > /made\nRUN test "$(cat /proc/1/comm)" = sh\nUSER 5\nRUN id -u\n',
    );
    const parent = ['--cgroup-parent', podman.place.cgroupParent];
    // Buildah takes it for the cgroup itself.
    const cgroup = ['--cgroup-parent', `${podman.place.cgroupParent}/build`];
    expect(await podman.output('build', '--isolation', 'oci', ...cgroup, '--tag', 'localhost/built', directory)).toContain('\n5\n');
    expect(await podman.run('run', '--rm', '--network', 'none', ...parent, 'localhost/built', 'cat', '/made')).toMatchObject({
      stdout: 'built by 0\n',
    });
    const { stdout } = await podman.buildah('from', 'localhost/busybox');
    const run = ['run', '--isolation', 'oci', '--runtime', runtimeBinary];
    expect(await podman.buildah(...run, stdout.trim(), 'sh', '-c', 'echo in it; exit 5')).toMatchObject({ status: 5, stdout: 'in it\n' });
    expect(await podman.buildah(...run, stdout.trim(), 'nosuch')).toMatchObject({ stderr: said('executable file not found in $PATH') });
    await podman.buildah('rm', '--all');
  });
});
