import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Channel } from '../../helper/protocol/index.ts';
import { LoopStore } from '../bench/store.ts';
import { clearPlace } from '../soak/place.ts';
import { HelperProcess, makePlace } from './support/helperProcess.ts';
import { leftovers, openDescriptors } from './support/leaks.ts';
import { failure, Strata, streamOf, until } from './support/strata.ts';

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

describe('a disk that is full', () => {
  it('costs a log what comes, nothing that was written, and the container nothing', async () => {
    const store = new LoopStore(64);
    const place = { ...makePlace(), root: path.join(store.directory, 'root') };
    const helper = await HelperProcess.start(place);
    const strata = new Strata(helper, await helper.connect());
    const { connection } = strata;
    try {
      const line = '%07d '.padEnd(1000, 'x');
      const script = `read go; awk 'BEGIN { for (i = 1; i <= 80000; i++) printf("${line}\\n", i) }'; touch /dev/shm/done; read on; for i in 1 2 3; do echo after-$i; sleep 0.5; done; read end`;
      const { id, stream } = await connection.request('container.run', {
        options: { image: 'busybox', command: ['sh', '-c', script], openStdin: true, logMaxSize: 4 * 1024 ** 2, logMaxFiles: 100 },
        attach: true,
      });
      const attached = streamOf(connection, stream);
      let seen = 0;
      let last = '';
      let said = '';
      attached.consume({
        data: (channel, bytes) => {
          if (channel === Channel.bytes) said += Buffer.from(bytes).toString();
          else seen += bytes.byteLength;
          if (channel === Channel.stdout) last = Buffer.from(bytes).toString().slice(-100);
        },
      });
      const filler = path.join(store.directory, 'filler');
      fs.writeFileSync(filler, Buffer.alloc(8 * 1024 ** 2));
      await attached.write(Channel.stdin, Buffer.from('go\n'));
      // No full disk holds it up.
      const isDone = async (): Promise<boolean> => (await strata.exec(id, ['test', '-e', '/dev/shm/done'])).status === 0;
      await until(isDone, 'the container to have written more than there is room for', 60_000);
      await attached.write(Channel.stdin, Buffer.from('on\n'));
      fs.rmSync(filler);
      await until(() => last.includes('after-3'), 'the log to go on', 60_000);
      expect(said).toContain('"reason":"diskFull"');

      const { first, stream: all } = await connection.request('container.logs', { container: id });
      expect(first).toEqual({ stdout: 0, stderr: 0 });
      let stdout = '';
      await new Promise((resolve) =>
        connection.stream(all).consume({
          data: (channel, bytes) => {
            if (channel === Channel.stdout) stdout += Buffer.from(bytes).toString();
          },
          closed: resolve,
        }),
      );
      expect(stdout.length).toBe(seen);
      const lines = stdout.split('\n').filter((text) => /^\d{7} x+$/.test(text));
      expect(Number(lines.at(0)?.slice(0, 7))).toBe(1);
      // What was lost may lie between lines, or at their end.
      const gap = lines.findIndex((text, index) => Number(text.slice(0, 7)) !== index + 1);
      expect(gap === -1 ? lines.length : gap).toBeGreaterThan(40_000);
      expect(lines.length).toBeLessThan(80_000);
      const { exit } = await connection.request('container.stop', { container: id, graceMs: 0 });
      expect(exit.reason).toMatch(/MiB of its output were lost: the disk of the log was full/);
    } finally {
      strata.connection.close();
      await clearPlace(place);
      store[Symbol.dispose]();
      fs.rmSync(place.directory, { recursive: true });
    }
  }, 120_000);
});
