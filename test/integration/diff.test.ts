import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES, encodeHeader } from '../../helper/archive/tarHeader.ts';
import type { Change } from '../../helper/protocol/index.ts';
import { ContainerArchive } from '../../helper/wire/containerArchive.ts';
import { importTar } from './support/archives.ts';
import { failure, useStrata } from './support/strata.ts';

const context = useStrata();
const maps = [{ containerId: 0, hostId: 200_000, size: 65_536 }];
const userNamespace = { uidMaps: maps, gidMaps: maps };

async function changes(container: string): Promise<Change[]> {
  const found: Change[] = [];
  for await (const change of new ContainerArchive(context.strata.connection, container).changes()) found.push(change);
  return found;
}

/** As docker diff prints them, without what a start makes. */
async function lines(container: string): Promise<string[]> {
  return (await changes(container)).map(({ change, path }) => `${change} ${path}`);
}

async function sh(container: string, script: string): Promise<void> {
  const result = await context.strata.exec(container, ['sh', '-c', script]);
  expect(result, result.stderr).toMatchObject({ status: 0 });
}

describe.each([
  { kind: 'a container', options: {} },
  { kind: 'a container with a user namespace', options: { userNamespace } },
])('$kind', ({ options }) => {
  it('has no changes of its own', async () => {
    expect(await lines(await context.strata.start(options))).toEqual([]);
  });

  it('tells what was added, changed and deleted', async () => {
    const id = await context.strata.start(options);
    await sh(
      id,
      'mkdir -p /new/deep && echo text > /new/deep/file && echo more >> /etc/group && rm /etc/passwd && ln -s x /link && mkfifo /root/pipe',
    );
    expect(await lines(id)).toEqual([
      'C /etc',
      'C /etc/group',
      'D /etc/passwd',
      'A /link',
      'A /new',
      'A /new/deep',
      'A /new/deep/file',
      'C /root',
      'A /root/pipe',
    ]);
    expect((await changes(id)).filter(({ path }) => /passwd|file|link|pipe/.test(path))).toEqual([
      { change: 'D', path: '/etc/passwd', kind: 'file', sizeBytes: expect.any(Number) as unknown },
      { change: 'A', path: '/link', kind: 'symlink', sizeBytes: 0 },
      { change: 'A', path: '/new/deep/file', kind: 'file', sizeBytes: 5 },
      { change: 'A', path: '/root/pipe', kind: 'fifo', sizeBytes: 0 },
    ]);
    // And when it has ended, the same.
    await context.strata.connection.request('container.stop', { container: id, graceMs: 0 });
    expect(await lines(id)).toContain('D /etc/passwd');
  });

  it('does not count what was copied up and is as it was', async () => {
    const id = await context.strata.start(options);
    // Opened for writing it is copied up; its content and time stay.
    await sh(
      id,
      'touch -r /etc/group /tmp/ref && chmod 600 /etc/group && chmod 644 /etc/group && touch -r /tmp/ref /etc/group && rm /tmp/ref',
    );
    const { paths } = await context.strata.connection.request('container.inspect', { container: id });
    expect(fs.existsSync(`${paths.upper}/etc/group`)).toBe(true);
    expect(await lines(id)).toEqual([]);
    await sh(id, 'chmod 600 /etc/group');
    expect(await lines(id)).toEqual(['C /etc', 'C /etc/group']);
  });

  it('tells what a directory lost that was made anew', async () => {
    const id = await context.strata.start(options);
    await sh(
      id,
      'mkdir /stash && cp -a /etc/group /stash && rm -r /etc && mkdir -m 755 /etc && cp -a /stash/group /etc/group && echo x > /etc/mine && rm -r /stash',
    );
    const found = await lines(id);
    expect(found[0]).toBe('C /etc');
    expect(found).toEqual(expect.arrayContaining(['D /etc/passwd', 'D /etc/hosts', 'A /etc/mine']));
    // It is back as it was.
    expect(found.filter((line) => line.endsWith('/etc/group'))).toEqual([]);
  });
});

describe('what a container writes to mislead', () => {
  it('changes no more than itself: attributes of its own, links in the place of directories', async () => {
    const id = await context.strata.start({ capAdd: ['SYS_ADMIN'] });
    await sh(id, 'mkdir /d && touch /d/f && rm -r /root && ln -s /etc /root');
    const { paths } = await context.strata.connection.request('container.inspect', { container: id });
    const { execFileSync } = await import('node:child_process');
    // What a container can write through its mount: user.*.
    execFileSync('setfattr', ['-n', 'user.overlay.opaque', '-v', 'y', `${paths.upper}/d`]);
    execFileSync('setfattr', ['-n', 'user.overlay.whiteout', '-v', 'y', `${paths.upper}/d/f`]);
    expect(await lines(id)).toEqual(['A /d', 'A /d/f', 'C /root']);
  });

  it('names are told as they are, and never steer a terminal', async () => {
    const id = await context.strata.start();
    await sh(id, `printf x > "/$(printf 'a\\033[2J\\nb')"`);
    expect(await lines(id)).toEqual(['A /a\u001b[2J\nb']);
    const printed = await context.strata.cli(['diff', '--json', id]);
    expect(printed.stdout).toBe(`{"change":"A","path":"/a\\u001b[2J\\nb","kind":"file","sizeBytes":1}\n`);
  });
});

it('compares with all layers of the image, their whiteouts too', async () => {
  const { connection } = context.strata;
  const directory = (name: string) => encodeHeader({ name, kind: 'directory', sizeBytes: 0, mode: 0o755, mtimeMs: 0, linkName: '' });
  const bytes = Buffer.concat([
    directory('a/'),
    directory('a/b/'),
    encodeHeader({ name: 'a/b/f', kind: 'file', sizeBytes: 0, mode: 0o644, mtimeMs: 0, linkName: '' }),
    Buffer.alloc(2 * BLOCK_BYTES),
  ]);
  await importTar(connection, bytes, 'plain:1');
  const { id } = await connection.request('container.create', { options: { image: 'plain:1', command: ['x'] } });
  const archive = new ContainerArchive(connection, id);
  expect(await lines(id)).toEqual([]);
  const file = encodeHeader({ name: 'g', kind: 'file', sizeBytes: 0, mode: 0o644, mtimeMs: 0, linkName: '' });
  await archive.put(
    '/a/b',
    (async function* () {
      yield await Promise.resolve(Buffer.concat([file, Buffer.alloc(2 * BLOCK_BYTES)]));
    })(),
    false,
  );
  expect(await lines(id)).toEqual(['C /a', 'C /a/b', 'A /a/b/g']);
});

it('is printed as docker diff does', async () => {
  const id = await context.strata.start();
  await sh(id, 'touch /x');
  expect(await context.strata.cli(['diff', id])).toEqual({ status: 0, stdout: 'A /x\n', stderr: '' });
  expect((await context.strata.cli(['diff', 'nobody'])).stderr).toContain('there is no container "nobody"');
});

/** More than a stream carries before somebody reads it. */
const manyFiles = 'mkdir /many && cd /many && p=$(head -c 200 /dev/zero | tr "\\0" x) && seq 1 3000 | sed "s/^/$p/" | xargs touch';

it('is streamed, however long it is, and ends where nobody reads it', async () => {
  const id = await context.strata.start();
  await sh(id, manyFiles);
  expect((await changes(id)).length).toBe(1 + 3000);
  for await (const _ of new ContainerArchive(context.strata.connection, id).changes()) break;
  await context.strata.remove(id);
  expect(await failure(new ContainerArchive(context.strata.connection, id).stat('/', false))).toMatchObject({
    code: 'CONTAINER_NOT_FOUND',
  });
});

it('is refused where too many ask and do not read, which keeps nobody from copying', async () => {
  const id = await context.strata.start();
  const { connection } = context.strata;
  await sh(id, manyFiles);
  // Nobody reads them, so their processes wait.
  const streams = await Promise.all(Array.from({ length: 16 }, () => connection.request('container.diff', { container: id })));
  expect(await failure(connection.request('container.diff', { container: id }))).toMatchObject({
    code: 'TOO_MANY_REQUESTS',
    message: '16 comparisons are under way already',
  });
  expect(await new ContainerArchive(connection, id).stat('/many', false)).toMatchObject({ kind: 'directory' });
  for (const { stream } of streams) connection.stream(stream).close();
});

/** "metadata /etc/group (mode)", without the directories that are listed for what is in them. */
async function details(container: string): Promise<string[]> {
  const found: string[] = [];
  for await (const change of new ContainerArchive(context.strata.connection, container).changes({ details: true })) {
    if (change.detail === 'contains') continue;
    found.push(`${change.detail ?? '?'} ${change.path}${change.differs === undefined ? '' : ` (${change.differs.join(' ')})`}`);
  }
  return found;
}

describe.each([
  { kind: 'details of a container', options: {} },
  { kind: 'details of a container with a user namespace', options: { userNamespace } },
])('$kind', ({ options }) => {
  it('tell content from metadata, and both from what was only copied up', async () => {
    const id = await context.strata.start(options);
    await sh(
      id,
      [
        'echo more >> /etc/passwd',
        'touch -r /etc/group /tmp/ref && chmod 600 /etc/group && touch -r /tmp/ref /etc/group && rm /tmp/ref',
        'chmod 644 /etc/hostname && rm -r /home && ln -s /etc /home',
        'touch /new && rm /etc/shadow',
      ].join(' && '),
    );
    const found = await details(id);
    expect(found).toEqual(
      expect.arrayContaining([
        'modified /etc/passwd (content mtime)',
        'metadata /etc/group (mode)',
        'typeChanged /home (type)',
        'added /new',
      ]),
    );
    expect(found.filter((line) => line.includes('/etc/shadow'))).toEqual(['deleted /etc/shadow']);
    // A mode that is put back: it stays in the upper directory, and is as it was.
    await sh(id, 'chmod 644 /etc/group');
    expect(await details(id)).toContain('copiedUp /etc/group');
    expect((await lines(id)).filter((line) => line.includes('group'))).toEqual([]);
  });

  it('find other bytes of the same length and time', async () => {
    const id = await context.strata.start(options);
    await sh(id, 'touch -r /etc/group /tmp/ref && sed -i s/root/toor/ /etc/group && touch -r /tmp/ref /etc/group && rm /tmp/ref');
    expect(await details(id)).toContain('modified /etc/group (content)');
  });

  it('say which layer has what is below', async () => {
    const { connection } = context.strata;
    const id = await context.strata.start(options);
    await sh(id, 'echo more >> /etc/passwd');
    const { layers } = await connection.request('layer.stack', { kind: 'container', container: id });
    const found: Change[] = [];
    for await (const change of new ContainerArchive(connection, id).changes({ details: true })) found.push(change);
    const layer = layers[found.find(({ path }) => path === '/etc/passwd')?.below?.layer ?? -1];
    if (layer === undefined) throw new Error('nothing is said to be below /etc/passwd');
    expect(layer.role).toBe('image');
    const { entry } = await connection.request('layer.stat', { layer: layer.reference, path: '/etc/passwd' });
    expect(entry.kind).toBe('file');
  });
});

it('names that are no UTF-8 come with their bytes', async () => {
  const id = await context.strata.start();
  await sh(id, `touch "/$(printf 'a\\377')"`);
  const found: Change[] = [];
  for await (const change of new ContainerArchive(context.strata.connection, id).changes({ details: true })) found.push(change);
  expect(found).toMatchObject([{ detail: 'added', path: '/a\u00ff', pathHex: '2f61ff' }]);
});

it('is printed with words on request', async () => {
  const id = await context.strata.start();
  await sh(id, 'touch /x && chmod 711 /root && ln -s y /tmp/l');
  const printed = await context.strata.cli(['diff', '--detail', id]);
  expect(printed.stdout.split('\n')).toEqual(['metadata      /root (mode)', 'added         /tmp/l', 'added         /x', '']);
  const json = await context.strata.cli(['diff', '--detail', '--json', id]);
  expect(json.stdout).toContain('{"change":"A","path":"/x","kind":"file","sizeBytes":0,"detail":"added"}\n');
  expect((await context.strata.cli(['diff', '--tar', '-', '--json', id])).stderr).toContain('--tar goes without');
});

it('is exported as a layer, which makes the same of its image', async () => {
  const id = await context.strata.start();
  await sh(id, 'echo text > /x && rm /etc/passwd && mkdir /d');
  const file = `${context.strata.place.directory}/changes.tar`;
  expect(await context.strata.cli(['diff', '--tar', file, id])).toMatchObject({ status: 0, stderr: '' });
  const { execFileSync } = await import('node:child_process');
  const names = execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).split('\n');
  expect(names).toEqual(expect.arrayContaining(['d/', 'etc/.wh.passwd', 'x']));
  expect(execFileSync('tar', ['-xOf', file, 'x'], { encoding: 'utf8' })).toBe('text\n');
  expect(names).not.toContain('etc/hosts');
});

describe('who watches', () => {
  /** When the next change is told, in ms from now. */
  async function told(times: AsyncGenerator<void>): Promise<number> {
    const begun = performance.now();
    expect((await times.next()).done).toBe(false);
    return performance.now() - begun;
  }

  it('is told within half a second of a write, of running containers and stopped ones, and of nothing else', async () => {
    const { connection } = context.strata;
    const id = await context.strata.start();
    const other = await context.strata.start();
    const times = new ContainerArchive(connection, id).changeTimes();
    await told(times); // it watches
    for (const script of ['echo x > /new', 'echo x >> /new', 'chmod 600 /new', 'echo x >> /etc/passwd', 'mkdir -p /a/b/c', 'rm /new']) {
      await sh(id, 'true');
      const next = told(times);
      await sh(id, script);
      expect(await next, script).toBeLessThan(1000);
    }
    // What others write is nothing of it.
    const next = times.next();
    await sh(other, 'echo x > /new');
    const silence = new Promise((resolve) => setTimeout(() => resolve('silence'), 500));
    expect(await Promise.race([next, silence])).toBe('silence');
    await connection.request('container.stop', { container: id, graceMs: 0 });
    await context.strata.cli(['cp', '/etc/hostname', `${id}:/copied`]);
    expect((await next).done).toBe(false);
    await times.return(undefined);
  });

  it('hears of the end', async () => {
    const id = await context.strata.start();
    const times = new ContainerArchive(context.strata.connection, id).changeTimes();
    await told(times);
    const ended = failure(times.next());
    await context.strata.remove(id);
    expect(await ended).toMatchObject({ code: 'CONTAINER_NOT_FOUND' });
  });
});
