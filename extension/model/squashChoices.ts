import type { HistoryEntry } from '../../helper/protocol/index.ts';
import { historySteps } from './historySteps.ts';

/** A layer up to which an image can stay as it is. */
export interface SquashChoice {
  /** Layers at the bottom that stay. */
  readonly keep: number;
  /** Layers that become one. */
  readonly squashed: number;
  /** What made the highest of those that stay: "RUN make install"; '' where all become one, or nothing says it. */
  readonly above: string;
}

/** Pure. All become one first, then with more and more that stay; empty where there is nothing to squash. `history` is newest first. */
export function squashChoices(history: readonly HistoryEntry[], layerCount: number): readonly SquashChoice[] {
  const steps = historySteps(history);
  const choices: SquashChoice[] = [];
  for (let keep = 0; keep < layerCount - 1; keep += 1) {
    const step = steps.find(({ layer }) => layer === keep);
    const above = step === undefined ? '' : `${step.instruction} ${step.rest}`.trim();
    choices.push({ keep, squashed: layerCount - keep, above });
  }
  return choices;
}
