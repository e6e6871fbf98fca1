import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_BYTES, encodeHeader, padding, type TarHeader, type TarKind } from '../../helper/archive/tarHeader.ts';
import { readTar } from '../../helper/archive/tarReader.ts';
import { StrataError } from '../../helper/protocol/index.ts';
import { ContainerArchive } from '../../helper/wire/containerArchive.ts';
import { distFile } from './support/helperProcess.ts';
import { failure, until, useStrata } from './support/strata.ts';

const context = useStrata();
const maps = [{ containerId: 0, hostId: 200_000, size: 65_536 }];
const userNamespace = { uidMaps: maps, gidMaps: maps };

let place: string;
beforeAll(() => {
  place = fs.mkdtempSync(path.join(tmpdir(), 'strata-copy-'));
});
afterAll(() => fs.rmSync(place, { recursive: true, force: true }));

/** A new directory of the host with these files. */
function directoryWith(files: Readonly<Record<string, string>>): string {
  const directory = fs.mkdtempSync(path.join(place, 'd-'));
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
    fs.writeFileSync(path.join(directory, name), text);
  }
  return directory;
}

type Member = Partial<Omit<TarHeader, 'kind'>> & {
  readonly name: string;
  readonly kind?: Exclude<TarKind, 'other'>;
  readonly content?: string;
};

function tar(...members: readonly Member[]): Buffer {
  const blocks = members.map(({ content = '', kind = 'file', ...header }) => {
    const sizeBytes = Buffer.byteLength(content);
    return Buffer.concat([
      encodeHeader({ mode: 0o644, mtimeMs: 0, linkName: '', ...header, kind, sizeBytes }),
      Buffer.from(content),
      padding(sizeBytes),
    ]);
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)]);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes);
}

function archiveOf(container: string, signal?: AbortSignal): ContainerArchive {
  return new ContainerArchive(context.strata.connection, container, signal);
}

async function cp(...args: readonly string[]): Promise<void> {
  const result = await context.strata.cli(['cp', '-q', ...args]);
  expect(result, result.stderr).toMatchObject({ status: 0, stderr: '' });
}

async function sh(container: string, script: string): Promise<string> {
  const result = await context.strata.exec(container, ['sh', '-c', script]);
  expect(result, result.stderr).toMatchObject({ status: 0 });
  return result.stdout;
}

async function stopped(options: { userNamespace?: typeof userNamespace; readOnlyRootfs?: boolean } = {}): Promise<string> {
  const { id } = await context.strata.connection.request('container.create', {
    options: { image: 'busybox', command: ['sleep', '1000'], ...options },
  });
  return id;
}

/** Processes that copy, of this helper. */
function copying(): string[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const [parent] = fs
          .readFileSync(`/proc/${pid}/stat`, 'utf8')
          .replace(/^.*\) . /, '')
          .split(' ');
        return Number(parent) === context.strata.helper.pid && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0archive');
      } catch {
        return false;
      }
    });
}

describe.each([
  { kind: 'a running container', make: () => context.strata.start() },
  { kind: 'a stopped container', make: () => stopped() },
  { kind: 'a running container with a user namespace', make: () => context.strata.start({ userNamespace }) },
  { kind: 'a stopped container with a user namespace', make: () => stopped({ userNamespace }) },
])('$kind', ({ make }) => {
  it('takes a tree and gives it back', async () => {
    const id = await make();
    const source = directoryWith({ 'tree/a': 'one', 'tree/deep/er/b': 'two', 'tree/empty': '' });
    fs.symlinkSync('a', path.join(source, 'tree/link'));
    fs.chmodSync(path.join(source, 'tree/a'), 0o751);
    fs.chownSync(path.join(source, 'tree/a'), 7, 8);
    await cp(path.join(source, 'tree'), `${id}:/root`);
    const archive = archiveOf(id);
    expect(await archive.stat('/root/tree/a', false)).toMatchObject({ kind: 'file', mode: 0o751, uid: 0, gid: 0, sizeBytes: 3 });
    expect(await archive.stat('/root/tree/link', false)).toMatchObject({ kind: 'symlink', linkTarget: 'a' });
    await cp('-a', path.join(source, 'tree'), `${id}:/root/owned`);
    expect(await archive.stat('/root/owned/a', false)).toMatchObject({ uid: 7, gid: 8 });

    const out = directoryWith({});
    await cp(`${id}:/root/tree`, out);
    expect(fs.readFileSync(path.join(out, 'tree/deep/er/b'), 'utf8')).toBe('two');
    expect(fs.readlinkSync(path.join(out, 'tree/link'))).toBe('a');
    expect(fs.statSync(path.join(out, 'tree/a'))).toMatchObject({ uid: 0, gid: 0 });
    expect(fs.statSync(path.join(out, 'tree/a')).mode & 0o7777).toBe(0o751);
    await cp('-a', `${id}:/root/owned`, out);
    expect(fs.statSync(path.join(out, 'owned/a'))).toMatchObject({ uid: 7, gid: 8 });
  });
});

describe('the rules of docker cp', () => {
  // What a copy to a path of the container makes there, by what is copied and what is there: test/unit/archive/copyPlan.test.ts has them all.
  it('names the copy where nothing is, puts it into a directory, and replaces a file', async () => {
    const id = await context.strata.start();
    await sh(id, 'mkdir -p /d /l && ln -s /d /to-dir && echo old > /old && ln -s /old /to-old && ln -s /l/new /to-nothing');
    const source = directoryWith({ f: 'file\n', 'dir/x': 'x\n' });
    await cp(`${source}/f`, `${id}:/made`);
    await cp(`${source}/f`, `${id}:d`);
    await cp(`${source}/f`, `${id}:/to-dir/`);
    await cp(`${source}/f`, `${id}:/to-old`);
    await cp(`${source}/f`, `${id}:/to-nothing`);
    await cp(`${source}/dir`, `${id}:/d`);
    await cp(`${source}/dir`, `${id}:/new`);
    await cp(`${source}/dir/.`, `${id}:/l`);
    expect(await sh(id, 'cat /made /d/f /old /l/new /d/dir/x /new/x /l/x; ls -d /to-old /to-nothing')).toBe(
      'file\nfile\nfile\nfile\nx\nx\nx\n/to-nothing\n/to-old\n',
    );
    const refusals: [string, string, RegExp][] = [
      [`${source}/dir`, `${id}:/made`, /cannot copy the directory .*dir to \/made, which is no directory/],
      [`${source}/f`, `${id}:/nowhere/`, /there is no directory \/nowhere\//],
      [`${source}/f`, `${id}:/nowhere/f`, /copy to '\/nowhere' in container .*: open '\/nowhere': No such file or directory/],
      [`${source}/missing`, `${id}:/d`, /cannot read .*missing: ENOENT/],
      [`${id}:/nowhere`, source, /look at '\/nowhere' in container .*: open '\/nowhere': No such file or directory/],
      [`${id}:/made/x`, source, /look at '\/made\/x' in container .*: open '\/made\/x': Not a directory/],
      [`${id}:/d`, `${source}/f`, /cannot copy the directory \/d to .*\/f, which is no directory/],
      [`${id}:/dev/null`, source, /\/dev\/null is a device/],
      [`${id}:/a`, `${id}:/b`, /between containers it goes by way of a tar: strata cp .*:\/a - \| strata cp - .*:\/b/],
    ];
    for (const [from, to, message] of refusals) {
      const result = await context.strata.cli(['cp', from, to]);
      expect(result).toMatchObject({ status: 1 });
      expect(result.stderr).toMatch(message);
    }
  });

  it('copies a link, or with -L what it leads to', async () => {
    const id = await context.strata.start();
    const source = directoryWith({ target: 'text' });
    fs.symlinkSync('target', path.join(source, 'link'));
    await cp(`${source}/link`, `${id}:/kept`);
    await cp('-L', `${source}/link`, `${id}:/followed`);
    await sh(id, 'echo -n inside > /inside && ln -s inside /way');
    await cp(`${id}:/way`, `${source}/way`);
    await cp('-L', `${id}:/way`, `${source}/followed`);
    expect(await sh(id, 'readlink /kept; cat /followed')).toBe('target\ntext');
    expect(fs.readlinkSync(`${source}/way`)).toBe('inside');
    expect(fs.readFileSync(`${source}/followed`, 'utf8')).toBe('inside');
  });

  it('reads and writes archives', async () => {
    const id = await context.strata.start();
    const other = await stopped();
    await sh(id, 'mkdir -p /tree/sub && echo x > /tree/sub/x && echo y > /tree/y');
    const sent = spawn('sh', [
      '-c',
      '"$0" -- "$1" --socket "$2" cp "$3:/tree" - | "$0" -- "$1" --socket "$2" cp -q - "$4:/root"',
      process.execPath,
      distFile('cli.cjs'),
      context.strata.place.socketPath,
      id,
      other,
    ]);
    expect(await new Promise((resolve) => sent.once('close', resolve))).toBe(0);
    expect(await archiveOf(other).stat('/root/tree/sub/x', false)).toMatchObject({ kind: 'file', sizeBytes: 2 });
    expect(await context.strata.cli(['cp', '-', `${id}:/tree/y`], 'x')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('there is no directory /tree/y') as unknown,
    });
  });

  it('says how much was copied, and nothing with -q', async () => {
    const id = await context.strata.start();
    const source = directoryWith({ f: 'x'.repeat(5000) });
    expect(await context.strata.cli(['cp', `${source}/f`, `${id}:/f`])).toMatchObject({
      status: 0,
      stderr: `Copied 4.9 KiB to ${id}:/f\n`,
      stdout: '',
    });
  });
});

describe('what an archive can hold', () => {
  it('comes back as it was: links, pipes, devices, holes, long names, capabilities', async () => {
    const id = await context.strata.start({ capAdd: ['MKNOD', 'SETFCAP'] });
    const long = `${'long-directory-name/'.repeat(11)}file`;
    await sh(
      id,
      `mkdir -p "/t/$(dirname ${long})" && echo deep > /t/${long} && echo one > /t/a && ln /t/a /t/b && mkfifo /t/pipe && mknod /t/null c 1 3 && truncate -s 3000000000 /t/holes && echo end >> /t/holes`,
    );
    const { paths } = await context.strata.connection.request('container.inspect', { container: id });
    // cap_net_raw=ep, revision 2.
    const { status } = await run('setfattr', [
      '-n',
      'security.capability',
      '-v',
      '0x0100000200200000000000000000000000000000',
      `${paths.upper}/t/a`,
    ]);
    expect(status).toBe(0);
    const chunks: Uint8Array[] = [];
    for await (const bytes of await archiveOf(id).get('/t', false)) chunks.push(bytes);
    const bytes = Buffer.concat(chunks);
    expect(bytes.byteLength).toBeLessThan(100_000);
    const other = await stopped();
    expect(await archiveOf(other).put('/root', once(bytes), true)).toMatchObject({ leftOut: 0 });
    await context.strata.connection.request('container.start', { container: other });
    expect(
      await sh(
        other,
        `cat /root/t/${long}; stat -c '%h %s' /root/t/a /root/t/holes; stat -c '%F %t:%T' /root/t/pipe /root/t/null; tail -c 4 /root/t/holes; du /root/t/holes | cut -f1`,
      ),
    ).toMatch(/^deep\n2 4\n1 3000000004\nfifo 0:0\ncharacter special file 1:3\nend\n\d{1,3}\n$/);
    const inspected = await context.strata.connection.request('container.inspect', { container: other });
    expect((await run('getfattr', ['-n', 'security.capability', '-e', 'hex', `${inspected.paths.upper}/root/t/b`])).stdout).toContain(
      '0x010000020020',
    );

    const out = directoryWith({});
    const { status: copied, stderr } = await context.strata.cli(['cp', '-q', `${id}:/t`, out]);
    expect(copied).toBe(0);
    expect(stderr.trim().split('\n').sort()).toEqual([
      'strata: warning: t/null is left out: it is no file, directory or link',
      'strata: warning: t/pipe is left out: it is no file, directory or link',
    ]);
    expect(fs.statSync(`${out}/t/holes`)).toMatchObject({ size: 3_000_000_004 });
    expect(fs.statSync(`${out}/t/holes`).blocks).toBeLessThan(1000);
    expect(fs.statSync(`${out}/t/a`).nlink).toBe(2);
  });

  it('gives nobody rights: no set-id bits and capabilities without -a, no devices in a user namespace', async () => {
    const id = await context.strata.start({ userNamespace });
    const archive = archiveOf(id);
    const source = directoryWith({ su: 'program' });
    fs.chmodSync(path.join(source, 'su'), 0o6755);
    await cp(`${source}/su`, `${id}:/su`);
    await cp('-a', `${source}/su`, `${id}:/kept`);
    expect(await archive.stat('/su', false)).toMatchObject({ mode: 0o755 });
    expect(await archive.stat('/kept', false)).toMatchObject({ mode: 0o6755 });
    const device = Buffer.from(tar({ name: 'sda' }));
    device.write('4', 156);
    device.write('        ', 148);
    const sum = device.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    device.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    expect(await archive.put('/root', once(device), true)).toMatchObject({ entries: 1, leftOut: 1 });
    expect((await failure(archive.put('/root', once(tar({ name: 'x', uid: 100_000 })), true))).hint).toBe(
      "the container's user namespace has no such owner",
    );
  });
});

describe('a hostile container', () => {
  it('leads no copy out of it by links', async () => {
    const id = await context.strata.start();
    const secret = directoryWith({ secret: 'of the host' });
    await sh(
      id,
      `ln -s ${secret}/secret /abs && ln -s ../../../../../..${secret} /up && ln -s /proc/1/root /proc-root && mkdir -p ${path.dirname(secret)}`,
    );
    const archive = archiveOf(id);
    for (const at of ['/abs', '/up/secret', `/proc-root${secret}/secret`, `/../../..${secret}/secret`]) {
      expect(await failure(archive.stat(at, true)), at).toMatchObject({ code: 'PATH_NOT_FOUND' });
      expect(await failure(archive.get(at, true)), at).toMatchObject({ code: 'PATH_NOT_FOUND' });
    }
    await cp(`${secret}/secret`, `${id}:/abs`).catch(() => {});
    expect(fs.readFileSync(`${secret}/secret`, 'utf8')).toBe('of the host');
    await sh(id, `rm -f /up && ln -s ${place} /up`);
    // What it leads to is the container's own directory of that path.
    await archive.put('/up', once(tar({ name: 'in' })), false);
    expect(await sh(id, `ls ${place}`)).toContain('in\n');
    expect(fs.existsSync(path.join(place, 'in'))).toBe(false);
  });

  it('swaps directories for links while it is copied, and nothing of the host is read or written', async () => {
    const host = directoryWith({ 'd/secret': 'of the host' });
    const id = await context.strata.start();
    // The same path leads to a directory of its own and, by a link, to where the host's is.
    await sh(id, `mkdir -p /race/real/d ${host}/d && echo own > /race/real/d/secret && echo decoy > ${host}/d/secret`);
    const swapper = context.strata.exec(id, [
      'sh',
      '-c',
      `cd /race; while [ ! -e /stop ]; do rm -f cur; ln -s ${host} cur; rm -f cur; ln -s /race/real cur; rm -f cur; mkdir -p cur/d; rm -rf cur; done`,
    ]);
    const archive = archiveOf(id);
    const seen = new Set<string>();
    for (let round = 0; round < 60; round += 1) {
      await archive
        .put(
          '/race/cur/d',
          once(tar({ name: 'written', content: 'by the copy' }, { name: 'sub/', kind: 'directory' }, { name: 'sub/written' })),
          false,
        )
        .catch(refused);
      try {
        for await (const member of readTar(await archive.get('/race/cur', true))) {
          const chunks: Buffer[] = [];
          for await (const bytes of member.content) chunks.push(bytes);
          if (member.name.endsWith('secret')) seen.add(Buffer.concat(chunks).toString());
        }
      } catch (error) {
        refused(error);
      }
    }
    await sh(id, 'touch /stop');
    await swapper;
    expect([...seen].filter((text) => text !== 'own\n' && text !== 'decoy\n')).toEqual([]);
    expect(fs.readdirSync(path.join(host, 'd'))).toEqual(['secret']);
    expect(fs.readFileSync(path.join(host, 'd/secret'), 'utf8')).toBe('of the host');
  });

  it('sees no half of a file that replaces one that it reads', async () => {
    const id = await context.strata.start();
    await sh(id, 'yes old | head -c 2000000 > /data');
    const reader = context.strata.exec(id, ['sh', '-c', 'while [ ! -e /stop ]; do md5sum < /data; done | sort -u | wc -l']);
    for (let round = 0; round < 4; round += 1)
      await archiveOf(id).put('/', once(tar({ name: 'data', content: `${round}`.repeat(2_000_000) })), false);
    await sh(id, 'touch /stop');
    // As many contents as there were, none between them.
    const { stdout, stderr } = await reader;
    expect(stderr).toBe('');
    expect(Number(stdout)).toBeGreaterThan(1);
    expect(Number(stdout)).toBeLessThanOrEqual(5);
    expect(await sh(id, 'ls -a / | grep -c strata || true')).toBe('0\n');
  });
});

describe('a hostile archive', () => {
  it('writes nothing outside of the directory', async () => {
    const id = await context.strata.start();
    await sh(id, 'mkdir -p /in && echo passwd > /victim');
    const archive = archiveOf(id);
    const hostile: [Buffer, string][] = [
      [tar({ name: '../out', content: 'x' }), 'ARCHIVE_UNSAFE'],
      [tar({ name: 'a/../../out', content: 'x' }), 'ARCHIVE_UNSAFE'],
      [tar({ name: 'h', kind: 'hardlink', linkName: '../victim' }), 'ARCHIVE_UNSAFE'],
      [tar({ name: 'h', kind: 'hardlink', linkName: '/victim' }), 'ARCHIVE_CORRUPT'],
      // Its own link is made last: what goes "through" it makes a directory, which then is in the link's way.
      [tar({ name: 'l', kind: 'symlink', linkName: '/' }, { name: 'l/victim', content: 'overwritten' }), 'NOT_A_FILE'],
      [tar({ name: 'l', kind: 'symlink', linkName: '/' }, { name: 'h', kind: 'hardlink', linkName: 'l/victim' }), 'ARCHIVE_CORRUPT'],
      [tar({ name: 'x', content: 'y' }).subarray(0, 600), 'ARCHIVE_CORRUPT'],
      [Buffer.alloc(4096, 'no archive'), 'ARCHIVE_CORRUPT'],
      [tar({ name: 'd' }, { name: 'd/x' }), 'NOT_A_DIRECTORY'],
    ];
    for (const [bytes, code] of hostile) {
      await sh(id, 'rm -rf /in && mkdir /in');
      expect(await failure(archive.put('/in', once(bytes), true)), code).toMatchObject({ code });
    }
    expect(await sh(id, 'cat /victim; ls /out 2>&1; stat -c %h /victim')).toBe('passwd\nls: /out: No such file or directory\n1\n');
    await archive.put(
      '/in',
      once(
        tar(
          { name: '/abs/x', content: 'inside' },
          { name: 'l', kind: 'symlink', linkName: '/victim' },
          { name: 'same', kind: 'hardlink', linkName: 'l' },
        ),
      ),
      true,
    );
    expect(await sh(id, 'cat /in/abs/x; readlink /in/l; readlink /in/same')).toBe('inside/victim\n/victim\n');
  });

  it('merges directories, follows links that were there, and never puts one kind in the place of another', async () => {
    const id = await context.strata.start();
    await sh(id, 'mkdir -p /in/real /in/d && chmod 700 /in/d && ln -s real /in/lib && touch /in/f');
    const archive = archiveOf(id);
    await archive.put(
      '/in',
      once(tar({ name: 'd/', kind: 'directory', mode: 0o777 }, { name: 'd/x' }, { name: 'lib/', kind: 'directory' }, { name: 'lib/y' })),
      false,
    );
    expect(await sh(id, 'stat -c %a /in/d; ls /in/d /in/real; readlink /in/lib')).toBe('700\n/in/d:\nx\n\n/in/real:\ny\nreal\n');
    expect(await failure(archive.put('/in', once(tar({ name: 'd' })), false))).toMatchObject({
      code: 'NOT_A_FILE',
      message: expect.stringContaining("replace 'd'") as unknown,
    });
    expect(await failure(archive.put('/in', once(tar({ name: 'f/', kind: 'directory' })), false))).toMatchObject({
      code: 'NOT_A_DIRECTORY',
    });
  });
});

describe('where it is copied to', () => {
  it('is what the container has mounted there', async () => {
    const id = await context.strata.start({ tmpfs: { '/scratch': 'size=1m' } });
    const archive = archiveOf(id);
    await archive.put('/scratch', once(tar({ name: 'f', content: 'on tmpfs' })), false);
    expect(await sh(id, 'cat /scratch/f')).toBe('on tmpfs');
    const names: string[] = [];
    for await (const member of readTar(await archive.get('/', false))) names.push(member.name);
    expect(names).toContain('./scratch/f');
    // The kernel's own files are not the container's.
    expect(names.filter((name) => name.startsWith('./proc/') || name.startsWith('./sys/'))).toEqual(['./proc/', './sys/']);
    const full = await failure(archive.put('/scratch', once(tar({ name: 'large', content: 'x'.repeat(2_000_000) })), false));
    expect(full).toMatchObject({ code: 'NO_SPACE', message: expect.stringContaining("write 'large': No space left on device") as unknown });
    expect(await sh(id, 'ls -A /scratch')).toBe('f\n');
  });

  it.each(['running', 'stopped'])('may be read-only: %s', async (state) => {
    const id = state === 'running' ? await context.strata.start({ readOnlyRootfs: true }) : await stopped({ readOnlyRootfs: true });
    expect(await failure(archiveOf(id).put('/root', once(tar({ name: 'f' })), false))).toMatchObject({
      code: 'READ_ONLY',
      message: expect.stringContaining('Read-only file system') as unknown,
    });
    expect(await archiveOf(id).stat('/root', false)).toMatchObject({ kind: 'directory' });
  });

  it('has files that the kernel makes as they are read, with all that they hold', async () => {
    const { strata } = context;
    const id = await strata.start();
    const directory = fs.mkdtempSync(path.join(strata.place.directory, 'kernel-'));
    // Of no size, and of a page whatever it holds.
    for (const file of ['/proc/1/status', '/proc/sys/kernel/hostname', '/sys/class/net/lo/mtu']) {
      const to = path.join(directory, path.basename(file));
      expect(await strata.cli(['cp', '-L', `${id}:${file}`, to])).toMatchObject({ status: 0 });
      const content = fs.readFileSync(to, 'utf8');
      const name = file === '/proc/1/status' ? /^Name:\tsleep$/m : undefined;
      if (name === undefined) expect(content).toBe((await strata.exec(id, ['cat', file])).stdout);
      else expect(content).toMatch(name);
    }
    const endless = await strata.cli(['cp', `${id}:/proc/1/pagemap`, `${directory}/pagemap`]);
    expect(endless.status).not.toBe(0);
    expect(endless.stderr).toContain('the kernel makes it as it is read');
    expect(fs.existsSync(`${directory}/pagemap`)).toBe(false);
    // What cannot be read or has no end there keeps nothing else away.
    expect(await strata.cli(['cp', `${id}:/proc/1/net`, `${directory}/net`])).toMatchObject({ status: 0 });
    expect(fs.readFileSync(`${directory}/net/dev`, 'utf8')).toContain('lo:');
  });

  it('stands still while the container is paused', async () => {
    const id = await context.strata.start();
    await context.strata.connection.request('container.pause', { container: id });
    await archiveOf(id).put('/root', once(tar({ name: 'f', content: 'x' })), false);
    expect(await archiveOf(id).stat('/root/f', false)).toMatchObject({ sizeBytes: 1 });
  });
});

describe('a copy that is under way', () => {
  /** An archive that stops in the middle of a file; `taken` resolves when the helper has taken a part of it. */
  function halfAnArchive(): { source: AsyncGenerator<Uint8Array>; taken: Promise<void>; goOn: () => void } {
    const taken = Promise.withResolvers<void>();
    const wait = Promise.withResolvers<void>();
    async function* source(): AsyncGenerator<Uint8Array> {
      const whole = tar({ name: 'half', content: 'x'.repeat(3_000_000) });
      yield whole.subarray(0, 2_000_000);
      taken.resolve();
      await wait.promise;
      yield whole.subarray(2_000_000);
    }
    return { source: source(), taken: taken.promise, goOn: () => wait.resolve() };
  }

  it.each(['running', 'stopped'])('ends where it is cancelled, and leaves no half of a file: %s', async (state) => {
    const id = state === 'running' ? await context.strata.start() : await stopped();
    const cancel = new AbortController();
    const { source, taken, goOn } = halfAnArchive();
    const copy = failure(archiveOf(id, cancel.signal).put('/root', source, false));
    await taken;
    cancel.abort();
    expect(await copy).toMatchObject({ code: 'CANCELLED' });
    goOn();
    await until(() => copying().length === 0, 'the end of the process that copies');
    expect(await failure(archiveOf(id).stat('/root/half', false))).toMatchObject({ code: 'PATH_NOT_FOUND' });
    const names: string[] = [];
    for await (const member of readTar(await archiveOf(id).get('/root', false))) names.push(member.name);
    expect(names).toEqual(['root/']);
  });

  it('out ends where it is cancelled, or nobody reads it any more', async () => {
    const id = await context.strata.start();
    await sh(id, 'head -c 30000000 /dev/zero | tr "\\0" x > /large');
    for await (const _ of await archiveOf(id).get('/large', false)) break;
    await until(() => copying().length === 0, 'the end of the process that copies');
    const { stream } = await context.strata.connection.request('container.archive.get', { container: id, path: '/large' });
    // One who asks and never reads.
    expect(copying()).toHaveLength(1);
    await context.strata.reconnect();
    await until(() => copying().length === 0, 'the end of the process that copies');
    expect(stream).toBeGreaterThan(0);
  });

  it.each(['start', 'remove'] as const)('of a stopped container is ended by a %s', async (what) => {
    const id = await stopped();
    const { source, taken, goOn } = halfAnArchive();
    const copy = failure(archiveOf(id).put('/root', source, false));
    await taken;
    const { connection } = context.strata;
    const [writer] = copying();
    const { stream } = await reading(id);
    await (what === 'start' ? connection.request('container.start', { container: id }) : context.strata.remove(id));
    expect(fs.existsSync(`/proc/${writer}`)).toBe(false);
    const why = what === 'start' ? 'was started' : 'was removed';
    expect(await copy).toMatchObject({ code: 'COPY_INTERRUPTED', message: expect.stringContaining(why) as unknown });
    await stream;
    goOn();
    if (what === 'start') expect(await sh(id, 'ls -A /root')).toBe('');
  });

  /** Somebody waits to read while another writes. */
  async function reading(id: string): Promise<{ stream: Promise<unknown> }> {
    const stream = failure(archiveOf(id).stat('/nowhere', false));
    await new Promise((resolve) => setImmediate(resolve));
    return { stream };
  }

  it('of a running container goes on when that ends, and is ended by its next start', async () => {
    const id = await context.strata.start({ command: ['sh', '-c', 'read x'], openStdin: true });
    const { source, taken, goOn } = halfAnArchive();
    const copy = archiveOf(id).put('/root', source, false);
    await taken;
    await context.strata.connection.request('container.kill', { container: id, signal: 'KILL' });
    await context.strata.connection.request('container.wait', { container: id });
    goOn();
    expect(await copy).toMatchObject({ entries: 1 });
    expect(await archiveOf(id).stat('/root/half', false)).toMatchObject({ sizeBytes: 3_000_000 });

    await context.strata.connection.request('container.start', { container: id });
    const second = halfAnArchive();
    const ended = failure(archiveOf(id).put('/root', second.source, false));
    await second.taken;
    await context.strata.connection.request('container.kill', { container: id, signal: 'KILL' });
    await context.strata.connection.request('container.wait', { container: id });
    await context.strata.connection.request('container.start', { container: id });
    expect(await ended).toMatchObject({ code: 'COPY_INTERRUPTED' });
    second.goOn();
  });

  it('is the only one that writes to a stopped container', async () => {
    const id = await stopped();
    const first = halfAnArchive();
    const one = archiveOf(id).put('/root', first.source, false);
    await first.taken;
    const two = archiveOf(id).put('/root', once(tar({ name: 'other', content: 'x' })), false);
    const gaveUp = new AbortController();
    const three = failure(archiveOf(id, gaveUp.signal).put('/root', once(tar({ name: 'third' })), false));
    gaveUp.abort();
    expect(await three).toMatchObject({ code: 'CANCELLED' });
    expect(copying()).toHaveLength(1);
    first.goOn();
    await one;
    await two;
    expect(await archiveOf(id).stat('/root/other', false)).toMatchObject({ sizeBytes: 1 });
  });

  it('dies with the helper, and its mounts with it', async () => {
    const id = await stopped();
    const { source, taken, goOn } = halfAnArchive();
    const copy = failure(archiveOf(id).put('/root', source, false));
    await taken;
    const [process] = copying();
    await context.strata.helper.crash();
    expect(await copy).toMatchObject({ code: 'CONNECTION_CLOSED' });
    await until(() => !fs.existsSync(`/proc/${process}`), 'the end of the process that copies');
    goOn();
    await context.strata.restart();
    // The upper is free again, for a writer too.
    await archiveOf(id).put('/root', once(tar({ name: 'after', content: 'x' })), false);
    await context.strata.connection.request('container.start', { container: id });
    expect(await sh(id, 'ls -A /root')).toBe('after\n');
  });
});

function refused(error: unknown): void {
  if (!(error instanceof StrataError) || !['PATH_NOT_FOUND', 'NOT_A_DIRECTORY', 'NOT_A_FILE', 'RUNTIME_FAILED'].includes(error.code))
    throw error;
}

function run(command: string, args: readonly string[]): Promise<{ status: number; stdout: string }> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let stdout = '';
  child.stdout.on('data', (bytes: Buffer) => {
    stdout += bytes.toString();
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ status: code ?? -1, stdout })));
}
