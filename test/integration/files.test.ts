import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { StrataError, type ViewEntry, type ViewReference } from '../../helper/protocol/index.ts';
import { upload } from '../../helper/wire/upload.ts';
import { collect, failure, useStrata } from './support/strata.ts';

const context = useStrata();
const maps = [{ containerId: 0, hostId: 200_000, size: 65_536 }];
const userNamespace = { uidMaps: maps, gidMaps: maps };

async function sh(container: string, script: string): Promise<string> {
  const result = await context.strata.exec(container, ['sh', '-c', script]);
  expect(result, result.stderr).toMatchObject({ status: 0 });
  return result.stdout;
}

function container(id: string, layers?: number): ViewReference {
  return { kind: 'container', container: id, layers };
}

async function list(view: ViewReference, path: string): Promise<ViewEntry[]> {
  const { entries, truncated } = await context.strata.connection.request('view.list', { view, path });
  expect(truncated).toBe(false);
  return entries;
}

async function stat(view: ViewReference, path: string, follow = false): Promise<ViewEntry> {
  return (await context.strata.connection.request('view.stat', { view, path, follow })).entry;
}

async function read(view: ViewReference, path: string): Promise<string> {
  const { connection } = context.strata;
  const { stream } = await connection.request('view.read', { view, path });
  return (await collect(connection.stream(stream))).bytes;
}

async function write(id: string, path: string, text: string, how: { create?: boolean; replace?: boolean; sizeBytes?: number } = {}) {
  const { connection } = context.strata;
  const bytes = Buffer.from(text);
  async function* source(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(bytes);
  }
  await upload(connection, source(), (stream) =>
    connection.request('file.write', { container: id, path, stream, sizeBytes: bytes.byteLength, create: true, replace: true, ...how }),
  );
}

/** One line an entry, as `stat` in the container prints it. */
function lineOf(path: string, { kind, mode, uid, gid, sizeBytes, mtimeMs, linkTarget }: ViewEntry): string {
  const size = kind === 'file' ? sizeBytes : '-';
  return [path, kind, mode.toString(8), uid, gid, size, Math.floor(mtimeMs / 1000), linkTarget ?? ''].join(' ');
}

const kernelDirectories = new Set(['/proc', '/sys', '/dev']);

async function seen(view: ViewReference, directory = '/'): Promise<string[]> {
  const lines: string[] = [];
  for (const entry of await list(view, directory)) {
    const path = `${directory === '/' ? '' : directory}/${entry.name}`;
    if (kernelDirectories.has(path)) continue;
    lines.push(lineOf(path, entry));
    if (entry.kind === 'directory') lines.push(...(await seen(view, path)));
  }
  return lines;
}

/** The same, told by the container. */
async function told(id: string): Promise<string[]> {
  const kinds = new Map([
    ['regular file', 'file'],
    ['regular empty file', 'file'],
    ['symbolic link', 'symlink'],
  ]);
  const found = await sh(
    id,
    `find / \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -mindepth 1 -print | while read -r f; do echo "$(stat -c '%n|%F|%a|%u|%g|%s|%Y' "$f")|$(readlink "$f")"; done`,
  );
  const lines = found
    .trim()
    .split('\n')
    .map((line) => {
      const [path, kind = '', mode, uid, gid, size, time, target] = line.split('|');
      const is = kinds.get(kind) ?? kind;
      return [path, is, mode, uid, gid, is === 'file' ? size : '-', time, target].join(' ');
    });
  return lines;
}

const sorted = (lines: readonly string[]): string[] => [...lines].sort();

const changes =
  'mkdir -p /new/deep && echo text > /new/deep/file && rm /etc/passwd && rm -r /var && mkdir /var && touch /var/mine && ' +
  'cp -a /etc /stash && rm -r /stash/group && mv /stash /kept && chown 7:8 /kept && chmod 600 /etc/group && ln -s /etc /link && ln /etc/group /hard && mkfifo /pipe && ' +
  'mkdir -p /root/a && mv /root/a /root/b && echo 1 > /root/b/one';

describe.each([
  { kind: 'a container', options: {} },
  { kind: 'a container with a user namespace', options: { userNamespace } },
])('the files of $kind', ({ options }) => {
  it('are those that it sees itself, while it runs and when it has ended', async () => {
    const id = await context.strata.start(options);
    await sh(id, changes);
    const inside = sorted(await told(id));
    expect(sorted(await seen(container(id)))).toEqual(inside);
    expect((await list(container(id), '/proc')).map(({ name }) => name)).toContain('self');
    expect(await read(container(id), '/new/deep/file')).toBe('text\n');

    await context.strata.connection.request('container.stop', { container: id, graceMs: 0 });
    expect(sorted(await seen(container(id)))).toEqual(inside);
    expect(await read(container(id), '/link/../new/deep/file')).toBe('text\n');
    expect(await failure(stat(container(id), '/etc/passwd'))).toMatchObject({ code: 'PATH_NOT_FOUND' });
    // Nothing is mounted on a stopped one.
    expect(await list(container(id), '/proc')).toEqual([]);
  });

  it('are written as its root would, and keep their mode and owner', async () => {
    const id = await context.strata.start(options);
    await sh(id, 'chown 7:8 /etc/group && chmod 640 /etc/group && ln -s group /etc/link');
    await write(id, '/etc/link', 'mine\n');
    await write(id, '/etc/made', 'new\n', { replace: false });
    expect(await sh(id, 'cat /etc/group /etc/made && stat -c "%a %u %g" /etc/group /etc/made && readlink /etc/link')).toBe(
      'mine\nnew\n640 7 8\n644 0 0\ngroup\n',
    );
    const { connection } = context.strata;
    await connection.request('file.makeDirectory', { container: id, path: '/made' });
    await connection.request('file.rename', { container: id, path: '/etc/made', to: '/made/it' });
    expect(await sh(id, 'stat -c "%a %u %g" /made && cat /made/it')).toBe('755 0 0\nnew\n');
    expect(await failure(connection.request('file.remove', { container: id, path: '/made' }))).toMatchObject({
      code: 'DIRECTORY_NOT_EMPTY',
    });
    await connection.request('file.remove', { container: id, path: '/made', recursive: true });
    expect(await sh(id, 'test -e /made || echo gone')).toBe('gone\n');

    // And one that does not run.
    await connection.request('container.stop', { container: id, graceMs: 0 });
    await write(id, '/etc/group', 'later\n');
    expect(await read(container(id), '/etc/link')).toBe('later\n');
    expect(await stat(container(id), '/etc/group')).toMatchObject({ mode: 0o640, uid: 7, gid: 8 });
  });
});

it('refuses what would be lost, and says why', async () => {
  const id = await context.strata.start();
  const { connection } = context.strata;
  expect(await failure(write(id, '/etc/group', 'x', { replace: false }))).toMatchObject({ code: 'PATH_EXISTS' });
  expect(await failure(write(id, '/etc/none', 'x', { create: false }))).toMatchObject({ code: 'PATH_NOT_FOUND' });
  expect(await failure(write(id, '/etc/group', 'x', { sizeBytes: 2 }))).toMatchObject({
    code: 'INVALID_REQUEST',
    hint: expect.stringContaining('nothing was changed') as unknown,
  });
  expect(await failure(write(id, '/etc', 'x'))).toMatchObject({ code: 'NOT_A_FILE' });
  expect(await failure(connection.request('file.makeDirectory', { container: id, path: '/etc' }))).toMatchObject({ code: 'PATH_EXISTS' });
  expect(await failure(connection.request('file.rename', { container: id, path: '/etc', to: '/other' }))).toMatchObject({
    code: 'RENAME_IMPOSSIBLE',
    hint: expect.stringContaining('"mv" in a shell') as unknown,
  });
  expect(await failure(connection.request('file.remove', { container: id, path: '/proc', recursive: true }))).toMatchObject({
    code: 'PATH_MOUNTED',
  });
  expect(await failure(read(container(id), '/etc'))).toMatchObject({ code: 'NOT_A_FILE' });
  expect(await failure(read(container(id), '/dev/zero'))).toMatchObject({ code: 'NOT_A_FILE' });
  expect(await failure(list(container(id), '/etc/group'))).toMatchObject({ code: 'NOT_A_DIRECTORY' });
  expect(await sh(id, 'test -s /etc/group && ls /proc/self/status')).toBe('/proc/self/status\n');
  expect(await read(container(id), '/proc/1/comm')).not.toBe('');
});

it('shows and writes what is mounted in a container that runs, and leaves the mount alone', async () => {
  const id = await context.strata.start({ tmpfs: { '/scratch': 'size=1m' } });
  await sh(id, 'echo hidden > /scratch/in && mkdir /d && ln -s /scratch /d/link');
  expect((await list(container(id), '/scratch')).map(({ name }) => name)).toEqual(['in']);
  await write(id, '/d/link/made', 'here\n');
  expect(await sh(id, 'cat /scratch/made')).toBe('here\n');
  const { connection } = context.strata;
  expect(await failure(write(id, '/scratch/in', 'x'.repeat(2 << 20)))).toMatchObject({ code: 'NO_SPACE' });
  expect(await read(container(id), '/scratch/in')).toBe('hidden\n');
  for (const [method, params] of [
    ['file.remove', { container: id, path: '/scratch', recursive: true }],
    ['file.rename', { container: id, path: '/scratch', to: '/other' }],
  ] as const)
    expect(await failure(connection.request(method, params))).toMatchObject({ code: 'PATH_MOUNTED' });
  expect(await sh(id, 'cat /scratch/in')).toBe('hidden\n');
  await connection.request('file.remove', { container: id, path: '/d', recursive: true });
  expect(await sh(id, 'ls /scratch')).toBe('in\nmade\n');
});

it('says that a root file system can only be read', async () => {
  const id = await context.strata.start({ readOnlyRootfs: true });
  expect(await stat(container(id), '/etc/group')).toMatchObject({ readOnly: true });
  expect(await failure(write(id, '/etc/group', 'x'))).toMatchObject({
    code: 'READ_ONLY',
    message: expect.stringContaining("write '/etc/group'") as unknown,
  });
  const { connection } = context.strata;
  expect(await failure(connection.request('file.remove', { container: id, path: '/etc', recursive: true }))).toMatchObject({
    code: 'READ_ONLY',
  });
  await connection.request('container.stop', { container: id, graceMs: 0 });
  expect(await stat(container(id), '/etc/group')).toMatchObject({ readOnly: true });
  expect(await failure(write(id, '/etc/group', 'x'))).toMatchObject({ code: 'READ_ONLY' });
});

it('never leaves the container, whatever its links say', async () => {
  const secret = fs.readFileSync('/etc/shadow', 'utf8');
  const id = await context.strata.start();
  await sh(
    id,
    'rm -f /etc/shadow && ln -s /etc/shadow /root/shadow && ln -s ../../../../../../../../etc/shadow /root/up && ln -s /proc/1/root/etc/shadow /root/magic && ln -s / /root/top',
  );
  const look = async (): Promise<void> => {
    for (const path of [
      '/root/shadow',
      '/root/up',
      '/root/magic',
      '/root/top/etc/shadow',
      '/../../etc/shadow',
      '/root/../../../etc/shadow',
    ])
      expect((await failure(read(container(id), path))).code).toBe('PATH_NOT_FOUND');
  };
  await look();
  expect((await list(container(id), '/root')).map(({ name, linkKind }) => [name, linkKind])).toEqual([
    ['magic', undefined],
    ['shadow', undefined],
    ['top', 'directory'],
    ['up', undefined],
  ]);
  // It is made in the container, or not at all.
  await write(id, '/root/top/etc/shadow', 'ours\n');
  expect(await read(container(id), '/root/up')).toBe('ours\n');
  await context.strata.connection.request('file.remove', { container: id, path: '/root/top' });
  expect(fs.readFileSync('/etc/shadow', 'utf8')).toBe(secret);
  await sh(id, 'rm /etc/shadow');
  await context.strata.connection.request('container.stop', { container: id, graceMs: 0 });
  for (const path of ['/root/shadow', '/root/up', '/root/magic'])
    expect((await failure(read(container(id), path))).code).toBe('PATH_NOT_FOUND');
});

it('swaps directories for links while its files are read, written and removed, and nothing of the host is', async () => {
  const host = fs.mkdtempSync('/tmp/strata-files-');
  fs.mkdirSync(`${host}/d`);
  fs.writeFileSync(`${host}/d/secret`, 'of the host');
  const id = await context.strata.start();
  // The same path leads to a directory of its own and, by a link, to where the host's is.
  await sh(id, `mkdir -p /race/real/d ${host}/d && echo own > /race/real/d/secret && echo decoy > ${host}/d/secret`);
  const swapper = context.strata.exec(id, [
    'sh',
    '-c',
    `cd /race; while [ ! -e /stop ]; do rm -f cur; ln -s ${host} cur; rm -f cur; ln -s /race/real cur; rm -f cur; mkdir -p cur/d; rm -rf cur; done`,
  ]);
  const { connection } = context.strata;
  const seen = new Set<string>();
  const unlessRefused = async (request: Promise<unknown>): Promise<unknown> =>
    await request.catch((error: unknown) => {
      if (!(error instanceof StrataError) || error.code === 'INTERNAL') throw error;
    });
  for (let round = 0; round < 60; round += 1) {
    const content = await unlessRefused(read(container(id), '/race/cur/d/secret'));
    if (typeof content === 'string') seen.add(content);
    await unlessRefused(write(id, '/race/cur/d/made', 'by the editor'));
    await unlessRefused(connection.request('file.makeDirectory', { container: id, path: '/race/cur/d/sub' }));
    await unlessRefused(
      connection.request('file.rename', { container: id, path: '/race/cur/d/made', to: '/race/cur/d/other', replace: true }),
    );
    await unlessRefused(connection.request('file.remove', { container: id, path: '/race/cur/d', recursive: true }));
  }
  await sh(id, 'touch /stop');
  await swapper;
  expect([...seen].filter((text) => text !== 'own\n' && text !== 'decoy\n')).toEqual([]);
  expect(fs.readdirSync(`${host}/d`)).toEqual(['secret']);
  expect(fs.readFileSync(`${host}/d/secret`, 'utf8')).toBe('of the host');
  fs.rmSync(host, { recursive: true });
});

it('shows an image as of each of its layers', async () => {
  const { connection } = context.strata;
  const commit = async (image: string, script: string, reference: string): Promise<void> => {
    const { id } = await context.strata.run({ image, command: ['sh', '-c', script] });
    await connection.request('container.commit', { container: id, reference });
    await context.strata.remove(id);
  };
  await commit('busybox', 'echo one > /one; rm /etc/group', 'files:1');
  await commit('files:1', 'echo two > /one; mkdir /etc/group; rm -r /root; mkdir /root', 'files:2');
  const image = (layers?: number): ViewReference => ({ kind: 'image', image: 'files:2', layers });
  expect(await stat(image(1), '/etc/group')).toMatchObject({ kind: 'file', readOnly: true });
  expect(await failure(stat(image(1), '/one'))).toMatchObject({ code: 'PATH_NOT_FOUND' });
  expect(await read(image(2), '/one')).toBe('one\n');
  expect(await failure(stat(image(2), '/etc/group'))).toMatchObject({ code: 'PATH_NOT_FOUND' });
  expect(await read(image(), '/one')).toBe('two\n');
  expect(await stat(image(), '/etc/group')).toMatchObject({ kind: 'directory' });
  expect(await failure(list(image(4), '/'))).toMatchObject({ code: 'LAYER_NOT_FOUND', message: 'there are 3 layers, not 4' });

  // A container of it, as of a layer: the same, while it runs, too.
  const id = await context.strata.start({ image: 'files:2' });
  await sh(id, 'echo three > /one');
  expect(await read(container(id, 2), '/one')).toBe('one\n');
  expect(await read(container(id), '/one')).toBe('three\n');
  expect(await stat(container(id, 2), '/one')).toMatchObject({ readOnly: true });
  await context.strata.remove(id);
  await context.strata.forgetImages();
});
