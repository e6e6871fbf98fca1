import * as fs from 'node:fs';
import * as path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { MethodResult, Params } from '../../helper/protocol/index.ts';
import { distFile } from './support/helperProcess.ts';
import { ImageLayout, tarOf } from './support/imageLayout.ts';
import { failure, useStrata } from './support/strata.ts';

const context = useStrata();
const created = '2026-01-02T03:04:05Z';

let workspace: string;

beforeAll(async () => {
  workspace = fs.mkdtempSync('/tmp/strata-squash-');
  const layout = new ImageLayout(path.join(workspace, 'layout'));
  layout.add('many', [
    fs.readFileSync(distFile('images/busybox.tar')),
    tarOf(workspace, { 'a/one': 'one\n', 'a/two': 'two\n', 'b/three': 'three\n' }),
    tarOf(workspace, { 'a/.wh.one': '', 'a/two': 'again\n', 'b/.wh..wh..opq': '', 'b/four': 'four\n', 'bin/.wh.vi': '' }),
  ]);
  const source = { kind: 'ociLayout', path: layout.directory, name: 'many' } as const;
  await context.strata.connection.request('image.import', { source, reference: 'test/many:1' });
});

afterEach(async () => {
  for (const { id, references } of (await context.strata.connection.request('image.list', {})).images) {
    if (references.some((name) => name.startsWith('made')) || references.length === 0) {
      await context.strata.connection.request('image.remove', { image: id, force: true });
    }
  }
});

afterAll(() => fs.rmSync(workspace, { recursive: true }));

const squash = (more: Partial<Params<'image.squash'>> = {}): Promise<MethodResult<'image.squash'>> =>
  context.strata.connection.request('image.squash', { image: 'test/many:1', reference: 'made:1', created, ...more });

const look = 'cd / && find a b -type f | sort | xargs tail -n +1; ls bin/vi bin/cat';

describe('squash', () => {
  it.each([
    [0, 1],
    [1, 2],
  ])('shows the same with fewer layers, of which %i stay', async (keep, layerCount) => {
    const { strata } = context;
    const before = await strata.run({ image: 'test/many:1', command: ['sh', '-c', look], autoRemove: true });
    const { image } = await squash({ keep });
    expect(image).toMatchObject({ layerCount, references: ['made:1'] });
    const after = await strata.run({ image: 'made:1', command: ['sh', '-c', look], autoRemove: true });
    expect([after.stdout, after.status]).toEqual([before.stdout, before.status]);
    expect(before.stdout).toBe('==> a/two <==\nagain\n\n==> b/four <==\nfour\nbin/cat\n');

    const [own, whole] = await Promise.all(
      ['made:1', 'test/many:1'].map((name) => strata.connection.request('image.inspect', { image: name })),
    );
    expect(own?.chainIds.slice(0, keep)).toEqual(whole?.chainIds.slice(0, keep));
    expect(own?.config.config).toEqual(whole?.config.config);
    const { entries } = await strata.connection.request('image.history', { image: 'made:1' });
    expect(entries.map(({ createdBy }) => createdBy)).toEqual(['strata squash', ...Array<string>(keep).fill('test')]);
    // What the layers above had added and removed again is in none of them any more.
    expect(own?.sizeBytes).toBeLessThan(whole?.sizeBytes ?? 0);
  });

  it('makes the same image of the same content, which can be sent on', async () => {
    const { strata } = context;
    const { image } = await squash();
    expect((await squash({ reference: 'made:2' })).image.id).toBe(image.id);
    expect((await strata.cli(['save', '-o', path.join(workspace, 'made.tar'), 'made:1'])).status).toBe(0);
    await strata.connection.request('image.remove', { image: image.id, force: true });
    expect((await strata.cli(['load', '-q', '-i', path.join(workspace, 'made.tar')])).status).toBe(0);
    expect((await strata.connection.request('image.inspect', { image: 'made:1' })).id).toBe(image.id);
  });

  it('by the command line, with words where there is nothing to do', async () => {
    const { strata } = context;
    const made = await strata.cli(['squash', '--keep', '1', '--created', created, '-m', 'why not', 'test/many:1']);
    expect(made).toMatchObject({ status: 0, stderr: '' });
    const { entries } = await strata.connection.request('image.history', { image: made.stdout.trim() });
    expect(entries[0]).toMatchObject({ createdBy: 'strata squash', comment: 'why not' });
    const error = await failure(squash({ keep: 2 }));
    expect(error.code).toBe('INVALID_REQUEST');
    expect(error.message).toMatch(/"test\/many:1" has 3 layers/);
    expect((await failure(squash({ image: 'test/missing' }))).code).toBe('IMAGE_NOT_FOUND');
  });
});
