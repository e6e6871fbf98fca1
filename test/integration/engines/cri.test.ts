import * as fs from 'node:fs';
import { describe, expect } from 'vitest';
import { requires } from '../../support/requires.ts';
import { until } from './support/command.ts';
import { type Pod, useCri } from './support/cri.ts';
import { CriStream } from './support/criStream.ts';

const context = useCri();
const test = requires({ root: true, commands: ['containerd', 'ctr', 'umoci', 'ip'] });
const MIB = 1024 * 1024;
const waits = 'exec sleep 1000';
const said = (text: string): string => expect.stringContaining(text) as string;
const matching = (pattern: RegExp): string => expect.stringMatching(pattern) as string;
const alone = { network: 'NODE', pid: 'CONTAINER' } as const;
const security = (securityContext: object): object => ({ linux: { securityContext: { namespaceOptions: alone, ...securityContext } } });

const privilegedPod = (): Promise<Pod> => context.cri.runPod({ linux: { securityContext: { privileged: true, namespaceOptions: alone } } });

describe('a pod', () => {
  test('from its creation to its removal, with a container', async () => {
    const { cri } = context;
    const pod = await cri.runPod();
    const { id: podSandboxId } = pod;
    expect(await cri.request('PodSandboxStatus', { podSandboxId })).toMatchObject({ status: { state: 'SANDBOX_READY' } });
    const containerId = await cri.create(pod, 'one', 'echo out; echo err >&2; trap "exit 3" TERM; while :; do sleep 0.1; done');
    expect((await cri.status(containerId)).state).toBe('CONTAINER_CREATED');
    await cri.request('StartContainer', { containerId });
    expect((await cri.status(containerId)).state).toBe('CONTAINER_RUNNING');
    expect(await cri.exec(containerId, 'sh', '-c', 'echo $0; echo err >&2; exit 5')).toEqual({
      status: 5,
      stdout: 'sh\n',
      stderr: 'err\n',
    });
    await cri.request('StopContainer', { containerId, timeout: 10 });
    expect(await cri.status(containerId)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 3, reason: 'Error' });
    const log = fs.readFileSync(`${pod.logs}/one.log`, 'utf8').trim().split('\n');
    expect(log).toHaveLength(2);
    expect(log).toEqual(expect.arrayContaining([matching(/^\S+ stderr F err$/), matching(/^\S+ stdout F out$/)]));
    await cri.request('RemoveContainer', { containerId });
    expect(await cri.request('ListContainers')).toEqual({ containers: [] });
    await cri.request('StopPodSandbox', { podSandboxId });
    expect(await cri.request('PodSandboxStatus', { podSandboxId })).toMatchObject({ status: { state: 'SANDBOX_NOTREADY' } });
    await cri.request('RemovePodSandbox', { podSandboxId });
    expect(await cri.request('ListPodSandbox')).toEqual({ items: [] });
  });

  test('has an address, a name, sysctls and names of others by its network', async () => {
    const { cri } = context;
    const network = { namespaces: { network: 'POD' } } as const;
    const inPod = { linux: { securityContext: { namespaceOptions: { network: 'POD' } } } };
    const sysctls = { 'net.ipv4.ip_unprivileged_port_start': '80', 'kernel.shm_rmid_forced': '1' };
    const served = await cri.runPod({ ...network, config: { hostname: 'served' }, linux: { sysctls } });
    const { status } = await cri.request<{ status: { network: { ip: string } } }>('PodSandboxStatus', { podSandboxId: served.id });
    expect(status.network.ip).toMatch(/^10\.87\.0\.\d+$/);
    const server = await cri.run(served, 'server', 'hostname > /srv; exec httpd -f -p 80 -h /', {
      linux: { securityContext: { namespaceOptions: { network: 'POD' }, runAsUser: { value: 0 } } },
    });
    const files = '/proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced';
    expect((await cri.exec(server, 'sh', '-c', `hostname; cat ${files}`)).stdout).toBe('served\n80\n1\n');
    const client = await cri.runPod({
      ...network,
      config: { hostname: 'client', dnsConfig: { servers: ['10.87.0.1'], searches: ['svc'] } },
    });
    const asking = await cri.run(client, 'asking', waits, inPod);
    const page = `until wget -qO- http://${status.network.ip}/srv; do :; done; grep -c . /etc/resolv.conf; cat /etc/resolv.conf`;
    expect((await cri.exec(asking, 'timeout', '10', 'sh', '-c', page)).stdout).toBe('served\n2\nsearch svc\nnameserver 10.87.0.1\n');
  });

  test('lets its containers share what they are told to', async () => {
    const { cri } = context;
    const pod = await cri.runPod({ namespaces: { pid: 'POD' } });
    const inPod = { linux: { securityContext: { namespaceOptions: { network: 'NODE', pid: 'POD' } } } };
    const one = await cri.run(pod, 'one', 'echo shared > /dev/shm/x; exec sleep 1001', inPod);
    const two = await cri.run(pod, 'two', 'exec sleep 1002', inPod);
    const seen = await cri.exec(two, 'sh', '-c', 'ps -o pid,args | grep "sleep [0-9]" | grep -v grep; cat /dev/shm/x');
    expect(seen.stdout).toMatch(/^ *1 sleep 2147483647\n *\d+ sleep 1001\n *\d+ sleep 1002\nshared\n$/);
    // As `kubectl debug --target` does it.
    const target = await cri.run(pod, 'target', 'exec sleep 1003');
    const beside = { namespaceOptions: { network: 'NODE', pid: 'TARGET', targetId: target } };
    const debugs = await cri.run(pod, 'debugs', 'ps -o args; readlink /proc/1/root', { linux: { securityContext: beside } });
    expect(await cri.output(debugs, pod, 'debugs')).toMatch(/^COMMAND\nsleep 1003\n/);
    await cri.request('StopContainer', { containerId: one, timeout: 0 });
    expect((await cri.exec(two, 'echo', 'alive')).stdout).toBe('alive\n');
  });

  test('may have the namespaces of the node', async () => {
    const { cri } = context;
    const namespaces = { network: 'NODE', pid: 'NODE', ipc: 'NODE' } as const;
    const pod = await cri.runPod({ namespaces });
    const script = 'for kind in pid ipc net; do readlink /proc/self/ns/$kind; done';
    const host = await cri.run(pod, 'host', script, { linux: { securityContext: { namespaceOptions: namespaces } } });
    const ofHost = ['/proc/self/ns/pid', '/proc/self/ns/ipc', `/proc/${cri.place.networkPid}/ns/net`];
    expect((await cri.output(host, pod, 'host')).split('\n')).toEqual(ofHost.map((name) => fs.readlinkSync(name)));
  });

  test('outlives containerd, ended and killed, and tells it afterwards what has ended', async () => {
    const { cri } = context;
    const pod = await cri.runPod();
    const lives = await cri.run(pod, 'lives', waits);
    const ends = await cri.run(pod, 'ends', 'until test -e /gone; do sleep 0.05; done; exit 6');
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await cri.end(signal);
      await cri.start();
      expect((await cri.status(lives)).state).toBe('CONTAINER_RUNNING');
      expect((await cri.exec(lives, 'echo', signal)).stdout).toBe(`${signal}\n`);
    }
    const pid = await cri.pid(ends);
    await cri.end('SIGKILL');
    fs.writeFileSync(`/proc/${pid}/root/gone`, '');
    await until(() => !fs.existsSync(`/proc/${pid}/root/bin`), 'the container to end');
    await cri.start();
    expect(await cri.status(ends)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 6 });
  });
});

describe('a container', () => {
  test('that does not end by itself is killed when its time is over', async () => {
    const { cri } = context;
    const pod = await cri.runPod();
    const containerId = await cri.run(pod, 'stays', 'trap "" TERM; while :; do sleep 0.1; done');
    const before = performance.now();
    await cri.request('StopContainer', { containerId, timeout: 1 });
    expect(performance.now() - before).toBeGreaterThan(950);
    expect(await cri.status(containerId)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137 });
  });

  test('has limits, which change while it runs, and figures', async () => {
    const { cri } = context;
    const pod = await cri.runPod();
    const resources = { memoryLimitInBytes: 64 * MIB, cpuQuota: 50_000, cpuPeriod: 100_000, cpuShares: 512, oomScoreAdj: 500 };
    const containerId = await cri.run(pod, 'limited', waits, {
      linux: { resources, securityContext: { namespaceOptions: alone } },
    });
    const limits = (): string[] => [
      cri.place.limit(containerId, 'memory.limit_in_bytes', 'memory.max'),
      cri.place.limit(containerId, 'cpu.cfs_quota_us', 'cpu.max').split(' ')[0] ?? '',
    ];
    expect(limits()).toEqual([String(64 * MIB), '50000']);
    expect((await cri.exec(containerId, 'cat', '/proc/1/oom_score_adj')).stdout).toBe('500\n');
    await cri.request('UpdateContainerResources', {
      containerId,
      linux: { memoryLimitInBytes: 96 * MIB, cpuQuota: 80_000, cpuPeriod: 100_000 },
    });
    expect(limits()).toEqual([String(96 * MIB), '80000']);
    const { stats } = await cri.request<{
      stats: { cpu: { usageCoreNanoSeconds: { value: number } }; memory: { workingSetBytes: { value: number } } };
    }>('ContainerStats', { containerId });
    expect(stats.cpu.usageCoreNanoSeconds.value).toBeGreaterThan(0);
    expect(stats.memory.workingSetBytes.value).toBeGreaterThan(0);
    const ofPod = await cri.request<{ stats: { linux: { process: { processCount: { value: number } } } } }>('PodSandboxStats', {
      podSandboxId: pod.id,
    });
    expect(ofPod.stats.linux.process.processCount.value).toBeGreaterThan(0);
  });

  test('that needs too much memory is told as OOMKilled', async () => {
    const { cri } = context;
    const pod = await cri.runPod();
    const linux = { resources: { memoryLimitInBytes: 16 * MIB }, securityContext: { namespaceOptions: alone } };
    const containerId = await cri.run(pod, 'greedy', 'exec tail /dev/zero', { linux });
    expect(await cri.exited(containerId)).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
  });

  test('has the user, the privileges and the root that its security context says', async () => {
    const { cri } = context;
    const pod = await cri.runPod();
    const script = 'id; grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status; touch /x 2>&1; ls /proc/acpi /proc/scsi 2>&1 | head -2';
    const run = async (name: string, securityContext: object): Promise<string> => {
      const id = await cri.run(pod, name, script, security(securityContext));
      return await cri.output(id, pod, name);
    };
    const asUser = { runAsUser: { value: 1000 }, runAsGroup: { value: 2000 }, supplementalGroups: [3000] };
    const restricted = {
      ...asUser,
      noNewPrivs: true,
      readonlyRootfs: true,
      capabilities: { dropCapabilities: ['ALL'] },
      seccomp: { profileType: 'RuntimeDefault' },
    };
    expect(await run('restricted', restricted)).toMatch(
      /^uid=1000 gid=2000 groups=(2000,)?3000\nCapEff:\t0{16}\nNoNewPrivs:\t1\nSeccomp:\t2\ntouch: \/x: Read-only file system/,
    );
    const added = { capabilities: { addCapabilities: ['NET_ADMIN'] }, seccomp: { profileType: 'Unconfined' } };
    expect(await run('added', added)).toMatch(/^uid=0\(root\).*\nCapEff:\t00000000a80435fb\nNoNewPrivs:\t0\nSeccomp:\t0\n/);
    expect(await run('named', { runAsUsername: 'nobody' })).toMatch(/^uid=\d+\(nobody\)/);
  });

  test('privileged has all of the node’s devices and capabilities', async () => {
    const { cri } = context;
    const pod = await privilegedPod();
    const script =
      'grep CapEff /proc/self/status; test -c /dev/kmsg && echo kmsg; mkdir /m && mount -t tmpfs x /m && echo mounted; test -w /proc/sys/kernel && echo open';
    const id = await cri.run(pod, 'privileged', script, security({ privileged: true }));
    const all =
      fs
        .readFileSync('/proc/self/status', 'utf8')
        .match(/^CapBnd:.*$/m)?.[0]
        .replace('CapBnd', 'CapEff') ?? '';
    expect((await cri.output(id, pod, 'privileged')).split('\n')).toEqual([all, 'kmsg', 'mounted', 'open']);
  });

  test('has volumes, whose mounts go in and out where that is asked for', async () => {
    const { cri } = context;
    const pod = await privilegedPod();
    for (const name of ['data', 'config']) fs.mkdirSync(cri.place.file(name), { recursive: true });
    fs.writeFileSync(cri.place.file('config/key'), 'value\n');
    await cri.place.output(['mount', '--bind', cri.place.file('data'), cri.place.file('data')]);
    await cri.place.output(['mount', '--make-shared', cri.place.file('data')]);
    const mount = (name: string, more: object): object => ({ containerPath: `/${name}`, hostPath: cri.place.file(name), ...more });
    try {
      const config = {
        mounts: [mount('config', { readonly: true }), mount('data', { propagation: 'PROPAGATION_BIDIRECTIONAL' })],
        workingDir: '/config',
        envs: [{ key: 'GREETING', value: 'hello' }],
        devices: [{ containerPath: '/dev/mine', hostPath: '/dev/zero', permissions: 'r' }],
      };
      const id = await cri.run(pod, 'volumes', waits, { config, ...security({ privileged: true }) });
      const script =
        'cat key; echo x > key; echo $GREETING; head -c 3 /dev/mine | wc -c; mkdir /data/in && mount -t tmpfs x /data/in && echo seen > /data/in/y';
      expect(await cri.exec(id, 'sh', '-c', script)).toMatchObject({
        status: 0,
        stdout: 'value\nhello\n3\n',
        stderr: said('Read-only file system'),
      });
      expect(fs.readFileSync(cri.place.file('data/in/y'), 'utf8')).toBe('seen\n');
      await cri.place.output(['umount', cri.place.file('data/in')]);
    } finally {
      await cri.place.output(['umount', '--lazy', '--recursive', cri.place.file('data')]);
    }
  });

  test('that cannot start says why', async () => {
    const { cri } = context;
    const pod = await cri.runPod();
    const start = async (name: string, config: object): Promise<string> => {
      const containerId = await cri.create(pod, name, '', { config });
      const reason = await cri.request('StartContainer', { containerId }).then(String, String);
      expect(await cri.status(containerId)).toMatchObject({ state: 'CONTAINER_EXITED', reason: 'StartError', exitCode: 128 });
      await cri.request('RemoveContainer', { containerId });
      return reason;
    };
    expect(await start('nosuch', { command: ['nosuch'] })).toMatch(/exec 'nosuch': executable file not found in \$PATH/);
    expect(await start('nowhere', { workingDir: '/etc/passwd/x', command: ['sh'] })).toMatch(/\/etc\/passwd/);
    expect((await cri.run(pod, 'again', 'exit 0')).length).toBe(64);
  });
});

describe('a process that comes in', () => {
  test('is refused where it cannot start, and ended with its time', async () => {
    const { cri } = context;
    const pod = await cri.runPod();
    const containerId = await cri.run(pod, 'one', waits);
    await expect(cri.exec(containerId, 'nosuch')).rejects.toThrow(/exec 'nosuch': executable file not found in \$PATH/);
    await expect(cri.request('ExecSync', { containerId, cmd: ['sleep', '1004'], timeout: 1 })).rejects.toThrow(/timeout|deadline/i);
    expect((await cri.exec(containerId, 'ps', '-o', 'args')).stdout).not.toMatch(/1004/);
  });

  const opened = async (method: string, params: object): Promise<CriStream> => {
    const { url } = await context.cri.request<{ url: string }>(method, params);
    return await CriStream.open(context.cri.place, url);
  };
  const started = async (script: string, config: object = {}): Promise<{ readonly pod: Pod; readonly containerId: string }> => {
    const pod = await context.cri.runPod();
    return { pod, containerId: await context.cri.run(pod, 'one', script, { config }) };
  };

  test('has a terminal, which takes the size of the window, or pipes', async () => {
    const { containerId } = await started(waits);
    const params = { containerId, tty: true, stdin: true, stdout: true };
    const terminal = await opened('Exec', { ...params, cmd: ['sh', '-c', 'tty; read x; until stty size | grep 33; do :; done; exit 7'] });
    await terminal.says('/dev/pts/0');
    terminal.resize(99, 33);
    terminal.type('\n');
    expect(await terminal.end()).toMatchObject({ status: 7, stdout: said('33 99') });
    const pipes = await opened('Exec', {
      containerId,
      stdin: true,
      stdout: true,
      stderr: true,
      cmd: ['sh', '-c', 'read x; echo $x; echo err >&2'],
    });
    pipes.type('typed\n');
    expect(await pipes.end()).toEqual({ status: 0, stdout: 'typed\n', stderr: 'err\n' });
  });

  test('can be attached to the first one', async () => {
    const { containerId } = await started('read x; echo "got $x"; read y', { stdin: true, tty: true });
    const attached = await opened('Attach', { containerId, tty: true, stdin: true, stdout: true });
    attached.type('typed\n');
    await attached.says('got typed');
    attached.type('\n');
    expect(await context.cri.exited(containerId)).toMatchObject({ exitCode: 0 });
    attached.close();
  });
});
