import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { Channel } from '../../helper/protocol/index.ts';
import { distFile, HelperProcess, makePlace } from './support/helperProcess.ts';
import { directoriesOf, leftovers, openDescriptors, removeCgroupParent } from './support/leaks.ts';
import { failure, Strata, until, useStrata } from './support/strata.ts';

describe('a full disk', () => {
  let strata: Strata | undefined;
  afterEach(async () => {
    if (strata === undefined) return;
    const { place, helper } = strata;
    strata.connection.close();
    await helper.stop();
    // What was killed is gone once the host's init has reaped it.
    await until(() => leftovers(place).processes.length === 0, 'the processes of the place to end');
    removeCgroupParent(place);
    execFileSync('umount', [place.root]);
    fs.rmSync(place.directory, { recursive: true });
    strata = undefined;
  });

  /** A helper whose data directory has room for the embedded image and little more. */
  async function onSmallDisk(): Promise<Strata> {
    const place = makePlace();
    fs.mkdirSync(place.root, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=700', 'none', place.root]);
    const helper = await HelperProcess.start(place);
    strata = new Strata(helper, await helper.connect());
    return strata;
  }

  it('stops an import with NO_SPACE, and gives back what it took', async () => {
    const { connection, place } = await onSmallDisk();
    const free = (): number => fs.statfsSync(place.root).bavail;
    const before = free();
    fs.mkdirSync(`${place.directory}/big`);
    fs.writeFileSync(`${place.directory}/big/file`, Buffer.alloc(12 * 1024 * 1024, 1));
    const error = await failure(
      connection.request('image.import', { source: { kind: 'directory', path: `${place.directory}/big` }, reference: 'big' }),
    );
    expect(error.code).toBe('NO_SPACE');
    expect(error.message).toMatch(/space/i);
    expect(free()).toBe(before);
    const { stream } = await connection.request('image.openUpload', {});
    const upload = connection.stream(stream);
    upload.consume({ data: () => {} });
    const imported = failure(connection.request('image.import', { source: { kind: 'stream', stream }, reference: 'big' }));
    const tar = execFileSync('tar', ['-c', '-C', `${place.directory}/big`, '.'], { maxBuffer: 1e8 });
    await upload.write(Channel.bytes, tar).catch(() => {});
    upload.end(Channel.bytes);
    expect((await imported).code).toBe('NO_SPACE');
    expect(free()).toBe(before);
  });

  it('refuses a container by name, keeps those that run, and goes on when there is room again', async () => {
    const running = await onSmallDisk();
    const { connection, place } = running;
    const id = await running.start({ name: 'before' });
    const filler = `${place.root}/filler`;
    fill(filler);
    const error = await failure(connection.request('container.run', { options: { image: 'busybox', command: ['true'], name: 'late' } }));
    expect(error.code).toBe('NO_SPACE');
    const { containers } = await connection.request('container.list', { all: true });
    expect(containers.map(({ name }) => name)).toEqual(['before']);
    expect((await running.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
    fs.rmSync(filler);
    expect(await running.sh('echo room')).toBe('room\n');
    await running.remove(id);
  });

  it('does not keep a container from having ended when its supervisor is killed', async () => {
    const running = await onSmallDisk();
    const { connection, place } = running;
    for (const name of ['seen', 'unseen']) await running.start({ name });
    fill(`${place.root}/filler`);
    const kill = async (container: string): Promise<void> => {
      const { supervisorPid } = await connection.request('container.inspect', { container });
      if (supervisorPid === null) throw new Error('the container has no supervisor');
      process.kill(supervisorPid, 'SIGKILL');
    };
    const seen = connection.request('container.wait', { container: 'seen' });
    await kill('seen');
    expect((await seen).exit).toMatchObject({ code: null, signal: null });
    await kill('unseen');
    await running.helper.crash();
    await running.restart();
    expect((await running.find('unseen')).state).toMatchObject({ kind: 'exited', exit: { code: null } });
    for (const name of ['seen', 'unseen']) await running.remove(name);
    fs.rmSync(`${place.root}/filler`);
  });

  it('does not lose the exit of a container that ends while no helper is there', async () => {
    const running = await onSmallDisk();
    const { place } = running;
    const id = await running.start({ command: ['sh', '-c', 'trap "exit 43" TERM; echo ready; sleep 1000 & wait'] });
    await until(async () => (await running.cli(['logs', id])).stdout === 'ready\n', 'the trap');
    const { state } = await running.find(id);
    if (state.kind !== 'running') throw new Error('the container does not run');
    fill(`${place.root}/filler`);
    await running.helper.crash();
    process.kill(state.pid, 'SIGTERM');
    await until(() => !fs.existsSync(`${place.run}/containers/${id}/control.sock`), 'the supervisor to end');
    const nextKnows = async (): Promise<void> => {
      await running.helper.crash();
      await running.restart();
      expect((await running.find(id)).state).toMatchObject({ kind: 'exited', exit: { code: 43 }, startedAt: state.startedAt });
    };
    await nextKnows();
    expect((await failure(running.connection.request('container.start', { container: id }))).code).toBe('NO_SPACE');
    await nextKnows();
    fs.rmSync(`${place.root}/filler`);
    await nextKnows();
    expect(fs.existsSync(`${place.run}/containers/${id}`)).toBe(false);
    await nextKnows();
    await running.remove(id);
  });
});

describe('a host without room for one more thread', () => {
  const context = useStrata();

  it('refuses what needs one, ends what runs, and the helper stays', async () => {
    const { strata } = context;
    const { connection, place } = strata;
    const id = await strata.start({ name: 'bomb' });
    fs.mkdirSync(`${place.directory}/tree`);
    fs.writeFileSync(`${place.directory}/tree/file`, 'x');
    const release = allowNoMoreTasks(strata.helper.pid, place.cgroupParent);
    try {
      const error = await failure(
        connection.request('image.import', { source: { kind: 'directory', path: `${place.directory}/tree` }, reference: 'late' }),
      );
      expect(error.code).toBe('RUNTIME_FAILED');
      expect(error.message).toMatch(/too many processes/);
      const stacks = await Promise.all(
        Array.from({ length: 50 }, () => connection.request('layer.stack', { kind: 'container', container: id })),
      );
      for (const { layers } of stacks) expect(layers[0]).toMatchObject({ role: 'upper', sizeBytes: 0 });
      await strata.remove(id);
    } finally {
      release();
    }
    expect(strata.helper.child.exitCode).toBeNull();
    expect(await strata.sh('echo room')).toBe('room\n');
  });
});

/** A cgroup's file that freezes it, and what to write to freeze and to thaw. */
function freezeFile(cgroup: string): readonly [file: string, freeze: string, thaw: string] | undefined {
  if (fs.existsSync(`${cgroup}/cgroup.freeze`)) return [`${cgroup}/cgroup.freeze`, '1', '0'];
  return fs.existsSync(`${cgroup}/freezer.state`) ? [`${cgroup}/freezer.state`, 'FROZEN', 'THAWED'] : undefined;
}

/** As if pid_max were reached: the process cannot make a thread or a child until the returned function is called. */
function allowNoMoreTasks(pid: number, sibling: string): () => void {
  const hierarchy = directoriesOf(sibling).find((directory) => fs.existsSync(`${directory}/pids.max`));
  if (hierarchy === undefined) throw new Error('no hierarchy with the pids controller has the cgroup of the test');
  const full = `${hierarchy}-full`;
  const mountPoint = hierarchy.slice(0, -sibling.length);
  const controllers = mountPoint.endsWith('pids') ? 'pids' : '';
  const before = fs
    .readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .split('\n')
    .map((line) => /^\d+:([^:]*):(.*)$/.exec(line))
    .find((match) => match?.[1]?.split(',').includes(controllers));
  fs.mkdirSync(full);
  fs.writeFileSync(`${full}/cgroup.procs`, String(pid));
  fs.writeFileSync(`${full}/pids.max`, '1'); // what is there already stays
  return () => {
    fs.writeFileSync(`${mountPoint}${before?.[2] ?? ''}/cgroup.procs`, String(pid));
    fs.rmdirSync(full);
  };
}

/** Writes until nothing more fits. */
function fill(file: string): void {
  const fd = fs.openSync(file, 'w');
  try {
    for (const chunk of [1024 * 1024, 4096, 1]) {
      try {
        for (;;) fs.writeSync(fd, Buffer.alloc(chunk));
      } catch (error) {
        if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOSPC') throw error;
      }
    }
  } finally {
    fs.closeSync(fd);
  }
}

const childrenOf = (pid: number | string): string[] => {
  const threads = fs.readdirSync(`/proc/${pid}/task`);
  return threads.flatMap((thread) => fs.readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean));
};
const commandOf = (pid: string): string => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8');

describe('the runtime', () => {
  const context = useStrata();

  it('ends a sandbox whose maker was killed while it was made', async () => {
    const { place } = context.strata;
    await context.strata.sh('true'); // then its cgroups are there
    const id = 'f'.repeat(32);
    const parent = `${place.cgroupParent}/late`;
    const run = `${place.run}/containers/${id}`;
    fs.mkdirSync(run, { mode: 0o700 });
    const freezer = directoriesOf(place.cgroupParent).find((directory) => freezeFile(directory) !== undefined);
    if (freezer === undefined) throw new Error('no hierarchy can freeze');
    const frozen = `${freezer}/late`;
    fs.mkdirSync(frozen);
    const [file, freeze, thaw] = freezeFile(frozen) ?? [];
    if (file === undefined || freeze === undefined || thaw === undefined) throw new Error('the cgroup cannot be frozen');
    fs.writeFileSync(file, freeze);
    // The sandbox's init is born frozen, so its supervisor waits for it while the foreground waits for the supervisor.
    const foreground = spawn(distFile('strata-runtime'), ['supervise', '--id', id, '--run-dir', run, '--cgroup-path', `${parent}/${id}`], {
      stdio: 'ignore',
    });
    const ended = once(foreground, 'exit');
    await until(
      () => fs.existsSync(`${frozen}/${id}`) && fs.readFileSync(`${frozen}/${id}/cgroup.procs`, 'utf8') !== '',
      'init to be there',
    );
    foreground.kill('SIGKILL');
    await ended;
    fs.writeFileSync(file, thaw);
    await until(() => directoriesOf(`${parent}/${id}`).length === 0, 'the sandbox to be removed');
    await until(() => fs.readdirSync(run).length === 0, 'the socket to be removed');
    for (const directory of directoriesOf(parent)) fs.rmdirSync(directory);
    fs.rmdirSync(run);
  });

  it('leaves no sandbox where the process that was to tell of it is killed in between', async () => {
    const place = makePlace();
    const helper = await HelperProcess.start(place, ['--warm', '0']);
    const connection = await helper.connect();
    const freezer = directoriesOf('/').find(
      (directory) => fs.existsSync(`${directory}/freezer.state`) || fs.existsSync(`${directory}/cgroup.controllers`),
    );
    if (freezer === undefined) throw new Error('no hierarchy can freeze');
    const parent = `${freezer}/${place.cgroupParent}`;
    fs.mkdirSync(parent);
    const [file, freeze, thaw] = freezeFile(parent) ?? [];
    if (file === undefined || freeze === undefined || thaw === undefined) throw new Error('the cgroup cannot be frozen');
    // Init is born frozen; until it is thawed its supervisor has nothing to tell.
    fs.writeFileSync(file, freeze);
    const refused = failure(connection.request('container.run', { options: { image: 'busybox', command: ['true'] } }));
    const foregrounds = (): string[] => childrenOf(helper.pid).filter((pid) => commandOf(pid).includes('supervise'));
    await until(() => foregrounds().length === 1 && childrenOf(foregrounds()[0] ?? '').length === 1, 'the sandbox to be made');
    const foreground = Number(foregrounds()[0]);
    const [supervisor = ''] = childrenOf(foreground);
    process.kill(foreground, 'SIGSTOP');
    fs.writeFileSync(file, thaw);
    await until(() => openDescriptors(Number(supervisor)).every((target) => !target.startsWith('pipe:')), 'the supervisor to have told it');
    process.kill(foreground, 'SIGKILL');
    expect((await refused).code).toBe('RUNTIME_FAILED');
    expect(leftovers(place)).toMatchObject({ cgroups: [], directories: [] });
    connection.close();
    await helper.stop();
    await until(() => leftovers(place).processes.length === 0, 'the processes of the place to end');
    removeCgroupParent(place);
    fs.rmSync(place.directory, { recursive: true });
  });

  it('cannot be overwritten through a process that runs it', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { supervisorPid } = await strata.connection.request('container.inspect', { container: id });
    // What a container would hold of the runtime's file (CVE-2019-5736), tried once nothing executes it any more.
    const held = fs.openSync(`/proc/${supervisorPid}/exe`, 'r');
    await strata.remove(id);
    try {
      expect(() => fs.openSync(`/proc/self/fd/${held}`, 'r+')).toThrow(/EROFS|ETXTBSY/);
      expect(fs.statSync(distFile('strata-runtime')).size).toBe(fs.fstatSync(held).size);
    } finally {
      fs.closeSync(held);
    }
  });
});
