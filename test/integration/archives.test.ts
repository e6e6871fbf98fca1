import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Channel, type MethodResult, type Params } from '../../helper/protocol/index.ts';
import { loadArchive } from '../../helper/wire/imageArchives.ts';
import { LoopStore } from '../bench/store.ts';
import { distFile, HelperProcess, makePlace } from './support/helperProcess.ts';
import { goArchitecture, ImageLayout, tarOf } from './support/imageLayout.ts';
import { leftovers, removeCgroupParent } from './support/leaks.ts';
import { failure, until, useStrata } from './support/strata.ts';

const context = useStrata();
type Loaded = MethodResult<'image.load'>['images'];
type Choice = Omit<Params<'image.load'>, 'source'>;

let workspace: string;
let layout: ImageLayout;
// The padding makes another layer of it than that of the embedded image.
const busybox = Buffer.concat([fs.readFileSync(distFile('images/busybox.tar')), Buffer.alloc(10_240)]);
let top: Buffer;

beforeAll(() => {
  workspace = fs.mkdtempSync('/tmp/strata-archives-');
  top = tarOf(workspace, { 'made/here': 'content\n', 'made/large': Buffer.alloc(3_000_000, 'abcdefgh') });
  layout = new ImageLayout(path.join(workspace, 'layout'));
  layout.add('one', [busybox, top]);
  layout.add('two', [busybox]);
});
afterAll(() => fs.rmSync(workspace, { recursive: true, force: true }));
afterEach(async () => {
  await context.strata.forgetImages();
  expect(fs.readdirSync(path.join(context.strata.place.root, 'tmp'))).toEqual([]);
});

const fresh = (name: string): string => path.join(fs.mkdtempSync(path.join(workspace, 'x-')), name);
const skopeo = (...words: string[]): string => execFileSync('skopeo', ['--insecure-policy', ...words], { encoding: 'utf8' });
const tarred = (directory: string, ...options: string[]): Buffer =>
  execFileSync('tar', ['-c', '-C', directory, ...options, ...fs.readdirSync(directory)], { maxBuffer: 1e9 });

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.byteLength; at += 100_000) yield await Promise.resolve(bytes.subarray(at, at + 100_000));
}

const load = (bytes: Buffer, choice: Choice = {}): Promise<Loaded> => loadArchive(context.strata.connection, once(bytes), choice);
const names = (loaded: Loaded): string[] => loaded.flatMap(({ references }) => references);

async function listed(): Promise<string[]> {
  return (await context.strata.connection.request('image.list', {})).images.flatMap(({ references }) => references).sort();
}

function dockerArchive(...tags: string[]): string {
  const file = fresh('docker.tar');
  const [first = 'x:1', ...others] = tags;
  const additional = others.flatMap((tag) => ['--additional-tag', tag]);
  skopeo('copy', '-q', ...additional, `oci:${layout.directory}:one`, `docker-archive:${file}:${first}`);
  return file;
}

describe('load', () => {
  it('takes a docker-archive with all its names, and it runs', async () => {
    const loaded = await load(fs.readFileSync(dockerArchive('test/x:1', 'test/x:2')));
    expect(names(loaded)).toEqual(['test/x:1', 'test/x:2']);
    expect(loaded).toHaveLength(1);
    expect(await listed()).toEqual(['busybox:latest', 'test/x:1', 'test/x:2']);
    expect(await context.strata.sh('cat /made/here', { image: 'test/x:2' })).toBe('content\n');
    const manifest = JSON.parse(skopeo('inspect', '--raw', `oci:${layout.directory}:one`)) as { config: { digest: string } };
    expect(loaded[0]?.image.id).toBe(manifest.config.digest);
  });

  it.each([
    ['gzip', ['gzip', '-c']],
    ['zstd', ['zstd', '-qc']],
    ['xz', ['xz', '-1c']],
  ] as const)('takes an OCI archive that is compressed with %s, and keeps its blobs byte for byte', async (_name, [command, ...args]) => {
    const archive = execFileSync(command, args, { input: tarred(layout.directory), maxBuffer: 1e9 });
    expect(names(await load(archive)).sort()).toEqual(['one:latest', 'two:latest']);
    const blobs = path.join(context.strata.place.root, 'blobs/sha256');
    for (const name of fs.readdirSync(path.join(layout.directory, 'blobs/sha256'))) {
      const kept = fs.readFileSync(path.join(blobs, name));
      expect(createHash('sha256').update(kept).digest('hex')).toBe(name);
    }
    expect(await context.strata.sh('cat /made/here', { image: 'one' })).toBe('content\n');
  });

  it('takes what umoci made, from the directory and by the command line', async () => {
    const directory = fresh('umoci');
    execFileSync('umoci', ['init', '--layout', directory]);
    execFileSync('umoci', ['new', '--image', `${directory}:made`]);
    const bundle = fresh('bundle');
    execFileSync('umoci', ['unpack', '--image', `${directory}:made`, bundle]);
    execFileSync('tar', ['-xf', distFile('images/busybox.tar'), '-C', `${bundle}/rootfs`]);
    fs.writeFileSync(`${bundle}/rootfs/by-umoci`, 'yes\n');
    execFileSync('umoci', ['repack', '--image', `${directory}:made`, bundle]);
    const result = await context.strata.cli(['load', '-i', directory]);
    expect(result).toMatchObject({ status: 0, stdout: 'Loaded image: made:latest\n' });
    expect(await context.strata.sh('cat /by-umoci', { image: 'made' })).toBe('yes\n');
    // Somebody's directory stays theirs.
    expect(fs.readdirSync(`${directory}/blobs/sha256`).length).toBeGreaterThanOrEqual(3);
  });

  it('takes a file and the standard input of the command line, and says what it loaded', async () => {
    const file = dockerArchive('test/cli:1');
    const result = await context.strata.cli(['load', '-i', file]);
    expect(result.stdout).toBe('Loaded image: test/cli:1\n');
    expect(result.stderr.split('\n').filter((line) => line.includes(': loaded, '))).toHaveLength(2);
    const piped = execFileSync(
      'sh',
      [
        '-c',
        `"$0" -- "$1" --socket "$2" load -q --json < "$3"`,
        process.execPath,
        distFile('cli.cjs'),
        context.strata.place.socketPath,
        file,
      ],
      {
        encoding: 'utf8',
      },
    );
    expect(JSON.parse(piped)).toMatchObject([{ references: ['test/cli:1'] }]);
    expect(await context.strata.cli(['load', '-i', `${file}.none`])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/cannot read .*\.none/) as unknown,
    });
  });

  it('loads of several images the one that is asked for', async () => {
    expect(names(await load(tarred(layout.directory), { image: 'two' }))).toEqual(['two:latest']);
    expect(await listed()).toEqual(['busybox:latest', 'two:latest']);
    const error = await failure(load(tarred(layout.directory), { image: 'three' }));
    expect(error).toMatchObject({ code: 'IMAGE_NOT_FOUND', hint: expect.stringContaining('"one:latest"') as unknown });
  });

  it('loads the platform that is asked for', async () => {
    const several = new ImageLayout(fresh('several'));
    several.addIndex('test/several:1', { [goArchitecture()]: [busybox], riscv64: [top] });
    const archive = tarred(several.directory);
    expect((await load(archive))[0]?.image.architecture).toBe(goArchitecture());
    expect((await load(archive, { platform: 'linux/riscv64' }))[0]?.image).toMatchObject({
      architecture: 'riscv64',
      references: ['test/several:1'],
    });
    const error = await failure(load(archive, { platform: 'linux/s390x' }));
    expect(error).toMatchObject({ code: 'IMAGE_NOT_FOUND', hint: expect.stringContaining('linux/riscv64') as unknown });
    expect(error.message).toContain('test/several:1');
  });

  it('loads an image without a name', async () => {
    const file = fresh('nameless.tar');
    skopeo('copy', '-q', `oci:${layout.directory}:one`, `oci-archive:${file}`);
    const [loaded] = await load(fs.readFileSync(file));
    expect(loaded?.references).toEqual([]);
    expect(await context.strata.sh('cat /made/here', { image: loaded?.image.id ?? '' })).toBe('content\n');
  });

  it('tells how far each layer is', async () => {
    const told: string[] = [];
    const stop = context.strata.connection.onEvent((event, params) => {
      if (event === 'image.transferring' && 'layers' in params) told.push(params.layers.map(({ state }) => state).join());
    });
    await load(tarred(layout.directory), { image: 'one', progress: 7 });
    stop();
    expect(told.at(-1)).toBe('done,done');
  });
});

describe('what is wrong with an archive', () => {
  const layerNames = (): string[] => fs.readdirSync(path.join(context.strata.place.root, 'layers')).sort();

  it.each<[string, (directory: string, blobs: string[]) => void, RegExp]>([
    [
      'a layer is another',
      (_, [largest = '']) => fs.writeFileSync(largest, Buffer.from(fs.readFileSync(largest)).fill('x', 500_000, 500_010)),
      /layer sha256:[0-9a-f]{64}/,
    ],
    ['a layer is missing', (_, [largest = '']) => fs.rmSync(largest), /layer sha256:[0-9a-f]{64}.*is not in it/],
    [
      'a layer is a link out of it',
      (_, [largest = '']) => {
        fs.rmSync(largest);
        fs.symlinkSync('/etc/passwd', largest);
      },
      /layer sha256:[0-9a-f]{64}.*is not in it/,
    ],
    [
      'its blobs are elsewhere',
      (directory) => {
        fs.renameSync(`${directory}/blobs`, `${directory}-blobs`);
        fs.symlinkSync(`${directory}-blobs`, `${directory}/blobs`);
      },
      /is not in it/,
    ],
  ])('is told, and nothing stays: %s', async (_what, spoil, message) => {
    const layersBefore = layerNames();
    const damaged = fresh('damaged');
    execFileSync('cp', ['-a', layout.directory, damaged]);
    const bySize = fs.readdirSync(`${damaged}/blobs/sha256`).map((name) => `${damaged}/blobs/sha256/${name}`);
    bySize.sort((a, b) => fs.statSync(b).size - fs.statSync(a).size);
    spoil(damaged, bySize);
    const error = await failure(load(tarred(damaged)));
    expect(['IMAGE_INVALID', 'ARCHIVE_CORRUPT']).toContain(error.code);
    expect(error.message).toMatch(message);
    expect(await listed()).toEqual(['busybox:latest']);
    expect(layerNames()).toEqual(layersBefore);
    expect((await load(tarred(layout.directory))).length).toBe(2);
  });

  it('names the image and the layer; those before it stay', async () => {
    const several = new ImageLayout(fresh('several'));
    several.add('good', [busybox]);
    several.add('bad', [busybox, top]);
    const blobs = path.join(several.directory, 'blobs/sha256');
    const { layers } = JSON.parse(skopeo('inspect', '--raw', `oci:${several.directory}:bad`)) as { layers: { digest: string }[] };
    const damaged = layers[1]?.digest ?? '';
    const file = path.join(blobs, damaged.slice(7));
    fs.writeFileSync(file, Buffer.from(fs.readFileSync(file)).fill('x', 100, 110));
    const error = await failure(load(tarred(several.directory)));
    expect(error.message).toMatch(new RegExp(`cannot load the image "bad:latest": .*${damaged}`));
    expect(await listed()).toEqual(['busybox:latest', 'good:latest']);
    expect(await context.strata.sh('echo works', { image: 'good' })).toBe('works\n');
  });

  it.each([
    ['cut off', (tar: Buffer) => tar.subarray(0, tar.byteLength / 2), 'ARCHIVE_CORRUPT'],
    [
      'cut off while it is compressed',
      (tar: Buffer) => execFileSync('xz', ['-0c'], { input: tar, maxBuffer: 1e9 }).subarray(0, 200_000),
      'ARCHIVE_CORRUPT',
    ],
    ['no archive', () => Buffer.from('hello '.repeat(1000)), 'ARCHIVE_CORRUPT'],
    ['bzip2', (tar: Buffer) => execFileSync('bzip2', ['-c'], { input: tar, maxBuffer: 1e9 }), 'ARCHIVE_UNSUPPORTED'],
    ['a root file system', () => fs.readFileSync(distFile('images/busybox.tar')), 'IMAGE_INVALID'],
    ['empty', () => Buffer.alloc(0), 'IMAGE_INVALID'],
  ])('is refused where it is %s', async (_what, spoil, code) => {
    expect((await failure(load(spoil(tarred(layout.directory))))).code).toBe(code);
  });

  it('is refused where it climbs out', async () => {
    const { directory } = context.strata.place;
    fs.writeFileSync(`${directory}/evil`, 'evil');
    const tar = execFileSync('tar', ['-c', '-P', '-C', directory, '--transform', 's,^,../../../,', 'evil']);
    expect((await failure(load(tar))).code).toBe('ARCHIVE_UNSAFE');
  });

  it('is refused where it unpacks to more than anybody packs', async () => {
    const bomb = execFileSync('sh', ['-c', 'head -c 600000000 /dev/zero | zstd -qc -3'], { maxBuffer: 1e9 });
    // A frame of its own for the header of a member of 600 MB, which the zeros fill.
    const head = execFileSync('sh', ['-c', 'truncate -s 600000000 zeros && tar -cf - zeros | head -c 512 | zstd -qc'], {
      cwd: path.dirname(fresh('x')),
    });
    const error = await failure(load(Buffer.concat([head, bomb])));
    expect(error.code).toBe('ARCHIVE_TOO_LARGE');
  });
});

describe('a load that ends early', () => {
  it('leaves nothing when its client goes', async () => {
    const { strata } = context;
    const client = await strata.helper.connect();
    const { stream: id } = await client.request('image.openUpload', {});
    const stream = client.stream(id);
    stream.consume({ data: () => {} });
    const lost = failure(client.request('image.load', { source: { kind: 'stream', stream: id } }));
    const archive = tarred(layout.directory);
    await stream.write(Channel.bytes, archive.subarray(0, 200_000));
    const tmp = path.join(strata.place.root, 'tmp');
    await until(() => fs.readdirSync(tmp).some((name) => name.startsWith('load-')), 'the load to begin');
    client.close();
    expect((await lost).code).toBe('CONNECTION_CLOSED');
    await until(() => fs.readdirSync(tmp).length === 0, 'the load to end');
    expect(await listed()).toEqual(['busybox:latest']);
  });

  it('is swept by the next start after a crash, and works then', async () => {
    const { strata } = context;
    const { stream: id } = await strata.connection.request('image.openUpload', {});
    const stream = strata.connection.stream(id);
    stream.consume({ data: () => {} });
    const lost = failure(strata.connection.request('image.load', { source: { kind: 'stream', stream: id } }));
    const archive = tarred(layout.directory);
    await stream.write(Channel.bytes, archive.subarray(0, 200_000));
    const tmp = path.join(strata.place.root, 'tmp');
    await until(() => fs.readdirSync(tmp).some((name) => name.startsWith('load-')), 'the load to begin');
    await strata.helper.crash();
    expect((await lost).code).toBe('CONNECTION_CLOSED');
    expect(fs.readdirSync(tmp)).not.toEqual([]);
    await strata.restart();
    expect(fs.readdirSync(tmp)).toEqual([]);
    expect(names(await load(archive)).sort()).toEqual(['one:latest', 'two:latest']);
  });
});

describe('a disk that is full', () => {
  it.each([
    ['is received', 12],
    ['is unpacked', 6],
  ])('is named, and nothing stays: while the archive %s', async (_what, mebibytes) => {
    const large = new ImageLayout(fresh('large'));
    large.add('large', [tarOf(workspace, { 'large/data': randomBytes(mebibytes * 1024 ** 2) })]);
    const store = new LoopStore(16);
    const place = { ...makePlace(), root: path.join(store.directory, 'root') };
    const helper = await HelperProcess.start(place);
    const connection = await helper.connect();
    try {
      const error = await failure(loadArchive(connection, once(tarred(large.directory)), {}));
      expect(error).toMatchObject({ code: 'NO_SPACE' });
      expect((await connection.request('image.list', {})).images).toHaveLength(1);
      expect(fs.readdirSync(`${place.root}/tmp`)).toEqual([]);
    } finally {
      connection.close();
      await helper.stop();
      expect(leftovers(place)).toMatchObject({ mounts: [], cgroups: [], processes: [] });
      removeCgroupParent(place);
      store[Symbol.dispose]();
      fs.rmSync(place.directory, { recursive: true });
    }
  });
});
