import type { Change } from '../../helper/protocol/index.ts';
import { formatBytes } from './units.ts';

/** How a change is shown: a word for who cannot see the icon's colour. */
export const changeWords: Readonly<Record<Change['change'], { readonly word: string; readonly icon: string }>> = {
  A: { word: 'added', icon: 'diff-added' },
  C: { word: 'changed', icon: 'diff-modified' },
  D: { word: 'deleted', icon: 'diff-removed' },
};

export interface ChangeRow {
  /** "$(diff-added) /etc/motd" */
  readonly label: string;
  /** "added · 6 B" */
  readonly description: string;
  readonly change: Change;
}

/** A row of a list. Control characters of a container's names are shown as "?". Pure. */
export function changeRow(change: Change): ChangeRow {
  const { word, icon } = changeWords[change.change];
  const what = change.kind === 'file' ? formatBytes(change.sizeBytes) : change.kind;
  const path = change.path.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?').replaceAll('$(', '$\u200b(');
  return { label: `$(${icon}) ${path}`, description: `${word} · ${what}`, change };
}

/** "2 added, 1 deleted"; "nothing" where there is nothing. */
export function changesSummary(changes: readonly Change[]): string {
  const counts = (['A', 'C', 'D'] as const).map((kind) => ({
    word: changeWords[kind].word,
    count: changes.filter(({ change }) => change === kind).length,
  }));
  const parts = counts.filter(({ count }) => count > 0).map(({ word, count }) => `${count} ${word}`);
  return parts.length === 0 ? 'nothing' : parts.join(', ');
}
