import * as fs from 'node:fs';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { until } from './support/command.ts';
import { useDocker } from './support/docker.ts';

const context = useDocker({ 'live-restore': true });
const test = requires({ root: true, commands: ['dockerd', 'docker', 'containerd', 'ip', 'iptables', 'script', 'busybox'] });
const MIB = 1024 * 1024;

describe('docker run', () => {
  test('takes over status and streams, and runs on Strata', async () => {
    const { docker } = context;
    expect(await docker.run('run', '--rm', 'busybox', 'sh', '-c', 'echo out; echo err >&2; exit 7')).toEqual({
      status: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    expect(await docker.runWithInput('through', 'run', '--rm', '-i', 'busybox', 'cat')).toMatchObject({ status: 0, stdout: 'through' });
    const id = await docker.start('exec sleep 1000');
    expect(await docker.inspect(id, '{{.HostConfig.Runtime}}')).toBe('strata');
    // The runtime's own state, where the shim lets it keep it.
    expect(fs.existsSync(docker.place.file(`exec/runtime-runc/moby/${id}/state.json`))).toBe(true);
    expect(await docker.output('info', '--format', '{{.DefaultRuntime}}')).toBe('strata\n');
  });

  test('user, directory, environment, host name, resource limits', async () => {
    const { docker } = context;
    const options = ['--user', '5:6', '--workdir', '/bin', '--env', 'A=b c', '--hostname', 'box'];
    const script =
      'id -u; id -g; pwd; echo $A; hostname; ulimit -n; ulimit -Hn; ulimit -c; echo to the void >/dev/null; echo said >/dev/stderr';
    expect(
      await docker.run('run', '--rm', ...options, '--ulimit', 'nofile=100:200', '--ulimit', 'core=0', 'busybox', 'sh', '-c', script),
    ).toEqual({ status: 0, stdout: '5\n6\n/bin\nb c\nbox\n100\n200\n0\n', stderr: 'said\n' });
  });

  test('what cannot start says why, with the status that shells expect', async () => {
    const { docker } = context;
    const [missing, file, directory] = await Promise.all(
      ['nosuch', '/etc/passwd', '/etc'].map((command) => docker.run('run', '--rm', 'busybox', command)),
    );
    expect(missing).toMatchObject({
      status: 127,
      stderr: expect.stringContaining("OCI runtime create failed: exec 'nosuch': executable file not found in $PATH") as string,
    });
    expect(file).toMatchObject({ status: 126, stderr: expect.stringContaining("start '/etc/passwd': permission denied") as string });
    expect(directory).toMatchObject({
      status: 126,
      stderr: expect.stringContaining("create failed: start '/etc': permission denied (it is a directory)") as string,
    });
  });

  test('what turns out not to run at the last step says why, and leaves nothing', async () => {
    const { docker } = context;
    fs.writeFileSync(docker.place.file('garbage'), 'garbage', { mode: 0o755 });
    expect(await docker.run('run', '--rm', '--volume', `${docker.place.file('garbage')}:/garbage`, 'busybox', '/garbage')).toMatchObject({
      status: 126,
      stderr: expect.stringContaining("start '/garbage': exec format error") as string,
    });
  });

  test('capabilities, seccomp, masked paths and no_new_privs are as Docker asks', async () => {
    const { docker } = context;
    const status = "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status | tr -s '\\t' ' '";
    const [usual, few, hidden, refused] = await Promise.all(
      [
        docker.sh(status),
        docker.sh(
          status,
          '--cap-drop',
          'ALL',
          '--cap-add',
          'NET_RAW',
          '--security-opt',
          'no-new-privileges',
          '--security-opt',
          'seccomp=unconfined',
        ),
        docker.sh(
          'cat /proc/timer_list /proc/keys | wc -c; ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/hostname',
          '--cap-add',
          'SYS_ADMIN',
        ),
        docker.run('run', '--rm', 'busybox', 'unshare', '--user', 'true'),
      ].map(async (ran) => await ran.catch((error: unknown) => String(error))),
    );
    expect(usual).toBe('CapEff: 00000000a80425fb\nNoNewPrivs: 0\nSeccomp: 2\n');
    expect(few).toBe('CapEff: 0000000000002000\nNoNewPrivs: 1\nSeccomp: 0\n');
    expect(hidden).toContain('Read-only file system');
    // Docker's profile lets nobody without CAP_SYS_ADMIN make a user namespace, which the kernel itself would.
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('Operation not permitted') as string });
  });

  test('read-only root, tmpfs, volumes and binds', async () => {
    const { docker } = context;
    const bound = docker.place.file('bound');
    fs.mkdirSync(bound);
    fs.writeFileSync(`${bound}/file`, 'of the host\n');
    const script = 'touch /no; touch /t/yes && stat -f -c %T /t; touch /v/kept; cat /b/file; touch /b/no; true';
    const options = ['--read-only', '--tmpfs', '/t:size=1m', '--volume', 'kept:/v', '--volume', `${bound}:/b:ro`];
    const ran = await docker.run('run', '--rm', ...options, 'busybox', 'sh', '-c', script);
    expect(ran.stdout).toBe('tmpfs\nof the host\n');
    expect(ran.stderr.match(/Read-only file system/g)).toHaveLength(2);
    expect(await docker.sh('ls /v', '--volume', 'kept:/v')).toBe('kept\n');
    await docker.output('volume', 'rm', 'kept');
  });

  test('privileged has the devices and every capability that this machine can give', async () => {
    const { docker } = context;
    const bounding = /CapBnd:\s+(\w+)/.exec(fs.readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
    const script =
      'grep CapEff /proc/self/status; ls /dev/kmsg; mkdir /m && mount -t tmpfs none /m && echo mounted; dmesg >/dev/null && echo read';
    const [capabilities, ...rest] = (await docker.sh(script, '--privileged')).trim().split('\n');
    // Docker 20.10 knows capabilities up to CAP_AUDIT_READ at least; it asks for no more than the kernel had when it was built.
    const has = BigInt(`0x${capabilities?.split(/\s+/)[1] ?? ''}`);
    const may = BigInt(`0x${bounding}`);
    expect(has & ~may).toBe(0n);
    expect(has & 0x3fffffffffn).toBe(may & 0x3fffffffffn);
    expect(rest).toEqual(['/dev/kmsg', 'mounted', 'read']);
    expect(fs.readFileSync('/proc/self/mounts', 'utf8')).not.toMatch(/ \/m tmpfs/);
  });

  test('the namespaces of the host and of another container', async () => {
    const { docker } = context;
    const id = await docker.start('exec sleep 1000');
    const script = 'for kind in pid net ipc uts; do readlink /proc/self/ns/$kind; done';
    const of = (pid: number | string): string =>
      ['pid', 'net', 'ipc', 'uts'].map((kind) => `${fs.readlinkSync(`/proc/${pid}/ns/${kind}`)}\n`).join('');
    const [host, other] = await Promise.all([
      docker.sh(script, '--pid', 'host', '--network', 'host', '--ipc', 'host', '--uts', 'host'),
      docker.sh(script, '--pid', `container:${id}`, '--network', `container:${id}`, '--ipc', 'host', '--uts', 'host'),
    ]);
    const net = fs.readlinkSync(`/proc/${docker.place.networkPid}/ns/net`);
    expect(host).toBe(of('self').replace(/net:.*/, net));
    const [pid, network] = of(await docker.inspect(id, '{{.State.Pid}}')).split('\n');
    expect(other.split('\n').slice(0, 2)).toEqual([pid, network]);
  });

  test('out of memory', async () => {
    const { docker } = context;
    const ran = await docker.run('run', '--name', 'greedy', '--memory', '16m', 'busybox', 'tail', '/dev/zero');
    expect(ran.status).toBe(137);
    expect(await docker.inspect('greedy', '{{.State.ExitCode}} {{.State.OOMKilled}}')).toBe('137 true');
  });
});

describe('on a terminal', () => {
  test('docker run -it and docker exec -it', async () => {
    const { docker } = context;
    // The client tells the size when the terminal is there already.
    const script = 'test -t 0 && test -t 1 && test -t 2 && tty; until stty size 2>/dev/null | grep -v "^0 0"; do :; done; exit 4';
    const [run, exec] = await Promise.all([
      docker.onTerminal('run', '-it', '--rm', 'busybox', 'sh', '-c', script),
      docker.start('exec sleep 1000').then((id) => docker.onTerminal('exec', '-it', '--user', '5', id, 'sh', '-c', script)),
    ]);
    expect(run).toMatchObject({ status: 4, stdout: '/dev/pts/0\n30 90\n' });
    expect(exec).toMatchObject({ status: 4, stdout: '/dev/pts/0\n30 90\n' });
  });
});

describe('a container that runs', () => {
  test('exec', async () => {
    const { docker } = context;
    const id = await docker.start('exec sleep 1000');
    const exec = (...args: readonly string[]) => docker.run('exec', ...args);
    const [ran, missing, file, directory, privileged, piped] = await Promise.all([
      exec('--env', 'A=b', '--workdir', '/bin', '--user', '5', id, 'sh', '-c', 'id -u; pwd; echo $A; echo err >&2; exit 9'),
      exec(id, 'nosuch'),
      exec(id, '/etc/passwd'),
      exec('--workdir', '/nosuch', id, 'true'),
      exec('--privileged', id, 'grep', 'CapEff', '/proc/self/status'),
      docker.runWithInput('through', 'exec', '-i', id, 'cat'),
    ]);
    expect(ran).toEqual({ status: 9, stdout: '5\n/bin\nb\n', stderr: 'err\n' });
    expect(`${missing.stdout}${missing.stderr}`).toContain('executable file not found in $PATH');
    expect(`${file.stdout}${file.stderr}`).toContain('permission denied');
    expect(`${directory.stdout}${directory.stderr}`).toContain("enter the working directory '/nosuch': no such file or directory");
    // Docker 20.10 gives every exec that fails to start this status, whatever the runtime.
    expect([missing.status, file.status, directory.status]).toEqual([126, 126, 126]);
    expect(BigInt(`0x${privileged.stdout.split(/\s+/)[1]}`) & 0x200000n).toBe(0x200000n); // CAP_SYS_ADMIN
    expect(piped).toMatchObject({ status: 0, stdout: 'through' });
    await docker.output('exec', '--detach', id, 'sh', '-c', 'echo later > /later; exec sleep 500');
    await until(async () => (await docker.run('exec', id, 'cat', '/later')).stdout === 'later\n', 'the detached process');
  });

  test('stop, logs, start again, kill, restart', async () => {
    const { docker } = context;
    const id = await docker.start('trap "echo bye; exit 3" TERM; echo hello; while :; do sleep 0.05; done');
    await until(async () => (await docker.output('logs', id)) === 'hello\n', 'the first line');
    await docker.output('stop', '--time', '10', id);
    expect(await docker.inspect(id, '{{.State.Status}} {{.State.ExitCode}}')).toBe('exited 3');
    expect(await docker.output('logs', id)).toBe('hello\nbye\n');
    await docker.output('start', id);
    await docker.output('kill', '--signal', 'KILL', id);
    expect(await docker.inspect(id, '{{.State.ExitCode}}')).toBe('137');
    await docker.output('start', id);
    const before = await docker.inspect(id, '{{.State.Pid}}');
    await until(async () => (await docker.output('logs', id)).endsWith('bye\nhello\nhello\n'), 'the third start');
    await docker.output('restart', '--time', '10', id);
    expect(await docker.inspect(id, '{{.State.Running}}')).toBe('true');
    expect(await docker.inspect(id, '{{.State.Pid}}')).not.toBe(before);
    await docker.output('rm', '--force', id);
    expect((await docker.run('inspect', id)).status).toBe(1);
  });

  test('pause holds it still, and it goes on', async () => {
    const { docker } = context;
    const id = await docker.start('i=0; while :; do echo $((i = i + 1)); sleep 0.02; done');
    const count = async (): Promise<number> => Number((await docker.output('logs', '--tail', '1', id)).trim());
    await until(async () => (await count()) > 2, 'it to count');
    await docker.output('pause', id);
    expect(await docker.inspect(id, '{{.State.Status}}')).toBe('paused');
    const held = await count();
    expect((await docker.run('exec', id, 'true')).stderr).toContain('is paused');
    expect(await count()).toBe(held);
    await docker.output('unpause', id);
    await until(async () => (await count()) > held, 'it to count on');
    await docker.output('pause', id); // and what is paused can be removed
  });

  test('stats, top, and limits that change', async () => {
    const { docker } = context;
    const id = await docker.start('sleep 1000 & exec sleep 1000', '--memory', '64m', '--pids-limit', '20');
    const limits = (): string[] => [
      docker.place.limit(id, 'memory.limit_in_bytes', 'memory.max'),
      docker.place.limit(id, 'pids.max', 'pids.max'),
      docker.place.limit(id, 'cpu.cfs_quota_us', 'cpu.max').split(' ')[0] ?? '',
    ];
    expect(limits().slice(0, 2)).toEqual([String(64 * MIB), '20']);
    await docker.output('update', '--memory', '96m', '--memory-swap', '192m', '--cpus', '0.5', '--pids-limit', '50', id);
    expect(limits()).toEqual([String(96 * MIB), '50', '50000']);
    const [stats, top] = await Promise.all([
      docker.output('stats', '--no-stream', '--format', '{{.PIDs}} {{.MemUsage}} {{.NetIO}}', id),
      docker.output('top', id, '-o', 'pid,args'),
    ]);
    expect(stats).toMatch(/^2 [\d.]+[KM]iB \/ 96MiB [\d.]+k?B \/ /);
    expect(top.match(/sleep 1000/g)).toHaveLength(2);
    expect(top).toContain(await docker.inspect(id, '{{.State.Pid}}'));
  });

  test('health checks run in it', async () => {
    const { docker } = context;
    const id = await docker.start('sleep 1000', '--health-cmd', 'test -e /tmp/well', '--health-interval', '100ms', '--health-retries', '1');
    const health = (): Promise<string> => docker.inspect(id, '{{.State.Health.Status}}');
    await until(async () => (await health()) === 'unhealthy', 'the check to fail');
    await docker.output('exec', id, 'sh', '-c', 'mkdir -p /tmp; touch /tmp/well');
    await until(async () => (await health()) === 'healthy', 'the check to pass');
    expect(await docker.inspect(id, '{{.State.Health.FailingStreak}}')).toBe('0');
  });
});

describe('the bridge network', () => {
  test('a published port reaches the container, containers reach each other', async () => {
    const { docker } = context;
    const id = await docker.start(
      'mkdir /www; echo a page > /www/index.html; exec httpd -f -p 80 -h /www',
      '--publish',
      '127.0.0.1:8080:80',
    );
    const { place } = docker;
    await until(async () => (await place.page('http://127.0.0.1:8080/')) === 'a page\n', 'the page');
    const address = await docker.inspect(id, '{{.NetworkSettings.IPAddress}}');
    expect(await docker.sh(`printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc ${address} 80`)).toContain('a page\n');
    expect(await docker.sh('ls /sys/class/net', '--network', 'none')).toBe('lo\n');
  });
});

describe('the daemon', () => {
  test.each(['SIGTERM', 'SIGKILL'] as const)('finds its live containers again after %s', async (signal) => {
    const { docker } = context;
    const script = 'trap "exit 5" TERM; i=0; while :; do echo $((i = i + 1)); sleep 0.05; done';
    const id = await docker.start(script, '--name', 'alive', '--restart', 'unless-stopped');
    const pid = await docker.inspect(id, '{{.State.Pid}}');
    await docker.down(signal);
    expect(fs.existsSync(`/proc/${pid}`)).toBe(true);
    await docker.up();
    expect(await docker.inspect(id, '{{.State.Status}} {{.State.Pid}} {{.RestartCount}}')).toBe(`running ${pid} 0`);
    expect(await docker.output('exec', id, 'echo', 'reached')).toBe('reached\n');
    const seen = Number((await docker.output('logs', '--tail', '1', id)).trim());
    await until(async () => Number((await docker.output('logs', '--tail', '1', id)).trim()) > seen, 'its output to go on');
    await docker.output('stop', '--time', '10', id);
    expect(await docker.inspect(id, '{{.State.ExitCode}}')).toBe('5');
  });

  test('starts a container anew that died', async () => {
    const { docker } = context;
    const id = await docker.start('exec sleep 1000', '--restart', 'always');
    process.kill(Number(await docker.inspect(id, '{{.State.Pid}}')), 'SIGKILL');
    await until(async () => (await docker.inspect(id, '{{.State.Status}} {{.RestartCount}}')) === 'running 1', 'the restart');
    expect(await docker.output('exec', id, 'echo', 'again')).toBe('again\n');
  });
});
