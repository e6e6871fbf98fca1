import { describe, expect, it } from 'vitest';
import { squashChoices } from '../../../extension/model/squashChoices.ts';
import type { HistoryEntry } from '../../../helper/protocol/index.ts';
import { digest } from './samples.ts';

const step = (createdBy: string, isLayer: boolean): HistoryEntry => ({
  createdAt: null,
  createdBy,
  comment: null,
  layer: isLayer ? { chainId: digest('a'), diffId: digest('b'), sizeBytes: 1 } : null,
});

describe('what an image can be squashed to', () => {
  it('names the highest layer that stays, and leaves two to become one', () => {
    const history = [
      step('CMD ["sh"]', false),
      step('COPY . /srv', true),
      step('RUN make', true),
      step('ENV A=b', false),
      step('ADD rootfs /', true),
    ];
    expect(squashChoices(history, 3)).toEqual([
      { keep: 0, squashed: 3, above: '' },
      { keep: 1, squashed: 2, above: 'ADD rootfs /' },
    ]);
  });

  it('has nothing to offer for one layer', () => {
    expect(squashChoices([step('ADD rootfs /', true)], 1)).toEqual([]);
  });

  it('does without a history', () => {
    expect(squashChoices([], 3).map(({ keep, above }) => [keep, above])).toEqual([
      [0, ''],
      [1, ''],
    ]);
  });
});
