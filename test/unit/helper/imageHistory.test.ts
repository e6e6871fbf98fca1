import { describe, expect, it } from 'vitest';
import { imageHistory } from '../../../helper/images/history.ts';
import { type ImageRecord, imageFormat, type LayerRecord, layerFormat } from '../../../helper/images/records.ts';
import { digestSchema, type ImageConfig, normalizeReference, repositoryOf } from '../../../helper/protocol/index.ts';
import { parseRecord } from '../../../helper/store/record.ts';

const digest = (digit: string) => digestSchema.parse(`sha256:${digit.repeat(64)}`);
const layer = (digit: string): LayerRecord => ({
  chainId: digest(digit),
  diffId: digest(digit),
  blob: null,
  sizeBytes: 7,
  entries: 1,
  createdAt: '2026-01-01T00:00:00Z',
});
const config = (history: ImageConfig['history']): ImageConfig => ({
  architecture: 'amd64',
  os: 'linux',
  rootfs: { type: 'layers', diff_ids: [] },
  ...(history === undefined ? {} : { history }),
});

describe('imageHistory', () => {
  it('gives each step that made one its layer', () => {
    const steps = [{ created_by: 'ADD' }, { created_by: 'ENV', empty_layer: true }, { created_by: 'RUN', created: 'yesterday' }];
    const entries = imageHistory(config(steps), [layer('a'), layer('b')]);
    expect(entries.map(({ createdBy, layer: made }) => [createdBy, made?.chainId])).toEqual([
      ['RUN', digest('b')],
      ['ENV', undefined],
      ['ADD', digest('a')],
    ]);
    expect(entries[0]?.createdAt).toBeNull();
  });
  it('guesses nothing where the history tells of fewer layers', () => {
    const entries = imageHistory(config([{ created_by: 'ADD' }]), [layer('a'), layer('b')]);
    expect(entries.map(({ createdBy, layer: made }) => [createdBy, made?.chainId])).toEqual([
      [null, digest('b')],
      [null, digest('a')],
      ['ADD', undefined],
    ]);
  });
  it('is the layers alone where there is none', () => {
    expect(imageHistory(config(undefined), [layer('a')])).toHaveLength(1);
  });
});

describe('records of the first helpers', () => {
  it('are brought up to date', () => {
    const { blob: _, ...old } = layer('a');
    const text = JSON.stringify({ formatVersion: 1, ...old, digest: digest('c') });
    expect(parseRecord(text, 'layer.json', layerFormat)).toEqual(layer('a'));
    const image = { id: digest('a'), chainIds: [digest('b')], importedAt: '2026-01-01T00:00:00Z' };
    const read: ImageRecord = parseRecord(JSON.stringify({ formatVersion: 1, ...image }), 'image.json', imageFormat);
    expect(read).toEqual({ ...image, manifest: null, repositoryDigests: [] });
  });
});

describe('repositoryOf', () => {
  it.each([
    ['debian:12', 'debian'],
    ['localhost:5000/a/b:1', 'localhost:5000/a/b'],
    ['localhost:5000/a', 'localhost:5000/a'],
    [`debian@${digest('a')}`, 'debian'],
  ])('%s', (reference, repository) => {
    expect(repositoryOf(reference)).toBe(repository);
    expect(repositoryOf(normalizeReference(reference))).toBe(repository);
  });
});
