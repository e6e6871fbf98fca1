import * as vscode from 'vscode';
import type { MethodResult } from '../../helper/protocol/index.ts';
import { shortId } from '../model/containerWords.ts';
import { formatBytes } from '../model/units.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';

type Pruned = MethodResult<'image.prune'>;

const maxListed = 12;

/** Says what would be removed and freed before anything is; the helper is asked, for it alone knows what is shared. */
export async function pruneImages({ client }: Services): Promise<void> {
  const preview = (all: boolean): Promise<Pruned> => client.request('image.prune', { all, dryRun: true });
  const [untagged, unused] = await cancellable('Looking for images that nothing uses…', () => Promise.all([preview(false), preview(true)]));
  if (unused.removed.length === 0 && unused.untagged.length === 0) {
    void vscode.window.showInformationMessage('Nothing to prune: every image is used by a container.');
    return;
  }
  const chosen = await vscode.window.showQuickPick(
    [
      { label: '$(circle-slash) Images without a name', description: pruneWords(untagged), all: false, found: untagged },
      { label: '$(package) All images that no container uses', description: pruneWords(unused), all: true, found: unused },
    ],
    { title: 'Prune Images', placeHolder: 'What may go? It is asked again before.' },
  );
  if (chosen === undefined) return;
  const { all, found } = chosen;
  if (found.removed.length === 0) {
    void vscode.window.showInformationMessage('Every image has a name: nothing to prune.');
    return;
  }
  const answer = await vscode.window.showWarningMessage(
    `Remove ${imagesWord(found.removed.length)} and free ${formatBytes(found.reclaimedBytes)}?`,
    { modal: true, detail: listed(found) },
    'Remove',
  );
  if (answer !== 'Remove') return;
  const { removed, reclaimedBytes } = await cancellable('Pruning images…', (signal) => client.request('image.prune', { all }, { signal }));
  void vscode.window.showInformationMessage(`Removed ${imagesWord(removed.length)}: ${formatBytes(reclaimedBytes)} freed.`);
}

/** "3 images, frees 12 MiB" */
function pruneWords({ removed, reclaimedBytes }: Pruned): string {
  return removed.length === 0 ? 'none' : `${imagesWord(removed.length)}, frees ${formatBytes(reclaimedBytes)}`;
}

function imagesWord(count: number): string {
  return count === 1 ? '1 image' : `${count} images`;
}

function listed({ untagged, removed }: Pruned): string {
  const names = untagged.length > 0 ? untagged : removed.map(shortId);
  const more = names.length > maxListed ? `\nand ${names.length - maxListed} more` : '';
  return `${names.slice(0, maxListed).join('\n')}${more}`;
}
