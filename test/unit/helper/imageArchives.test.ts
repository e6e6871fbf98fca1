import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeHeader, padding, type TarHeader } from '../../../helper/archive/tarHeader.ts';
import { readTar } from '../../../helper/archive/tarReader.ts';
import { archiveBytes, archiveSize } from '../../../helper/images/archives/archiveBytes.ts';
import type { ArchivedImage } from '../../../helper/images/archives/archivedImage.ts';
import { findImages } from '../../../helper/images/archives/archivedImages.ts';
import { planArchive, type SavedContent } from '../../../helper/images/archives/archivePlan.ts';
import { DirectoryFiles } from '../../../helper/images/archives/layoutFiles.ts';
import { MemberFiles } from '../../../helper/images/archives/memberFiles.ts';
import { digestOf } from '../../../helper/images/contentStore.ts';
import { parsePlatform } from '../../../helper/images/platforms.ts';
import { StrataError } from '../../../helper/protocol/index.ts';

type Member = Partial<Omit<TarHeader, 'kind'>> & {
  name: string;
  kind?: 'file' | 'directory' | 'symlink' | 'hardlink';
  content?: Buffer | string;
};

let place: string;
beforeEach(() => {
  place = fs.mkdtempSync(path.join(tmpdir(), 'strata-archives-'));
});
afterEach(() => fs.rmSync(place, { recursive: true, force: true }));

function tar(members: readonly Member[]): Buffer {
  const blocks = members.flatMap(({ content = '', ...member }) => {
    const bytes = Buffer.from(content);
    const header = { kind: 'file' as const, mode: 0o644, mtimeMs: 0, linkName: '', ...member, sizeBytes: bytes.byteLength };
    return [encodeHeader(header), bytes, padding(bytes.byteLength)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

async function* inPieces(bytes: Buffer, size = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.byteLength; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

async function extract(bytes: Buffer): Promise<MemberFiles> {
  const directory = path.join(place, 'members');
  fs.rmSync(directory, { recursive: true, force: true });
  return await MemberFiles.extract(inPieces(bytes, bytes.byteLength > 1e6 ? 65_536 : 1000), directory, new AbortController().signal);
}

async function gathered<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    (value) => `no error, but ${JSON.stringify(value)}`,
    (error: unknown) => (error instanceof StrataError ? `${error.code}: ${error.message}` : String(error)),
  );
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const hex = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const blob = (bytes: Buffer): Member => ({ name: `blobs/sha256/${hex(bytes)}`, content: bytes });
const layerTar = (name: string): Buffer => tar([{ name, content: name }]);
const configOf = (layers: readonly Buffer[], architecture = 'amd64'): Buffer =>
  json({ architecture, os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: layers.map((layer) => `sha256:${hex(layer)}`) } });

const ociTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
};
const descriptor = (mediaType: string, bytes: Buffer, more: object = {}): object => ({
  mediaType,
  digest: `sha256:${hex(bytes)}`,
  size: bytes.byteLength,
  ...more,
});

/** An image's blobs, and its manifest. */
function ociImage(layers: readonly Buffer[], architecture = 'amd64'): { manifest: Buffer; config: Buffer; members: Member[] } {
  const config = configOf(layers, architecture);
  const manifest = json({
    schemaVersion: 2,
    config: descriptor(ociTypes.config, config),
    layers: layers.map((layer) => descriptor(ociTypes.layer, layer)),
  });
  return { manifest, config, members: [...layers, config, manifest].map(blob) };
}

function layout(manifests: readonly object[], members: readonly Member[]): Member[] {
  return [
    { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    { name: 'index.json', content: json({ schemaVersion: 2, manifests }) },
    ...members,
  ];
}

/** What docker 20.10 and older write: a directory for each layer. */
function oldDocker(layers: readonly Buffer[], tags: readonly string[] | null, more: readonly Member[] = []): Member[] {
  const config = configOf(layers);
  const names = layers.map((layer) => `${hex(Buffer.from(`id of ${hex(layer)}`))}/layer.tar`);
  return [
    ...layers.map((content, index): Member => ({ name: names[index] ?? '', content })),
    { name: `${hex(config)}.json`, content: config },
    ...more,
    { name: 'manifest.json', content: json([{ Config: `${hex(config)}.json`, RepoTags: tags, Layers: names }]) },
  ];
}

const any = { image: undefined, platform: undefined };
const load = async (members: readonly Member[], choice: { image?: string; platform?: string } = {}): Promise<ArchivedImage[]> =>
  await findImages(await extract(tar(members)), {
    image: choice.image,
    platform: choice.platform === undefined ? undefined : parsePlatform(choice.platform),
  });

describe('members of an archive', () => {
  it.each(['../outside', 'blobs/../../outside', '/outside', '..'])('refuses the name %s, and writes nothing there', async (name) => {
    expect(await codeOf(extract(tar([{ name, content: 'evil' }])))).toMatch(/^ARCHIVE_UNSAFE/);
    expect(fs.readdirSync(place)).toEqual(['members']);
    expect(fs.readdirSync(path.join(place, 'members'))).toEqual([]);
  });

  it('follows links among its members only, and never writes through one', async () => {
    const files = await extract(
      tar([
        { name: 'blobs', kind: 'symlink', linkName: '/etc' },
        { name: 'blobs/passwd', content: 'own' },
        { name: 'a/layer.tar', content: 'layer' },
        { name: './b/layer.tar', kind: 'symlink', linkName: '../a/layer.tar' },
        { name: 'c/layer.tar', kind: 'hardlink', linkName: './a/layer.tar' },
        { name: 'out', kind: 'symlink', linkName: '/etc/passwd' },
        { name: 'up', kind: 'symlink', linkName: '../../../../etc/passwd' },
        { name: 'loop', kind: 'symlink', linkName: 'loop' },
      ]),
    );
    const read = async (name: string): Promise<string | undefined> => {
      const found = await files.find(name);
      return found === undefined ? undefined : fs.readFileSync(found, 'utf8');
    };
    expect(await Promise.all(['a/layer.tar', 'b/layer.tar', 'c/layer.tar', 'blobs/passwd'].map(read))).toEqual([
      'layer',
      'layer',
      'layer',
      'own',
    ]);
    expect(await Promise.all(['out', 'up', 'loop', 'blobs/hosts', '../members/1', 'none'].map(read))).toEqual(Array(6).fill(undefined));
    for (const entry of fs.readdirSync(path.join(place, 'members'), { withFileTypes: true })) expect(entry.isFile()).toBe(true);
  });

  it('takes the last of several members of a name', async () => {
    const files = await extract(
      tar([
        { name: 'x', content: 'first' },
        { name: './x', content: 'last' },
      ]),
    );
    expect(fs.readFileSync((await files.find('x')) ?? '', 'utf8')).toBe('last');
    expect(fs.readdirSync(path.join(place, 'members'))).toHaveLength(1);
  });

  it('refuses what is cut off, has names without end, or is no archive', async () => {
    const whole = tar(oldDocker([layerTar('a')], ['x:1']));
    for (const length of [300, 1500, whole.byteLength - 3000]) {
      expect(await codeOf(extract(whole.subarray(0, length))), `${length}`).toMatch(/^ARCHIVE_CORRUPT/);
    }
    expect(await codeOf(extract(tar([{ name: 'x'.repeat(100_000) }])))).toMatch(/^ARCHIVE_TOO_LARGE/);
    expect(await codeOf(extract(Buffer.from('no tar'.repeat(500))))).toMatch(/^ARCHIVE_CORRUPT/);
  });
});

describe('what docker and podman save', () => {
  const [base, top] = [layerTar('base'), layerTar('top')];

  it('is read with names, config and layers', async () => {
    const [image, ...others] = await load(oldDocker([base, top], ['x:1', 'docker.io/library/x:2']));
    expect(others).toEqual([]);
    expect(image?.references).toEqual(['x:1', 'x:2']);
    expect(image?.configBytes.toString()).toBe(configOf([base, top]).toString());
    expect(image?.layers.map((layer) => fs.readFileSync(layer.path))).toEqual([base, top]);
    expect(image?.layers.map(({ diffId }) => diffId)).toEqual([base, top].map((layer) => `sha256:${hex(layer)}`));
    expect(image?.manifest).toBeUndefined();
  });

  it('may have no name', async () => {
    expect((await load(oldDocker([base], null)))[0]?.references).toEqual([]);
  });

  it('is chosen from by name and by id', async () => {
    const other = { name: 'other.json', content: configOf([top]) };
    const members = [
      ...oldDocker([base], ['x:1'], [other, { name: 'top.tar', content: top }]).slice(0, -1),
      {
        name: 'manifest.json',
        content: json([
          { Config: `${hex(configOf([base]))}.json`, RepoTags: ['x:1'], Layers: [`${hex(Buffer.from(`id of ${hex(base)}`))}/layer.tar`] },
          { Config: 'other.json', RepoTags: ['registry.test:5000/y:2'], Layers: ['top.tar'] },
        ]),
      },
    ];
    expect(await load(members)).toHaveLength(2);
    const files = await extract(tar(members));
    const chosen = async (image: string): Promise<string[]> =>
      (await findImages(files, { ...any, image })).flatMap(({ references }) => references);
    expect(await chosen('docker.io/library/x:1')).toEqual(['x:1']);
    expect(await chosen('registry.test:5000/y:2')).toEqual(['registry.test:5000/y:2']);
    expect(await chosen(hex(configOf([top])).slice(0, 12))).toEqual(['registry.test:5000/y:2']);
    expect(await codeOf(chosen('z'))).toMatch(/^IMAGE_NOT_FOUND: .*"z"/);
  });

  it.each<[string, (members: Member[]) => Member[], RegExp]>([
    ['a layer is missing', (members) => members.slice(1), /layer [0-9a-f]{64}\/layer.tar of x:1 .*is not in it/],
    ['its config is missing', (members) => members.filter(({ name }) => !/^[0-9a-f]{64}\.json$/.test(name)), /config .* is not in it/],
    [
      'its config is no config',
      (members) => members.map((one) => (/^[0-9a-f]{64}\.json$/.test(one.name) ? { ...one, content: '{}' } : one)),
      /config/,
    ],
    ['manifest.json is none', (members) => [...members, { name: 'manifest.json', content: '{"a":1}' }], /manifest.json/],
    [
      'manifest.json is huge',
      (members) => [...members, { name: 'manifest.json', content: Buffer.alloc(4 * 1024 ** 2 + 1, '[') }],
      /larger than 4 MiB/,
    ],
    [
      'manifest.json leads out',
      (members) => [...members, { name: 'manifest.json', content: json([{ Config: '../../etc/passwd', Layers: [] }]) }],
      /is not in it/,
    ],
    [
      'layers and config do not agree',
      (members) => [
        ...members,
        { name: 'manifest.json', content: json([{ Config: `${hex(configOf([base, top]))}.json`, Layers: ['x'] }]) },
      ],
      /names 1 layers and its config 2/,
    ],
    [
      'a name is none',
      (members) => [
        ...members,
        { name: 'manifest.json', content: json([{ Config: `${hex(configOf([base, top]))}.json`, RepoTags: ['A B'], Layers: [] }]) },
      ],
      /"A B" is no image name/,
    ],
  ])('is refused where %s', async (_what, spoil, message) => {
    const told = await codeOf(load(spoil(oldDocker([base, top], ['x:1']))));
    expect(told).toMatch(/^IMAGE_INVALID/);
    expect(told).toMatch(message);
  });

  it('is refused where it has more than 64 MiB of configs, also where they are one', async () => {
    const config = json({ ...(JSON.parse(configOf([base]).toString()) as object), pad: ''.padEnd(4_000_000) });
    const entry = { Config: 'config.json', RepoTags: ['x:1'], Layers: ['base.tar'] };
    const told = await codeOf(
      load([
        { name: 'config.json', content: config },
        { name: 'base.tar', content: base },
        { name: 'manifest.json', content: json(Array(20).fill(entry)) },
      ]),
    );
    expect(told).toMatch(/^ARCHIVE_TOO_LARGE: .*64 MiB/);
  });

  it('says what of another kind can be done', async () => {
    expect(await codeOf(load([{ name: 'repositories', content: '{}' }]))).toMatch(/Docker before version 1.10/);
    expect(await codeOf(load([{ name: 'etc/passwd', content: '' }]))).toMatch(/neither manifest.json nor oci-layout/);
  });
});

describe('an OCI image layout', () => {
  const image = ociImage([layerTar('base'), layerTar('top')]);
  const foreign = ociImage([layerTar('base')], 'riscv64');

  it('keeps its manifest byte for byte', async () => {
    const annotations = { 'io.containerd.image.name': 'docker.io/library/x:1', 'org.opencontainers.image.ref.name': '1' };
    const [found] = await load(layout([descriptor(ociTypes.manifest, image.manifest, { annotations })], image.members));
    expect(found?.manifest?.bytes.toString()).toBe(image.manifest.toString());
    expect(found?.references).toEqual(['x:1']);
  });

  it('takes a bare ref.name for a name, but names of manifest.json before it', async () => {
    const annotations = { 'org.opencontainers.image.ref.name': 'v1' };
    const members = layout([descriptor(ociTypes.manifest, image.manifest, { annotations })], image.members);
    expect((await load(members))[0]?.references).toEqual(['v1:latest']);
    const manifest = json([{ Config: `blobs/sha256/${hex(image.config)}`, RepoTags: ['x:v1'], Layers: [] }]);
    expect((await load([...members, { name: 'manifest.json', content: manifest }]))[0]?.references).toEqual(['x:v1']);
  });

  it('takes a name with a digest only where it is true', async () => {
    const named = (digest: string): Member[] => {
      const annotations = { 'io.containerd.image.name': `docker.io/library/x@sha256:${digest}` };
      return layout([descriptor(ociTypes.manifest, image.manifest, { annotations })], image.members);
    };
    expect((await load(named(hex(image.manifest))))[0]?.references).toEqual([`x@sha256:${hex(image.manifest)}`]);
    expect((await load(named('0'.repeat(64))))[0]?.references).toEqual([]);
  });

  it('chooses the platform, from an index and from descriptors beside each other', async () => {
    const entries = [
      descriptor(ociTypes.manifest, image.manifest, { platform: { os: 'linux', architecture: 'amd64' } }),
      descriptor(ociTypes.manifest, foreign.manifest, { platform: { os: 'linux', architecture: 'riscv64' } }),
      descriptor(ociTypes.manifest, Buffer.from('attestation'), { platform: { os: 'unknown', architecture: 'unknown' } }),
    ];
    const index = json({ schemaVersion: 2, mediaType: ociTypes.index, manifests: entries });
    for (const manifests of [[descriptor(ociTypes.index, index)], entries]) {
      const files = await extract(tar(layout(manifests, [...image.members, ...foreign.members, blob(index)])));
      const architectures = async (platform: string): Promise<string[]> =>
        (await findImages(files, { image: undefined, platform: parsePlatform(platform) })).map(({ config }) => config.architecture);
      expect(await architectures('linux/riscv64')).toEqual(['riscv64']);
      expect(await architectures('linux/amd64')).toEqual(['amd64']);
      expect(await codeOf(architectures('linux/s390x'))).toMatch(/^IMAGE_NOT_FOUND: .*linux\/s390x/);
    }
  });

  it('leaves out what is no image, and refuses a layout without any', async () => {
    const chart = json({
      schemaVersion: 2,
      config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: `sha256:${'0'.repeat(64)}`, size: 2 },
      layers: [],
    });
    const entry = descriptor(ociTypes.manifest, chart);
    expect(await load(layout([entry, descriptor(ociTypes.manifest, image.manifest)], [...image.members, blob(chart)]))).toHaveLength(1);
    expect(await codeOf(load(layout([entry], [blob(chart)])))).toMatch(/^IMAGE_INVALID: .*there is none in it/);
  });

  it.each<[string, (members: Member[]) => Member[], RegExp]>([
    ['a layer is missing', (members) => members.slice(1), /the layer sha256:[0-9a-f]{64} of .* is not in it/],
    [
      'a layer is shorter',
      (members) => members.map((one, index) => (index === 0 ? { ...one, content: 'short' } : one)),
      /has 5 bytes, not/,
    ],
    [
      'its config is another',
      (members) => members.map((one, index) => (index === 2 ? { ...one, content: '{}' } : one)),
      /config .* is not what its digest/,
    ],
    [
      'its manifest is another',
      (members) => members.map((one, index) => (index === 3 ? { ...one, content: '{}' } : one)),
      /manifest .* is not what its digest/,
    ],
  ])('is refused where %s', async (_what, spoil, message) => {
    const told = await codeOf(load(layout([descriptor(ociTypes.manifest, image.manifest)], spoil(image.members))));
    expect(told).toMatch(/^IMAGE_INVALID/);
    expect(told).toMatch(message);
  });

  it('refuses indexes in indexes without end', async () => {
    let inner = json({ schemaVersion: 2, manifests: [descriptor(ociTypes.manifest, image.manifest)] });
    const members = [...image.members, blob(inner)];
    for (let depth = 0; depth < 6; depth += 1) {
      inner = json({ schemaVersion: 2, manifests: [descriptor(ociTypes.index, inner)] });
      members.push(blob(inner));
    }
    expect(await codeOf(load(layout([descriptor(ociTypes.index, inner)], members)))).toMatch(/indexes within indexes/);
  });

  it('is read from a directory as from an archive, and through no link out of it', async () => {
    const members = layout([descriptor(ociTypes.manifest, image.manifest)], image.members);
    for (const { name, content = '' } of members) {
      fs.mkdirSync(path.dirname(path.join(place, name)), { recursive: true });
      fs.writeFileSync(path.join(place, name), content);
    }
    const files = new DirectoryFiles(place);
    expect(await findImages(files, any)).toHaveLength(1);
    fs.renameSync(path.join(place, 'index.json'), path.join(place, 'real'));
    fs.symlinkSync('real', path.join(place, 'index.json'));
    expect(await codeOf(findImages(files, any))).toMatch(/^IMAGE_INVALID: .*index.json is no regular file/);
    expect(await files.find('../x')).toBeUndefined();
  });
});

describe('an archive that is written', () => {
  const layers = [layerTar('base'), layerTar('top')];
  const image = ociImage(layers);

  function content(): SavedContent {
    const paths = layers.map((layer) => {
      const file = path.join(place, hex(layer));
      fs.writeFileSync(file, layer);
      return file;
    });
    const described = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: digestOf(bytes), size: bytes.byteLength });
    return {
      manifest: { bytes: image.manifest, descriptor: described(ociTypes.manifest, image.manifest) },
      config: { bytes: image.config, descriptor: described(ociTypes.config, image.config) },
      layers: layers.map((layer, index) => ({
        descriptor: described(ociTypes.layer, layer),
        path: paths[index] ?? '',
      })),
    };
  }

  async function written(format: 'docker-archive' | 'oci-archive'): Promise<Buffer> {
    const files = planArchive([{ content: content(), references: ['x:1', 'registry.test:5000/y:2'] }], format);
    const bytes = await gathered(archiveBytes(files));
    expect(Buffer.concat(bytes).byteLength).toBe(archiveSize(files));
    return Buffer.concat(bytes);
  }

  it('has the same bytes each time, and each blob once', async () => {
    const [first, second] = [await written('docker-archive'), await written('docker-archive')];
    expect(first.equals(second)).toBe(true);
    const names = (await gathered(readTar(inPieces(first)))).map(({ name }) => name);
    expect(names).toEqual([
      'oci-layout',
      'index.json',
      'manifest.json',
      ...[image.manifest, image.config, ...layers].map((bytes) => blob(bytes).name),
    ]);
  });

  it.each(['docker-archive', 'oci-archive'] as const)('is read back as it was (%s)', async (format) => {
    const [found, ...others] = await findImages(await extract(await written(format)), any);
    expect(others).toEqual([]);
    expect(found?.references).toEqual(['x:1', 'registry.test:5000/y:2']);
    expect(found?.manifest?.bytes.toString()).toBe(image.manifest.toString());
    expect(found?.layers.map(({ digest }) => digest)).toEqual(layers.map((layer) => digestOf(layer)));
  });

  it('ends with an error where a blob is no longer what its digest says', async () => {
    const files = planArchive([{ content: content(), references: [] }], 'oci-archive');
    const damaged = path.join(place, hex(layers[1] ?? Buffer.alloc(0)));
    for (const bytes of [Buffer.from(fs.readFileSync(damaged)).fill('x', 0, 3), Buffer.from('short')]) {
      fs.writeFileSync(damaged, bytes);
      expect(await codeOf(gathered(archiveBytes(files)))).toMatch(/^IMAGE_INVALID: the blob sha256:[0-9a-f]{64} is damaged/);
    }
  });
});
