import * as vscode from 'vscode';
import { type Change, type ContainerSummary, type Layer, StrataError } from '../../helper/protocol/index.ts';
import { ContainerArchive } from '../../helper/wire/containerArchive.ts';
import { layerUri } from '../files/layerUri.ts';
import { type ChangeRow, changeRow, changesSummary } from '../model/changes.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';

/** More cannot be looked through; the command line tells them all. */
const maxShown = 20_000;

/** Lists what a container has changed; a file that is chosen is shown, beside what it was where it was changed. */
export async function showChanges(services: Services, container: ContainerSummary): Promise<void> {
  const found = await cancellable(`Comparing ${container.name} with its image…`, (signal) => readChanges(services, container, signal));
  if (found.changes.length === 0) {
    void vscode.window.showInformationMessage(`${container.name} has changed nothing in its file system.`);
    return;
  }
  const chosen = await vscode.window.showQuickPick<ChangeRow & vscode.QuickPickItem>(found.changes.map(changeRow), {
    title: `Changes of ${container.name}: ${found.isCut ? 'more than ' : ''}${changesSummary(found.changes)}`,
    placeHolder: found.isCut ? `The first ${maxShown} are shown; "strata diff ${container.name}" tells all` : 'Choose a file to see it',
    matchOnDescription: true,
  });
  if (chosen !== undefined) await openChange(services, container, chosen.change);
}

async function readChanges(
  { client }: Services,
  container: ContainerSummary,
  signal: AbortSignal,
): Promise<{ readonly changes: readonly Change[]; readonly isCut: boolean }> {
  const changes: Change[] = [];
  for await (const change of new ContainerArchive(client, container.id, signal).changes()) {
    if (changes.length === maxShown) return { changes, isCut: true };
    changes.push(change);
  }
  return { changes, isCut: false };
}

async function openChange(services: Services, container: ContainerSummary, { change, path, kind }: Change): Promise<void> {
  if (kind !== 'file') {
    throw new StrataError('NOT_A_FILE', `${path} is a ${kind}, which has no text to show`, { hint: 'Look at it in the Layers view.' });
  }
  const now = layerUri({ kind: 'upper', container: container.id }, path);
  const before = change === 'A' ? undefined : await uriBelow(services, container, path);
  if (change === 'C' && before !== undefined) {
    await vscode.commands.executeCommand('vscode.diff', before, now, `${path} (image ↔ ${container.name})`, { preview: true });
    return;
  }
  const uri = change === 'D' ? before : now;
  if (uri === undefined) throw new StrataError('PATH_NOT_FOUND', `${path} is no longer there`);
  await vscode.commands.executeCommand('vscode.open', uri, { preview: true });
}

/** What the layers below the upper one have there. */
async function uriBelow({ client }: Services, container: ContainerSummary, path: string): Promise<vscode.Uri | undefined> {
  const { layers } = await client.request('layer.stack', { kind: 'container', container: container.id });
  for (const layer of layers.filter(({ role }) => role !== 'upper')) {
    // From the top: the first that has it is the one that is seen.
    const kind = await kindIn(client, layer, path);
    if (kind === 'file') return layerUri(layer.reference, path);
    if (kind !== undefined) return undefined;
  }
  return undefined;
}

async function kindIn(client: Services['client'], layer: Layer, path: string): Promise<string | undefined> {
  try {
    return (await client.request('layer.stat', { layer: layer.reference, path })).entry.kind;
  } catch (error) {
    if (error instanceof StrataError && error.code === 'PATH_NOT_FOUND') return undefined;
    throw error;
  }
}
