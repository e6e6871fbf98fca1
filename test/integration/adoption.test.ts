import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { HelperProcess } from './support/helperProcess.ts';
import { openDescriptors } from './support/leaks.ts';
import { makeOciLayout } from './support/ociLayout.ts';
import { failure, type Strata, until, useStrata } from './support/strata.ts';

const context = useStrata();

async function supervisorOf(strata: Strata, container: string): Promise<number> {
  const { supervisorPid } = await strata.connection.request('container.inspect', { container });
  if (supervisorPid === null) throw new Error('the container has no supervisor');
  return supervisorPid;
}

describe('a helper with another data directory', () => {
  it('does not start in the run directory of one that lives', async () => {
    const { strata } = context;
    const id = await strata.start();
    const other = { ...strata.place, root: `${strata.place.directory}/other`, socketPath: `${strata.place.run}/other.sock` };
    await expect(HelperProcess.start(other)).rejects.toThrow('another helper uses the directory');
    expect((await strata.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
  });

  it('leaves alone what runs there when the first has crashed', async () => {
    const { strata } = context;
    const id = await strata.start();
    await strata.helper.crash();
    const other = await HelperProcess.start({ ...strata.place, root: `${strata.place.directory}/other` });
    expect(other.log).toContain('that this data directory does not know');
    await other.stop();
    await strata.restart();
    expect((await strata.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
  });
});

describe('a damaged image', () => {
  it('keeps its layers, its names and its containers, and heals by another import', async () => {
    const { strata } = context;
    const layout = { kind: 'ociLayout', path: makeOciLayout(strata.place.directory) } as const;
    const { image } = await strata.connection.request('image.import', { source: layout, reference: 'stacked' });
    const id = await strata.start({ image: 'stacked', name: 'on-stacked' });
    await strata.helper.crash();
    const blob = `${strata.place.root}/blobs/sha256/${image.id.slice('sha256:'.length)}`;
    fs.writeFileSync(blob, '{}');
    await strata.restart();

    expect((await strata.find('on-stacked')).state.kind).toBe('running');
    // Not yet in the page cache: the layers themselves must be there.
    expect((await strata.exec(id, ['cat', '/which'])).stdout).toBe('top\n');
    await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    const refused = await failure(strata.connection.request('container.start', { container: id }));
    expect(refused).toMatchObject({ code: 'IMAGE_INVALID' });
    expect(refused.hint).toContain('Import it again');
    expect((await failure(strata.connection.request('container.create', { options: { image: 'stacked' } }))).code).toBe('IMAGE_INVALID');

    const again = await strata.connection.request('image.import', { source: layout, reference: 'other' });
    expect(again.image).toMatchObject({ id: image.id, references: ['other:latest', 'stacked:latest'] });
    await strata.connection.request('container.start', { container: id });
    await strata.remove(id);

    await strata.helper.crash();
    fs.rmSync(blob);
    await strata.restart();
    const { removed } = await strata.connection.request('image.remove', { image: 'stacked', force: true });
    expect(removed).toEqual([image.id]);
    expect(fs.readdirSync(`${strata.place.root}/layers`)).toHaveLength(1);
  });
});

describe('a supervisor that does not answer', () => {
  it('keeps no helper from its start, and is taken over when it answers again', async () => {
    const { strata } = context;
    const id = await strata.start({ name: 'silent' });
    const supervisor = await supervisorOf(strata, id);
    process.kill(supervisor, 'SIGSTOP');
    await strata.helper.crash();
    await strata.restart();
    expect((await strata.find('silent')).state.kind).toBe('running');
    const error = await failure(strata.connection.request('container.exec', { container: id, command: ['true'] }));
    expect(error.message).toContain('does not answer');
    process.kill(supervisor, 'SIGCONT');
    await until(() => strata.helper.log.includes('a supervisor answers again'), 'the supervisor to be taken over');
    expect((await strata.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
    await strata.connection.request('container.stop', { container: id, graceMs: 0 });
  });

  it('ends with its container where that is removed by force, or stopped', async () => {
    const { strata } = context;
    for (const method of ['container.remove', 'container.stop'] as const) {
      const id = await strata.start();
      process.kill(await supervisorOf(strata, id), 'SIGSTOP');
      await strata.helper.crash();
      await strata.restart();
      if (method === 'container.stop') {
        const { exit } = await strata.connection.request('container.stop', { container: id });
        expect(exit).toMatchObject({ code: null, signal: null });
      } else {
        await strata.remove(id);
        expect((await failure(strata.connection.request('container.inspect', { container: id }))).code).toBe('CONTAINER_NOT_FOUND');
      }
    }
  });

  it('can be given up during a start', async () => {
    const { strata } = context;
    const sandboxes = `${strata.place.run}/containers`;
    // Another than the one that may have waited for long: such a one is asked before it is taken.
    await strata.sh('true');
    // The one that the next start takes: the helper has said that it is ready, and it is the only one.
    const warm = (): string | undefined => {
      const ids = fs.readdirSync(sandboxes);
      return ids.length === 1 && strata.helper.log.includes(`"sandbox":"${ids[0]}"`) ? ids[0] : undefined;
    };
    await until(() => warm() !== undefined, 'the warm sandbox');
    const { supervisor } = JSON.parse(fs.readFileSync(`${sandboxes}/${warm()}/state.json`, 'utf8')) as { supervisor: { pid: number } };
    process.kill(supervisor.pid, 'SIGSTOP');
    const run = failure(strata.connection.request('container.run', { options: { image: 'busybox', command: ['true'], name: 'hanging' } }));
    await until(async () => {
      const { containers } = await strata.connection.request('container.list', { all: true });
      return containers.some(({ name }) => name === 'hanging');
    }, 'the container to be known');
    const early = await failure(strata.connection.request('container.remove', { container: 'hanging' }));
    expect(early.code).toBe('CONTAINER_RUNNING');
    await strata.connection.request('container.remove', { container: 'hanging', force: true });
    expect((await run).code).toBe('RUNTIME_FAILED');
  });
});

describe('a container that is just being made when the helper dies', () => {
  it('is not taken for one that never ran by the next helper', async () => {
    const { strata } = context;
    const trace = `${strata.place.directory}/trace`;
    await strata.helper.stop();
    await strata.restart(['--trace', trace]);
    const sandboxes = `${strata.place.run}/containers`;
    await until(() => strata.helper.log.includes('a sandbox is ready'), 'the warm sandbox');
    const [id = ''] = fs.readdirSync(sandboxes);
    const { init, supervisor } = JSON.parse(fs.readFileSync(`${sandboxes}/${id}/state.json`, 'utf8')) as Record<
      'init' | 'supervisor',
      { pid: number }
    >;
    process.kill(init.pid, 'SIGSTOP');
    const unheard = strata.connection.request('container.run', {
      options: { image: 'busybox', name: 'slow', command: ['sh', '-c', 'touch /ran; exec sleep 1000'] },
    });
    unheard.catch(() => {});
    await until(() => fs.readFileSync(trace, 'utf8').includes('send the order'), 'the order to be sent');
    const sockets = (): number => openDescriptors(supervisor.pid).filter((target) => target.startsWith('socket:')).length;
    const connected = sockets();
    await strata.helper.crash();
    await until(() => sockets() < connected, 'the supervisor to be alone');
    const next = strata.restart();
    await until(() => sockets() === connected, 'the next helper to ask');
    process.kill(init.pid, 'SIGCONT');
    await next;
    await until(() => fs.existsSync(`${strata.place.root}/containers/${id}/upper/ran`), 'it to run');
    const { state } = await strata.find('slow');
    expect(state).toMatchObject({ kind: 'running', pid: init.pid });
    expect((await strata.exec(id, ['echo', 'alive'])).stdout).toBe('alive\n');
  });
});

describe('a process that has got the pid of a supervisor that is gone', () => {
  it('is never signalled, whatever is done to the container', async () => {
    const { strata } = context;
    const bystander = spawn('sleep', ['1000'], { stdio: 'ignore' });
    try {
      for (const method of ['container.stop', 'container.remove', 'container.start'] as const) {
        const id = await strata.start();
        const state = `${strata.place.run}/containers/${id}/state.json`;
        const supervisor = await supervisorOf(strata, id);
        await strata.helper.crash();
        process.kill(supervisor, 'SIGKILL');
        // As if the kernel had given it that number next.
        fs.writeFileSync(state, fs.readFileSync(state, 'utf8').replace(`"pid":${supervisor}`, `"pid":${bystander.pid}`));
        expect(fs.readFileSync(state, 'utf8')).toContain(`"pid":${bystander.pid}`);
        await strata.restart();
        expect((await strata.find(id)).state).toMatchObject({ kind: 'exited', exit: { code: null } });
        // Once more, for what comes after the adoption.
        fs.mkdirSync(path.dirname(state), { recursive: true });
        fs.writeFileSync(state, JSON.stringify({ formatVersion: 1, bootId: bootId(), supervisor: { pid: bystander.pid, startTime: 1 } }));
        await strata.connection.request(method, { container: id });
        if (method !== 'container.remove') await strata.remove(id);
        expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
        expect(fs.existsSync(`/proc/${bystander.pid}`)).toBe(true);
      }
    } finally {
      bystander.kill('SIGKILL');
    }
  });
});

function bootId(): string {
  return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

describe('an empty record', () => {
  const id = '0123456789abcdef0123456789abcdef';

  it('of an earlier boot goes; one of this boot stays', async () => {
    const { strata } = context;
    const directory = `${strata.place.root}/containers/${id}`;
    fs.mkdirSync(directory);
    fs.writeFileSync(`${directory}/config.json`, '');
    await strata.helper.crash();
    await strata.restart();
    expect(fs.existsSync(directory)).toBe(true);
    fs.utimesSync(`${directory}/config.json`, 1, 1);
    await strata.helper.crash();
    await strata.restart();
    expect(fs.existsSync(directory)).toBe(false);
  });
});
