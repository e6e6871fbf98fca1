import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LoopStore } from '../bench/store.ts';
import { clearPlace } from '../soak/place.ts';
import { HelperProcess, makePlace } from './support/helperProcess.ts';
import { leftovers, openDescriptors } from './support/leaks.ts';
import { failure, Strata, until } from './support/strata.ts';

/** What a crashed helper leaves besides is a sandbox, which has opened nothing of the data directory yet. */
function usesDisk(line: string): boolean {
  try {
    return openDescriptors(Number.parseInt(line, 10)).some((target) => target.includes('/store/'));
  } catch {
    return false; // it has ended meanwhile
  }
}

/** The state directory's file system breaks while containers are there: what runs goes on and can be ended, whoever is the helper. */
describe.each([
  {
    what: 'becomes read-only',
    isReadable: true,
    says: /read-only file system/i,
    // As after an error of the disk, with errors=remount-ro.
    breakIt: (directory: string) => {
      const device = path.basename(execFileSync('findmnt', ['-no', 'SOURCE', directory], { encoding: 'utf8' }).trim());
      execFileSync('mount', ['-o', 'remount,errors=remount-ro', directory]);
      fs.writeFileSync(`/sys/fs/ext4/${device}/trigger_fs_error`, '1');
    },
  },
  {
    what: 'fails',
    isReadable: false,
    says: /i\/o error/i,
    // FS_IOC_GOINGDOWN, without flushing the log.
    breakIt: (directory: string) => {
      execFileSync('python3', [
        '-c',
        'import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], 0), 0x8004587d, struct.pack("I", 2))',
        directory,
      ]);
    },
  },
])('a disk that $what', ({ isReadable, says, breakIt }) => {
  let store: LoopStore;
  let strata: Strata;
  beforeEach(async () => {
    store = new LoopStore(64);
    const place = { ...makePlace(), root: path.join(store.directory, 'root') };
    const helper = await HelperProcess.start(place);
    strata = new Strata(helper, await helper.connect());
  });
  afterEach(async () => {
    strata.connection.close();
    await clearPlace(strata.place);
    store[Symbol.dispose]();
    fs.rmSync(strata.place.directory, { recursive: true });
  });

  it('costs nothing that runs, and keeps nobody from ending it', async () => {
    const running = await strata.start({ name: 'running', command: ['sh', '-c', 'trap "exit 43" TERM; echo ready; sleep 1000 & wait'] });
    const silent = await strata.start({ name: 'silent' });
    const ended = (await strata.run({ name: 'ended', command: ['sh', '-c', 'exit 5'] })).id;
    await strata.connection.request('container.create', { options: { image: 'busybox', name: 'created', command: ['true'] } });
    await until(async () => (await strata.cli(['logs', running])).stdout === 'ready\n', 'the trap');
    // What a crash would leave: it cannot be removed later, and must keep nobody from a start.
    const { root } = strata.place;
    const halves = [`tmp/spool-0`, 'images/names.json.tmp-0', `blobs/sha256/0.tmp-0`, `containers/${running}/config.json.tmp-0`];
    for (const half of halves) fs.writeFileSync(path.join(root, half), '{');
    breakIt(store.directory);

    const states = async (): Promise<Record<string, string | number | null>> => {
      const { containers } = await strata.connection.request('container.list', { all: true });
      return Object.fromEntries(
        containers.map(({ name, state }) => [name, state.kind === 'exited' ? (state.exit.code ?? state.exit.signal) : state.kind]),
      );
    };
    const all = { running: 'running', silent: 'running', ended: 5, created: 'created' };
    const works = async (): Promise<void> => {
      expect(await states()).toEqual(all);
      if (isReadable) expect((await strata.exec(running, ['echo', 'alive'])).stdout).toBe('alive\n');
      const { connection } = strata;
      const options = { image: 'busybox', name: 'late', command: ['true'] };
      for (const refused of [
        () => connection.request('container.run', { options }),
        () => connection.request('container.create', { options }),
        () => connection.request('container.start', { container: ended }),
        () => connection.request('container.rename', { container: running, name: 'late' }),
        () => connection.request('container.update', { container: running, limits: { pidsMax: 30 } }),
        () => connection.request('container.remove', { container: ended }),
      ]) {
        const error = await failure(refused());
        expect.soft(error.message, String(refused)).toMatch(says);
        expect.soft(error.hint, String(refused)).toMatch(/dmesg/);
      }
      expect(await states()).toEqual(all);
    };
    await works();
    if (isReadable) {
      await strata.helper.crash();
      await strata.restart();
      await works();
    }
    const { exit } = await strata.connection.request('container.stop', { container: running });
    expect(exit.code).toBe(43);
    await strata.connection.request('container.kill', { container: silent });
    expect((await strata.connection.request('container.wait', { container: silent })).exit.signal).toBe('SIGKILL');
    const ends = { ...all, running: 43, silent: 'SIGKILL' };
    expect(await states()).toEqual(ends);

    await strata.helper.crash();
    await until(() => leftovers(strata.place).processes.every((line) => !usesDisk(line)), 'nobody to use the disk');
    store.mountAgain();
    await strata.restart();
    expect(await states()).toEqual(ends);
    for (const half of halves) expect(fs.existsSync(path.join(root, half)), half).toBe(false);
    for (const container of Object.keys(ends)) await strata.remove(container);
  });
});
