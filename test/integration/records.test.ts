import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { StrataError } from '../../helper/protocol/index.ts';
import { importTar } from './support/archives.ts';
import { distFile } from './support/helperProcess.ts';
import { directoriesOf, openDescriptors, removeCgroupParent } from './support/leaks.ts';
import { failure, type Strata, until, useStrata } from './support/strata.ts';

const context = useStrata();

const directoryOf = (strata: Strata, id: string): string => path.join(strata.place.root, 'containers', id);

function pathsOf(strata: Strata, id: string): Readonly<Record<'exit' | 'earlier' | 'supervisor' | 'started', string>> {
  const run = path.join(strata.place.run, 'containers', id);
  return {
    exit: `${directoryOf(strata, id)}/exit.json`,
    earlier: `${directoryOf(strata, id)}/exit.prev.json`,
    supervisor: `${run}/state.json`,
    started: `${run}/started.json`,
  };
}

/** Of the supervisor, by its state.json. */
function pidIn(file: string): number {
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as { supervisor: { pid: number } }).supervisor.pid;
}

async function crashAndRestart(strata: Strata, meanwhile: () => void = () => {}, extraArguments: readonly string[] = []): Promise<void> {
  await strata.helper.crash();
  meanwhile();
  await strata.restart(extraArguments);
}

describe('an embedded image that has changed', () => {
  it("takes the place of the one before, and never that of the person's own", async () => {
    const { strata } = context;
    const images = path.join(strata.place.directory, 'images');
    fs.mkdirSync(images);
    const archive = path.join(images, 'little.tar');
    const busybox = fs.readFileSync(distFile('images/busybox.tar'));
    const change = (zeros: number) => () => fs.writeFileSync(archive, Buffer.concat([busybox, Buffer.alloc(zeros * 512)]));
    const idOf = async (): Promise<string> => (await strata.connection.request('image.inspect', { image: 'little' })).id;
    const count = async (): Promise<number> => (await strata.connection.request('image.list', {})).images.length;

    await crashAndRestart(strata, change(2), ['--images', images]);
    const first = await idOf();
    const all = await count();
    await crashAndRestart(strata, change(4), ['--images', images]);
    expect(await idOf()).not.toBe(first);
    expect(await count()).toBe(all);

    const own = await importTar(strata.connection, busybox, 'little');
    await crashAndRestart(strata, change(6), ['--images', images]);
    expect(await idOf()).toBe(own.id);
    for (const { id } of (await strata.connection.request('image.list', {})).images) {
      if (id !== (await strata.connection.request('image.inspect', { image: 'busybox' })).id) {
        await strata.connection.request('image.remove', { image: id, force: true });
      }
    }
  });
});

describe('a damaged table of image names', () => {
  it('is put aside, and costs the names and not the start', async () => {
    const { strata } = context;
    const images = path.join(strata.place.root, 'images');
    const before = await strata.connection.request('image.inspect', { image: 'busybox' });
    await crashAndRestart(strata, () => fs.writeFileSync(path.join(images, 'names.json'), '{"formatVersion":1,'));
    expect(strata.helper.log).toContain('put aside');
    expect(fs.readdirSync(images).filter((name) => name.startsWith('names.json.damaged-'))).toHaveLength(1);
    expect(await strata.sh('echo named')).toBe('named\n');
    await strata.connection.request('image.remove', { image: before.id });
  });
});

describe('a start that fails', () => {
  it('leaves the container as it was, also for the next helper', async () => {
    const { strata } = context;
    const ended = (await strata.run({ command: ['sh', '-c', 'exit 5'] })).id;
    const { id: created } = await strata.connection.request('container.create', { options: { image: 'busybox', command: ['true'] } });
    for (const id of [ended, created]) {
      const hostname = path.join(directoryOf(strata, id), 'init/etc/hostname');
      fs.rmSync(hostname);
      fs.mkdirSync(hostname);
      await failure(strata.connection.request('container.start', { container: id }));
      fs.rmdirSync(hostname);
    }
    const check = async (): Promise<void> => {
      expect((await strata.find(ended)).state).toMatchObject({ kind: 'exited', exit: { code: 5 } });
      expect((await strata.find(created)).state.kind).toBe('created');
    };
    await check();
    await crashAndRestart(strata);
    await check();
    // Somebody died in the midst of it.
    const directory = directoryOf(strata, ended);
    await crashAndRestart(strata, () => fs.renameSync(`${directory}/exit.json`, `${directory}/exit.prev.json`));
    await check();
    await strata.connection.request('container.start', { container: ended });
    await strata.connection.request('container.wait', { container: ended });
    expect(fs.existsSync(`${directory}/exit.prev.json`)).toBe(false);
  });
});

describe('a crash', () => {
  it('leaves no half of a file', async () => {
    const { strata } = context;
    const running = await strata.start();
    const { id: created } = await strata.connection.request('container.create', { options: { image: 'busybox', command: ['true'] } });
    const helpers = [running, created].map((id) => `${directoryOf(strata, id)}/config.json.tmp-0123456789ab`);
    const ofRunning = `${directoryOf(strata, running)}/.exit.json.tmp`;
    const ofCreated = `${directoryOf(strata, created)}/.exit.json.tmp`;
    const { root } = strata.place;
    const ofImages = [
      `${root}/images/names.json.tmp-0123456789ab`,
      `${root}/blobs/sha256/${'0'.repeat(64)}.tmp-0123456789ab`,
      // Whole, of an image that was never written down.
      `${root}/blobs/sha256/${'1'.repeat(64)}`,
      `${root}/tmp/spool-0123456789abcdef`,
    ];
    const blobs = fs.readdirSync(`${root}/blobs/sha256`);
    await crashAndRestart(strata, () => {
      for (const file of [...helpers, ofRunning, ofCreated, ...ofImages]) fs.writeFileSync(file, '{');
    });
    expect(fs.readdirSync(`${root}/blobs/sha256`)).toEqual(blobs);
    for (const file of [...helpers, ofCreated, ...ofImages]) expect(fs.existsSync(file), file).toBe(false);
    // Its supervisor lives and may just be writing it.
    expect(fs.existsSync(ofRunning)).toBe(true);
    await strata.connection.request('container.kill', { container: running });
    const { exit } = await strata.connection.request('container.wait', { container: running });
    expect(exit.signal).toBe('SIGKILL');
    expect(fs.existsSync(ofRunning)).toBe(false);
  });

  it('of everybody in a start does not let the end of the run before stand for that of this one', async () => {
    const { strata } = context;
    const { id, exit } = await strata.run({ command: ['sh', '-c', '[ -e /ran ] && exec sleep 1000; touch /ran; exit 5'] });
    const { exit: file, supervisor, started, earlier } = pathsOf(strata, id);
    const ended = fs.readFileSync(file);
    await strata.connection.request('container.start', { container: id });
    const pid = pidIn(supervisor);
    await crashAndRestart(strata, () => {
      process.kill(pid, 'SIGKILL');
      // As it is until the helper has heard that the container runs.
      fs.rmSync(started);
      fs.writeFileSync(earlier, ended);
    });
    const { state } = await strata.find(id);
    expect(state).toMatchObject({ kind: 'exited', exit: { code: null, signal: null } });
    expect(state).not.toMatchObject({ exit: { finishedAt: exit.finishedAt } });
  });

  it('before anything was run leaves a container that was never started', async () => {
    const { strata } = context;
    const { id } = await strata.connection.request('container.create', { options: { image: 'busybox', command: ['true'] } });
    const record = `${directoryOf(strata, id)}/config.json`;
    const bootId = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    await crashAndRestart(strata, () => {
      fs.writeFileSync(record, fs.readFileSync(record, 'utf8').replace('"startedInBoot": null', `"startedInBoot": "${bootId}"`));
    });
    expect((await strata.find(id)).state.kind).toBe('created');
    await crashAndRestart(strata, () => {
      fs.writeFileSync(record, fs.readFileSync(record, 'utf8').replace('"startedInBoot": null', '"startedInBoot": "another"'));
    });
    expect((await strata.find(id)).state).toMatchObject({
      kind: 'exited',
      exit: { code: null, reason: 'the host restarted' },
      startedAt: null,
    });
  });

  it('before the helper could note when a container was started does not change when that was', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { state } = await strata.find(id);
    await crashAndRestart(strata, () => fs.rmSync(pathsOf(strata, id).started));
    expect((await strata.find(id)).state).toEqual(state);
  });
});

describe('a supervisor that is killed in the midst of a start', () => {
  it('may have run the container: its end is unknown, and not that of the run before', async () => {
    const { strata } = context;
    const trace = `${strata.place.directory}/trace`;
    fs.writeFileSync(trace, '');
    await crashAndRestart(strata, undefined, ['--trace', trace]);
    // Comes the stop too late, then another container is tried.
    let cutOff = await killInSecondStart(strata, trace);
    while (cutOff.outcome === 'started') cutOff = await killInSecondStart(strata, trace);
    const { id, outcome } = cutOff;
    expect(outcome).toBe('RUNTIME_FAILED');
    expect((await strata.find(id)).state).toMatchObject({ kind: 'exited', exit: { code: null, signal: null } });
    await crashAndRestart(strata);
    expect((await strata.find(id)).state).toMatchObject({ kind: 'exited', exit: { code: null, signal: null } });
  });
});

/** The supervisor is stopped after it has sent the order and before it says what came of it, which is some milliseconds later. */
async function killInSecondStart(strata: Strata, trace: string): Promise<{ id: string; outcome: string }> {
  // The second run can be seen by what it leaves.
  const { id } = await strata.run({ command: ['sh', '-c', '[ -e /1 ] || { touch /1; exit 5; }; touch /2; exec sleep 1000'] });
  fs.writeFileSync(trace, '');
  const starting = strata.connection.request('container.start', { container: id }).then(
    () => 'started',
    (error: unknown) => (error instanceof StrataError ? error.code : String(error)),
  );
  let pid: string | undefined;
  await at(() => {
    pid = /:(\d+) make the streams, send the order$/m.exec(fs.readFileSync(trace, 'utf8'))?.[1];
    return pid !== undefined;
  });
  process.kill(Number(pid), 'SIGSTOP');
  await at(() => fs.existsSync(`${directoryOf(strata, id)}/upper/2`));
  process.kill(Number(pid), 'SIGKILL');
  return { id, outcome: await starting };
}

/** Busily, for what comes after it does not wait. */
async function at(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('a damaged record', () => {
  it('of an exit costs the exit, and not the container', async () => {
    const { strata } = context;
    const { id } = await strata.run({ command: ['true'] });
    await crashAndRestart(strata, () => fs.writeFileSync(`${directoryOf(strata, id)}/exit.json`, 'x'));
    const { state } = await strata.find(id);
    expect(state).toMatchObject({ kind: 'exited', exit: { code: null, reason: 'its exit record is damaged' } });
  });

  it('of a container that runs leaves it to be seen, stopped and removed, and the file to be mended', async () => {
    const { strata } = context;
    const id = await strata.start({ name: 'hurt' });
    const record = `${directoryOf(strata, id)}/config.json`;
    const good = fs.readFileSync(record);
    await crashAndRestart(strata, () => fs.writeFileSync(record, '{'));
    const stub = await strata.find(id);
    expect(stub).toMatchObject({ name: `damaged-${id.slice(0, 8)}`, state: { kind: 'running' } });
    expect((await strata.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
    expect((await failure(strata.connection.request('container.rename', { container: id, name: 'well' }))).message).toContain('damaged');
    await crashAndRestart(strata, () => fs.writeFileSync(record, good));
    expect((await strata.find('hurt')).state.kind).toBe('running');
    await crashAndRestart(strata, () => fs.writeFileSync(record, '{'));
    const { exit } = await strata.connection.request('container.stop', { container: stub.name, graceMs: 0 });
    expect(exit.signal).toBe('SIGKILL');
    await strata.remove(id);
    expect(fs.existsSync(directoryOf(strata, id))).toBe(false);
  });

  it('that gives two containers one name leaves both to be found', async () => {
    const { strata } = context;
    const { id: older } = await strata.connection.request('container.create', { options: { image: 'busybox', name: 'one' } });
    const { id: newer } = await strata.connection.request('container.create', { options: { image: 'busybox', name: 'two' } });
    const record = `${directoryOf(strata, older)}/config.json`;
    await crashAndRestart(strata, () => fs.writeFileSync(record, fs.readFileSync(record, 'utf8').replace('"one"', '"two"')));
    expect((await strata.find('two')).id).toBe(newer);
    expect((await strata.find(`two-${older.slice(0, 8)}`)).id).toBe(older);
  });
});

describe('a supervisor that is killed after it has told the exit', () => {
  it('leaves cgroups that go with the container', async () => {
    const { strata } = context;
    const id = await strata.start();
    const { supervisor } = pathsOf(strata, id);
    const state = fs.readFileSync(supervisor);
    const { cgroup } = await strata.connection.request('container.inspect', { container: id });
    const cgroups = directoriesOf(cgroup.path);
    await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    await until(() => !fs.existsSync(path.join(path.dirname(supervisor), 'control.sock')), 'the supervisor to end');
    for (const directory of cgroups) fs.mkdirSync(directory);
    fs.writeFileSync(supervisor, state);
    await strata.remove(id);
    expect(directoriesOf(cgroup.path)).toEqual([]);
  });
});

describe('a container that removes itself', () => {
  it('has no record any more when its name is free', async () => {
    const { strata } = context;
    const id = await strata.start({ name: 'brief', autoRemove: true });
    const waited = strata.connection.request('container.wait', { container: id });
    const { supervisorPid } = await strata.connection.request('container.inspect', { container: id });
    await strata.connection.request('container.kill', { container: id });
    await waited;
    expect(supervisorPid).not.toBeNull();
    expect(fs.existsSync(`${directoryOf(strata, id)}/config.json`)).toBe(false);
  });
});

describe('a helper with another parent for its cgroups', () => {
  const other = `/strata-test-other-${process.pid}`;
  afterAll(() => removeCgroupParent({ cgroupParent: other }));

  it('finds what was started below the one before', async () => {
    const { strata } = context;
    const id = await strata.start({ limits: { pidsMax: 40 } });
    await crashAndRestart(strata, undefined, ['--cgroup-parent', other]);
    const { cgroup } = await strata.connection.request('container.inspect', { container: id });
    expect(cgroup.path).toBe(`${strata.place.cgroupParent}/${id}`);
    await strata.connection.request('container.update', { container: id, limits: { pidsMax: 30 } });
    const { samples } = await strata.connection.request('stats.read', { containers: [id] });
    expect(samples[0]).toMatchObject({ pidsLimit: 30, pids: 1 });
    // The sandbox that was left is the next container.
    const next = await strata.start();
    expect((await strata.connection.request('container.processes', { container: next })).processes).toHaveLength(1);
    for (const container of [id, next]) await strata.remove(container);
    expect(directoriesOf(cgroup.path)).toEqual([]);
    await strata.helper.stop();
    await strata.restart();
  });
});

describe('limits', () => {
  it('that were changed when the helper died are those of the record again', async () => {
    const { strata } = context;
    const id = await strata.start({ limits: { pidsMax: 40 } });
    const file = directoriesOf(`${strata.place.cgroupParent}/${id}`)
      .map((directory) => path.join(directory, 'pids.max'))
      .find((candidate) => fs.existsSync(candidate));
    if (file === undefined) throw new Error('the container has no pids.max');
    await crashAndRestart(strata, () => fs.writeFileSync(file, '60'));
    expect((await strata.find(id)).limits.pidsMax).toBe(40);
    expect(fs.readFileSync(file, 'utf8').trim()).toBe('40');
  });

  it('that are changed leave no descriptor open', async () => {
    const { strata } = context;
    const cgroupFiles = (): string[] => openDescriptors(strata.helper.pid).filter((target) => target.includes(strata.place.cgroupParent));
    for (let cycle = 0; cycle < 3; cycle += 1) {
      const id = await strata.start();
      await strata.connection.request('container.update', { container: id, limits: { pidsMax: 30 + cycle } });
      await strata.connection.request('stats.read', { containers: [id] });
      expect(cgroupFiles()).toEqual([]);
      await strata.remove(id);
    }
  });
});

describe("a container's root directory", () => {
  it('keeps its mode over a restart', async () => {
    const { strata } = context;
    const id = await strata.start({ command: ['sh', '-c', 'chmod 711 /; stat -c %a /'] });
    await strata.connection.request('container.wait', { container: id });
    await strata.connection.request('container.start', { container: id });
    await strata.connection.request('container.wait', { container: id });
    const upper = fs.statSync(`${directoryOf(strata, id)}/upper`);
    expect(upper.mode & 0o777).toBe(0o711);
    await until(async () => (await strata.cli(['logs', id])).stdout === '711\n711\n', 'both runs in the log');
  });
});
