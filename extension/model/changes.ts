import type { Change, ChangeDifference } from '../../helper/protocol/index.ts';
import { formatBytes } from './units.ts';

export type ChangeGroup = 'added' | 'modified' | 'metadata' | 'deleted' | 'copiedUp';

interface GroupLook {
  readonly label: string;
  /** On its rows: a letter, and a colour of Git's, for which themes have one. */
  readonly letter: string;
  readonly color: string;
  /** How many rows there may be: VS Code makes each anew whenever something changes. */
  readonly maxRows: number;
}

/** In their order. */
export const changeGroups: Readonly<Record<ChangeGroup, GroupLook>> = {
  added: { label: 'Added', letter: 'A', color: 'gitDecoration.addedResourceForeground', maxRows: 5000 },
  modified: { label: 'Modified', letter: 'M', color: 'gitDecoration.modifiedResourceForeground', maxRows: 5000 },
  metadata: { label: 'Metadata Only', letter: 'P', color: 'gitDecoration.renamedResourceForeground', maxRows: 2000 },
  deleted: { label: 'Deleted', letter: 'D', color: 'gitDecoration.deletedResourceForeground', maxRows: 5000 },
  copiedUp: { label: 'Copied Up Unchanged', letter: '=', color: 'gitDecoration.ignoredResourceForeground', maxRows: 1000 },
};
export const changeGroupIds = Object.keys(changeGroups) as readonly ChangeGroup[]; // Object.keys loses the keys

/** Undefined: a directory that is listed for what is in it alone. Pure. */
export function groupOf({ detail }: Change): ChangeGroup | undefined {
  switch (detail) {
    case 'added':
    case 'modified':
    case 'metadata':
    case 'deleted':
    case 'copiedUp':
      return detail;
    case 'typeChanged':
      return 'modified';
    case 'contains':
    case undefined:
      return undefined;
    default:
      return detail satisfies never;
  }
}

export function letterOf(change: Change): string {
  const group = groupOf(change);
  return change.detail === 'typeChanged' ? 'T' : group === undefined ? '' : changeGroups[group].letter;
}

const differenceWords: Readonly<Record<ChangeDifference, string>> = {
  type: 'kind',
  content: 'content',
  mode: 'mode',
  owner: 'owner',
  attributes: 'extended attributes',
  mtime: 'time',
};

/** "Metadata only: mode, owner · file of 12 B"; what a screen reader says of a row, too. Pure. */
export function changeWords(change: Change): string {
  return `${sentence(change)} · ${nodeWords(change)}`;
}

function sentence({ detail, differs = [], kind, below, movedFrom }: Change): string {
  const others = differs.filter((difference) => difference !== 'content').map((difference) => differenceWords[difference]);
  switch (detail) {
    case 'added':
      return movedFrom === undefined ? 'Added' : `Added, moved from ${shownPath(movedFrom)}`;
    case 'modified':
      return others.length === 0 ? 'Modified' : `Modified, and another ${others.join(', ')}`;
    case 'metadata':
      return `Metadata only: another ${others.join(', ')}, the same content`;
    case 'typeChanged':
      return `Was a ${below?.kind ?? 'node'}, is a ${kind}`;
    case 'deleted':
      return 'Deleted';
    case 'copiedUp':
      return 'Copied up, and as it was';
    case 'contains':
    case undefined:
      return 'Changed';
    default:
      return detail satisfies never;
  }
}

function nodeWords({ kind, sizeBytes, below }: Change): string {
  if (kind !== 'file') return kind;
  const was = below?.kind === 'file' && below.sizeBytes !== sizeBytes ? `, was ${formatBytes(below.sizeBytes)}` : '';
  return `file of ${formatBytes(sizeBytes)}${was}`;
}

/** Control characters of a container's names are shown as "?". Pure. */
export function shownPath(path: string): string {
  return path.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}

/** The rows of the groups, and how many there are in all. */
export class GroupedChanges {
  readonly rows: Readonly<Record<ChangeGroup, Change[]>> = { added: [], modified: [], metadata: [], deleted: [], copiedUp: [] };
  readonly counts: Record<ChangeGroup, number> = { added: 0, modified: 0, metadata: 0, deleted: 0, copiedUp: 0 };

  add(change: Change): void {
    const group = groupOf(change);
    if (group === undefined) return;
    this.counts[group] += 1;
    if (this.rows[group].length < changeGroups[group].maxRows) this.rows[group].push(change);
  }

  /** What was only copied up is no change. */
  get count(): number {
    return changeGroupIds.reduce((sum, group) => sum + (group === 'copiedUp' ? 0 : this.counts[group]), 0);
  }

  get isCut(): boolean {
    return changeGroupIds.some((group) => this.counts[group] > this.rows[group].length);
  }

  /** "Added", or where not all are shown "Added (5,000 of 98,213)". */
  label(group: ChangeGroup): string {
    const [shown, all] = [this.rows[group].length, this.counts[group]];
    const { label } = changeGroups[group];
    return shown === all ? label : `${label} (${formatCount(shown)} of ${formatCount(all)})`;
  }
}

function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}
