import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { distFile } from './support/helperProcess.ts';
import { ImageLayout, tarOf } from './support/imageLayout.ts';
import { failure, useStrata } from './support/strata.ts';

const context = useStrata();
// The padding makes another layer of it than that of the embedded image.
const busybox = Buffer.concat([fs.readFileSync(distFile('images/busybox.tar')), Buffer.alloc(10_240)]);
const largeBytes = 3_000_000;
const sharedBytes = 50_000;

/** A base, two images that stand on it, and one that holds the base's content over something else. */
let workspace: string;
let layout: ImageLayout;

beforeAll(() => {
  workspace = fs.mkdtempSync('/tmp/strata-images-');
  const child = tarOf(workspace, { 'data/large': randomBytes(largeBytes) });
  const other = tarOf(workspace, { 'data/small': 'small\n' });
  layout = new ImageLayout(path.join(workspace, 'layout'));
  layout.add('base', [busybox]);
  layout.add('child', [busybox, child]);
  layout.add('other', [busybox, other]);
  layout.add('upside-down', [other, busybox]);
  const shared = tarOf(workspace, { 'shared/data': randomBytes(sharedBytes) });
  layout.add('lower', [shared]);
  layout.add('upper', [shared, child]);
});

afterAll(() => fs.rmSync(workspace, { recursive: true }));

afterEach(() => context.strata.forgetImages());

async function add(name: string, reference = `test/${name}:1`): Promise<string> {
  const source = { kind: 'ociLayout', path: layout.directory, name } as const;
  return (await context.strata.connection.request('image.import', { source, reference })).image.id;
}

const blobs = (): string[] => fs.readdirSync(path.join(context.strata.place.root, 'blobs/sha256')).sort();
const layers = (): string[] => fs.readdirSync(path.join(context.strata.place.root, 'layers')).sort();

describe('the content store', () => {
  it('keeps manifest, config and layers byte for byte, each once, and lets go of them with the last image', async () => {
    const { connection } = context.strata;
    const [blobsBefore, layersBefore] = [blobs(), layers()];
    await add('child');
    await add('other');
    await add('upside-down');
    const original = fs.readdirSync(path.join(layout.directory, 'blobs/sha256'));
    const kept = blobs().filter((name) => !blobsBefore.includes(name));
    // Three manifests, three configs, three layers: of the five unpacked ones two have the content of others.
    expect(kept).toHaveLength(9);
    expect(original).toEqual(expect.arrayContaining(kept));
    for (const name of kept) {
      expect(fs.readFileSync(path.join(context.strata.place.root, 'blobs/sha256', name))).toEqual(
        fs.readFileSync(path.join(layout.directory, 'blobs/sha256', name)),
      );
    }
    expect(layers().filter((name) => !layersBefore.includes(name))).toHaveLength(5);
    const { manifest } = await connection.request('image.inspect', { image: 'test/child:1' });
    expect(kept).toContain(manifest?.slice('sha256:'.length));

    // What "upside-down" shares with "other" stays with it.
    await connection.request('image.remove', { image: 'test/other:1' });
    expect(blobs().filter((name) => !blobsBefore.includes(name))).toHaveLength(7);
    expect(await context.strata.sh('cat /data/small', { image: 'test/upside-down:1' })).toBe('small\n');
    await connection.request('image.remove', { image: 'test/upside-down:1' });
    await connection.request('image.remove', { image: 'test/child:1' });
    expect(blobs()).toEqual(blobsBefore);
    expect(layers()).toEqual(layersBefore);
  });

  it('is swept of what no image names when the helper starts', async () => {
    const { strata } = context;
    await add('child');
    const before = blobs();
    const stray = path.join(strata.place.root, 'blobs/sha256', 'a'.repeat(64));
    fs.writeFileSync(stray, 'left by a crash');
    await strata.helper.stop();
    await strata.restart();
    expect(blobs()).toEqual(before);
    expect(await strata.sh('wc -c < /data/large', { image: 'test/child:1' })).toBe(`${largeBytes}\n`);
  });
});

describe('names', () => {
  it('are given and taken, and move', async () => {
    const { strata } = context;
    const child = await add('child');
    expect(await strata.cli(['tag', 'test/child:1', 'localhost:5000/mine/app'])).toMatchObject({ status: 0 });
    const { images } = await strata.connection.request('image.list', {});
    expect(images.find(({ id }) => id === child)?.references).toEqual(['localhost:5000/mine/app:latest', 'test/child:1']);
    const other = await add('other');
    await strata.connection.request('image.tag', { image: other.slice(7, 19), reference: 'test/child:1' });
    expect((await strata.connection.request('image.inspect', { image: 'test/child:1' })).id).toBe(other);
    expect((await strata.cli(['rmi', 'localhost:5000/mine/app'])).stdout).toBe(
      `Untagged: localhost:5000/mine/app:latest\nRemoved: ${child}\n`,
    );
    const { stdout } = await strata.cli(['images', '-q', 'test/*']);
    expect(stdout).toBe(`${other.slice(7, 19)}\n`);
  });

  it.each([
    ['no image', 'test/missing', 'test/x:1', 'IMAGE_NOT_FOUND'],
    ['no name', 'busybox', 'UPPER:1', 'REFERENCE_INVALID'],
    ['a digest', 'busybox', `x@sha256:${'0'.repeat(64)}`, 'REFERENCE_INVALID'],
  ])('are refused: %s', async (_what, image, reference, code) => {
    expect((await failure(context.strata.connection.request('image.tag', { image, reference }))).code).toBe(code);
  });
});

describe('history', () => {
  it('tells each step, newest first, and what its layer takes', async () => {
    const { strata } = context;
    await add('child');
    const { entries } = await strata.connection.request('image.history', { image: 'test/child:1' });
    expect(entries).toHaveLength(2);
    expect(entries[0]).toMatchObject({ createdAt: '2026-01-01T00:00:00Z', createdBy: 'test', layer: { sizeBytes: largeBytes } });
    expect(entries[1]?.layer?.sizeBytes).not.toBe(largeBytes);
    expect((await strata.cli(['history', 'test/child:1'])).stdout).toMatch(/^DIFF ID.*\n[0-9a-f]{12} .* 2\.9 MiB .* test\n/);
  });
});

describe('disk usage', () => {
  it('counts what images share once', async () => {
    const { strata } = context;
    const before = await strata.connection.request('host.diskUsage', {});
    await add('lower');
    await add('upper');
    const usage = await strata.connection.request('host.diskUsage', {});
    const of = (reference: string) => usage.images.find(({ references }) => references.includes(reference));
    expect(of('test/lower:1')).toMatchObject({ sizeBytes: sharedBytes, uniqueBytes: 0, sharedBytes });
    const upper = of('test/upper:1');
    expect(upper).toMatchObject({ sizeBytes: sharedBytes + largeBytes, uniqueBytes: largeBytes, sharedBytes, containers: [] });
    expect(usage.layers.count - before.layers.count).toBe(2);
    expect(usage.layers.sizeBytes - before.layers.sizeBytes).toBe(sharedBytes + largeBytes);
    expect(usage.layers.reclaimableBytes - before.layers.reclaimableBytes).toBe(sharedBytes + largeBytes);
    expect(upper?.blobBytes).toBeGreaterThan(sharedBytes + largeBytes);
    expect(usage.blobs.sizeBytes - before.blobs.sizeBytes).toBeGreaterThan(upper?.blobBytes ?? 0);
    expect((await strata.cli(['system', 'df', '-v'])).stdout).toMatch(/Images +3 +0 .*\n[\s\S]*test\/upper:1 /);
  });

  it('tells what containers changed and wrote', async () => {
    const { strata } = context;
    await add('base');
    const { id, name } = await strata.connection.request('container.run', {
      options: { image: 'test/base:1', command: ['sh', '-c', 'head -c 100000 /dev/zero > /made; echo written; sleep 100'] },
    });
    try {
      await expect
        .poll(async () => (await strata.connection.request('host.diskUsage', {})).containers.find((container) => container.id === id))
        .toMatchObject({ name, running: true, upperBytes: 100_000 });
      const { layers: all, images } = await strata.connection.request('host.diskUsage', {});
      expect(images.find(({ references }) => references.includes('test/base:1'))?.containers).toEqual([name]);
      expect(all.reclaimableBytes).toBeLessThan(all.sizeBytes);
    } finally {
      await strata.connection.request('container.remove', { container: id, force: true });
    }
  });
});

describe('prune', () => {
  it('removes what has no name, and only says so when asked', async () => {
    const { strata } = context;
    const first = await add('child', 'test/moving:1');
    await add('other', 'test/moving:1');
    const planned = await strata.connection.request('image.prune', { dryRun: true });
    expect(planned).toMatchObject({ untagged: [], removed: [first] });
    expect(planned.reclaimedBytes).toBeGreaterThan(2 * largeBytes);
    expect((await strata.cli(['image', 'prune'])).stderr).toMatch(/--force/);
    expect((await strata.cli(['images', '-q', '--dangling'])).stdout).toBe(`${first.slice(7, 19)}\n`);
    expect((await strata.cli(['image', 'prune', '--force'])).stdout).toMatch(`Removed: ${first}\nFreed: `);
    expect((await strata.cli(['image', 'prune', '--force'])).stdout).toBe('Nothing to remove.\n');
    expect(await strata.sh('cat /data/small', { image: 'test/moving:1' })).toBe('small\n');
  });

  it('with all spares what containers use, what is too young, and what lacks the label', async () => {
    const { strata } = context;
    await add('child');
    await add('other');
    const { id } = await strata.connection.request('container.create', { options: { image: 'test/other:1' } });
    try {
      const young = await strata.connection.request('image.prune', { all: true, untilMs: Date.parse('2025-12-31T00:00:00Z') });
      expect(young.removed).toEqual([]);
      const labelled = await strata.connection.request('image.prune', { all: true, labels: ['keep=no'] });
      expect(labelled.removed).toEqual([]);
      const all = await strata.connection.request('image.prune', { all: true, untilMs: Date.parse('2026-01-02T00:00:00Z') });
      expect(all.untagged).toEqual(['test/child:1']);
    } finally {
      await strata.connection.request('container.remove', { container: id });
    }
    const rest = await strata.connection.request('image.list', {});
    expect(rest.images.map(({ references }) => references[0])).toContain('test/other:1');
  });
});
