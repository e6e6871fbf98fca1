import { describe, expect, it } from 'vitest';
import { useStrata } from './support/strata.ts';

const context = useStrata();

describe('a container', () => {
  it('runs a command and ends with its status', async () => {
    const { strata } = context;
    expect(await strata.run({ command: ['echo', 'hello'] })).toMatchObject({ status: 0, stdout: 'hello\n', stderr: '' });
    const failed = await strata.run({ command: ['sh', '-c', 'echo out; echo err >&2; exit 3'] });
    expect(failed).toMatchObject({ status: 3, stdout: 'out\n', stderr: 'err\n', exit: { code: 3, signal: null, oomKilled: false } });
    expect(failed.exit.reason).toBe('exited with status 3');
  });

  it('reports the signal that ended it', async () => {
    const { strata } = context;
    const id = await strata.start();
    await strata.connection.request('container.kill', { container: id, signal: 'KILL' });
    const { exit } = await strata.connection.request('container.wait', { container: id });
    expect(exit).toMatchObject({ code: null, signal: 'SIGKILL', oomKilled: false });
    expect(exit.reason).toMatch(/^killed by SIGKILL/);
  });

  it('sees itself as pid 1 of its own pid namespace', async () => {
    const out = await context.strata.sh('ps -o pid,comm; readlink /proc/self');
    expect(out).toMatch(/^\s*1 sh$/m);
    expect(out.trim().split('\n').length).toBeLessThanOrEqual(4);
  });

  it('has namespaces of its own', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { namespaces } = await strata.connection.request('container.inspect', { container: id });
    const { readlinkSync } = await import('node:fs');
    for (const name of ['mnt', 'pid', 'net', 'uts', 'ipc', 'cgroup']) {
      expect(namespaces[name], name).toMatch(/:\[\d+\]$/);
      expect(namespaces[name], name).not.toBe(readlinkSync(`/proc/self/ns/${name}`));
    }
  });

  it('has the loopback interface up and no other', async () => {
    expect(
      await context.strata.sh(
        "ip -o link | cut -d' ' -f2; ip addr show lo | grep -c 127.0.0.1; ping -c1 127.0.0.1 >/dev/null && echo pong",
      ),
    ).toBe('lo:\n1\npong\n');
  });

  it('takes hostname, environment, working directory and user', async () => {
    const out = await context.strata.sh('hostname; echo $COLOR $HOME; pwd; id -u; id -g; cat /etc/hostname', {
      hostname: 'box',
      env: ['COLOR=blue'],
      workingDirectory: '/tmp',
      user: 'nobody',
    });
    expect(out.split('\n').slice(0, 3)).toEqual(['box', 'blue /home', '/tmp']);
    expect(out).toMatch(/\n65534\n65534\nbox\n$/);
    expect(await context.strata.sh('id -u; id -g', { user: '1000:1001' })).toBe('1000\n1001\n');
  });

  it('reads stdin to its end', async () => {
    expect((await context.strata.run({ command: ['wc', '-c'] }, 'x'.repeat(300_000))).stdout.trim()).toBe('300000');
  });

  it('loses nothing of a large output', async () => {
    const { stdout } = await context.strata.run({ command: ['sh', '-c', 'seq 1 200000'] });
    const lines = stdout.trimEnd().split('\n');
    expect([lines.length, lines.at(0), lines.at(-1)]).toEqual([200_000, '1', '200000']);
  });

  it('has a terminal where one is asked for', async () => {
    const { stdout } = await context.strata.run({ command: ['sh', '-c', 'tty; stty size; ls -l /dev/console | cut -c1'], tty: true });
    expect(stdout).toMatch(/^\/dev\/(pts\/0|console)\r\n24 80\r\nc\r\n$/);
  });

  it('mounts what programs expect', async () => {
    const out = await context.strata.sh('mount | cut -d" " -f3,5 | sort -u');
    for (const line of ['/ overlay', '/dev tmpfs', '/dev/mqueue mqueue', '/dev/pts devpts', '/dev/shm tmpfs', '/proc proc', '/sys sysfs']) {
      expect(out.split('\n')).toContain(line);
    }
    expect(
      await context.strata.sh(
        'for d in null zero full random urandom tty; do test -c /dev/$d || echo missing $d; done; ls -l /dev/fd /dev/stdin | grep -c proc',
      ),
    ).toBe('2\n');
  });

  it('can be read-only', async () => {
    const out = await context.strata.sh('touch /x 2>&1; touch /dev/shm/y && echo shm', { readOnlyRootfs: true });
    expect(out).toBe('touch: /x: Read-only file system\nshm\n');
  });

  it('has the tmpfs mounts asked for', async () => {
    expect(
      await context.strata.sh('mount | grep " /scratch " | cut -d" " -f5; df -k /scratch | tail -1 | tr -s " " | cut -d" " -f2', {
        tmpfs: { '/scratch': 'size=1m' },
      }),
    ).toBe('tmpfs\n1024\n');
  });
});

describe('privileges', () => {
  it("are Docker's default capabilities, and no new ones", async () => {
    const out = await context.strata.sh('grep -E "Cap(Eff|Bnd|Amb)|NoNewPrivs|Seccomp:" /proc/self/status');
    // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap
    expect(out).toContain('CapEff:\t00000000a80425fb');
    expect(out).toContain('CapBnd:\t00000000a80425fb');
    expect(out).toContain('CapAmb:\t0000000000000000');
    expect(out).toContain('NoNewPrivs:\t1');
    expect(out).toContain('Seccomp:\t2');
  });

  it('can be taken away and added', async () => {
    const status = 'grep CapEff /proc/self/status | cut -f2';
    expect(await context.strata.sh(status, { capDrop: ['ALL'] })).toBe('0000000000000000\n');
    expect(await context.strata.sh(status, { capDrop: ['ALL'], capAdd: ['NET_ADMIN'] })).toBe('0000000000001000\n');
  });

  it('do not reach mounting, new namespaces or the host through /proc and /sys', async () => {
    const out = await context.strata.sh(
      [
        'mount -t tmpfs none /mnt 2>/dev/null || mount -t tmpfs none /tmp 2>&1 | grep -c denied',
        'unshare -m true 2>&1 | grep -ci "not permitted"',
        'cat /proc/kcore | wc -c',
        'ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | grep -c .',
        '(echo 1 > /proc/sys/kernel/panic) 2>&1 | grep -ci "read-only"',
        'test -e /proc/sysrq-trigger || echo 1; (echo h > /proc/sysrq-trigger) 2>&1 | grep -i "read-only" | wc -l | grep 1',
        'touch /sys/x 2>&1 | grep -ci "read-only\\|denied\\|permitted"',
      ].join('; '),
    );
    expect(out).toBe('1\n1\n0\n0\n1\n1\n1\n');
  });

  it('do not reach devices of the host', async () => {
    // mknod is allowed (Docker's default set has it), opening the device is what the cgroup refuses.
    const out = await context.strata.sh(
      'mknod /tmp/disk b 254 0 && cat /tmp/disk 2>&1 | head -c 100; mknod /tmp/null c 1 3 && echo fine > /tmp/null && echo ok',
    );
    expect(out).toMatch(/not permitted[\s\S]*ok\n$/i);
  });
});
