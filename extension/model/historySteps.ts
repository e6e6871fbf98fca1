import type { HistoryEntry } from '../../helper/protocol/index.ts';

/** A step of an image's history as a row has it: "layer 3 · 12 MiB · RUN apt-get …", or "ENV · PATH=…" where it made no layer. */
export interface HistoryStep {
  readonly entry: HistoryEntry;
  /** Layers are counted from the bottom, as a Dockerfile is read. */
  readonly layer: number | undefined;
  /** "RUN", "ENV"; '' where the step says nothing. */
  readonly instruction: string;
  readonly rest: string;
}

/** A history line as people wrote it: without the shell that a builder put before it, and what it put behind. */
export function instructionOf(createdBy: string): string {
  return createdBy
    .replace(/^(RUN )?\|\d+ .*?\/bin\/sh -c /, 'RUN ')
    .replace(/^\/bin\/sh -c #\(nop\)\s+/, '')
    .replace(/^(RUN )?\/bin\/sh -c /, 'RUN ')
    .replace(/\s*# buildkit$/, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

/** Pure. `history` is newest first, as the helper gives it. */
export function historySteps(history: readonly HistoryEntry[]): readonly HistoryStep[] {
  let layers = history.filter(({ layer }) => layer !== null).length;
  return history.map((entry) => {
    const words = instructionOf(entry.createdBy ?? entry.comment ?? '');
    const instruction = /^[A-Z]{2,}(?= |$)/.exec(words)?.[0] ?? '';
    const layer = entry.layer === null ? undefined : layers--;
    return { entry, layer, instruction, rest: words.slice(instruction.length).trim() };
  });
}
