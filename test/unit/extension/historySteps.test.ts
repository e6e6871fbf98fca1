import { describe, expect, it } from 'vitest';
import { historySteps, instructionOf } from '../../../extension/model/historySteps.ts';
import type { HistoryEntry } from '../../../helper/protocol/index.ts';
import { digest } from './samples.ts';

const step = (createdBy: string | null, sizeBytes?: number): HistoryEntry => ({
  createdAt: null,
  createdBy,
  comment: null,
  layer: sizeBytes === undefined ? null : { chainId: digest('a'), diffId: digest('b'), sizeBytes },
});

describe('the history of an image', () => {
  it.each([
    ['/bin/sh -c #(nop)  CMD ["bash"]', 'CMD ["bash"]'],
    ['/bin/sh -c apt-get update   && apt-get install', 'RUN apt-get update && apt-get install'],
    ['RUN /bin/sh -c make # buildkit', 'RUN make'],
    ['|1 A=b /bin/sh -c make', 'RUN make'],
    ['COPY . /src # buildkit', 'COPY . /src'],
    ['bazel build ...', 'bazel build ...'],
  ])('%s', (createdBy, words) => expect(instructionOf(createdBy)).toBe(words));

  it('counts layers from the bottom and leaves out what made none', () => {
    const steps = historySteps([step('CMD ["sh"]'), step('RUN make', 5), step('ENV A=b'), step(null, 7)]);
    expect(steps.map(({ layer, instruction, rest }) => [layer, instruction, rest])).toEqual([
      [undefined, 'CMD', '["sh"]'],
      [2, 'RUN', 'make'],
      [undefined, 'ENV', 'A=b'],
      [1, '', ''],
    ]);
  });
});
