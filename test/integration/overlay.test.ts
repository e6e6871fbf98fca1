import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Channel } from '../../helper/protocol/index.ts';
import { makeOciLayout } from './support/ociLayout.ts';
import { collect, failure, useStrata } from './support/strata.ts';

const context = useStrata();

/** An image of two layers above busybox's one, made by umoci: both have /which, the upper one also removes /bottom-only. */
async function importThreeLayers(): Promise<void> {
  const { strata } = context;
  const layout = makeOciLayout(strata.place.directory);
  await strata.connection.request('image.import', { source: { kind: 'ociLayout', path: layout }, reference: 'three:latest' });
}

describe('an image of several layers', () => {
  it('shows for each name the highest layer that has it, and upper above all', async () => {
    const { strata } = context;
    await importThreeLayers();
    const id = await strata.start({ image: 'three' });
    expect((await strata.exec(id, ['cat', '/which'])).stdout).toBe('top\n');
    expect((await strata.exec(id, ['cat', '/bottom-too'])).stdout).toBe('bottom\n');
    expect((await strata.exec(id, ['ls', '/bottom-only'])).status).not.toBe(0);
    expect((await strata.exec(id, ['ls', '-A', '/opaque'])).stdout).toBe('new\n');
    await strata.exec(id, ['sh', '-c', 'echo upper > /which']);
    expect((await strata.exec(id, ['cat', '/which'])).stdout).toBe('upper\n');
  });

  it('is listed top first with roles, sizes and what made each layer', async () => {
    const { strata } = context;
    await importThreeLayers();
    const id = await strata.start({ image: 'three' });
    const { layers } = await strata.connection.request('layer.stack', { kind: 'container', container: id });
    expect(layers.map((layer) => layer.role)).toEqual(['upper', 'init', 'image', 'image', 'image']);
    expect(layers.map((layer) => layer.index)).toEqual([0, 1, 2, 3, 4]);
    expect(layers.at(-1)?.sizeBytes).toBeGreaterThan(1_000_000);
    const { layers: ofImage } = await strata.connection.request('layer.stack', { kind: 'image', image: 'three' });
    expect(ofImage.map((layer) => layer.diffId)).toEqual(layers.slice(2).map((layer) => layer.diffId));
  });

  it('shares its layers with other images, and its removal keeps what they use', async () => {
    const { strata } = context;
    await importThreeLayers();
    await strata.connection.request('image.import', {
      source: { kind: 'ociLayout', path: makeOciLayout(strata.place.directory) },
      reference: 'again:latest',
    });
    await strata.connection.request('image.remove', { image: 'three' });
    expect(await strata.sh('cat /which', { image: 'again' })).toBe('top\n');
    await strata.connection.request('image.remove', { image: 'again' });
    expect((await failure(strata.connection.request('image.inspect', { image: 'again' }))).code).toBe('IMAGE_NOT_FOUND');
    expect(await strata.sh('echo still')).toBe('still\n');
  });
});

describe('the upper layer', () => {
  it('gets a 0:0 character device for a deleted file of a lower layer', async () => {
    const { strata } = context;
    const id = await strata.start();
    await strata.exec(id, ['rm', '/etc/passwd']);
    const { paths } = await strata.connection.request('container.inspect', { container: id });
    const whiteout = fs.lstatSync(`${paths.upper}/etc/passwd`);
    expect([whiteout.isCharacterDevice(), whiteout.rdev]).toEqual([true, 0]);
    const { entries } = await strata.connection.request('layer.list', {
      layer: { kind: 'upper', container: (await strata.find(id)).id },
      path: '/etc',
    });
    expect(entries).toEqual([expect.objectContaining({ name: 'passwd', kind: 'whiteout' })]);
  });

  it('never holds the files that Strata writes', async () => {
    const { strata } = context;
    const id = await strata.start({ hostname: 'box' });
    expect((await strata.exec(id, ['cat', '/etc/hostname'])).stdout).toBe('box\n');
    expect((await strata.exec(id, ['cat', '/etc/hosts'])).stdout).toMatch(/127\.0\.0\.1\s+localhost/);
    const { paths } = await strata.connection.request('container.inspect', { container: id });
    expect(fs.readdirSync(paths.upper)).toEqual([]);
  });

  it('survives stop and start, and is gone with the container', async () => {
    const { strata } = context;
    const id = await strata.start();
    await strata.exec(id, ['sh', '-c', 'echo kept > /kept']);
    await strata.connection.request('container.stop', { container: id, graceMs: 0 });
    await strata.connection.request('container.start', { container: id });
    expect((await strata.exec(id, ['cat', '/kept'])).stdout).toBe('kept\n');
    const { paths } = await strata.connection.request('container.inspect', { container: id });
    await strata.remove(id);
    expect(fs.existsSync(paths.upper)).toBe(false);
  });
});

describe('files of a layer', () => {
  it('are listed and read', async () => {
    const { strata } = context;
    const { layers } = await strata.connection.request('layer.stack', { kind: 'image', image: 'busybox' });
    const layer = layers.at(0)?.reference;
    if (layer === undefined) throw new Error('busybox has no layer');
    const { entries } = await strata.connection.request('layer.list', { layer, path: '/' });
    expect(entries.map((entry) => entry.name)).toEqual(expect.arrayContaining(['bin', 'etc', 'tmp']));
    const read = await strata.connection.request('layer.read', { layer, path: '/etc/passwd' });
    const { bytes } = await collect(strata.connection.stream(read.stream));
    expect(bytes).toMatch(/^root:/);
    expect(read.sizeBytes).toBe(bytes.length);
  });

  it('never lead out of the layer', async () => {
    const { strata } = context;
    const id = await strata.start();
    await strata.exec(id, [
      'sh',
      '-c',
      'ln -s /etc/shadow /abs; ln -s ../../../../../../../../etc/shadow /rel; ln -s / /root-link; mkfifo /fifo',
    ]);
    const layer = { kind: 'upper', container: (await strata.find(id)).id } as const;
    for (const path of ['/abs', '/rel', '/root-link/etc/shadow', '/../../../../../../etc/shadow', '/fifo']) {
      const error = await failure(strata.connection.request('layer.read', { layer, path }));
      expect(['PATH_NOT_FOUND', 'NOT_A_FILE', 'INVALID_REQUEST'], path).toContain(error.code);
    }
    expect(Channel.bytes).toBe(3);
  });
});
