import * as vscode from 'vscode';
import { type ContainerId, type Layer, type LayerEntry, StrataError } from '../../helper/protocol/index.ts';
import { contextKeys } from '../contributions/context.ts';
import { views } from '../contributions/views.ts';
import { messageOf } from '../errors.ts';
import { layerUri } from '../files/layerUri.ts';
import { viewUri } from '../files/viewUri.ts';
import { imageName } from '../model/imageGroups.ts';
import { type MergedEntry, mergeListings } from '../model/mergedLayers.ts';
import type { ChangeSet } from '../model/state.ts';
import type { LayerTarget } from '../model/store.ts';
import type { Services } from '../services.ts';
import { type DropFiles, type DropPlace, FileDrop } from './fileDrop.ts';
import { entryItem, layerItem, layerName, mergedItem, mergedRootItem, messageItem } from './layerItems.ts';

export interface LayerNode {
  readonly kind: 'layer';
  readonly layer: Layer;
  /** Image layers are counted from the bottom, as a Dockerfile is read. */
  readonly number: number;
}

export interface EntryNode {
  readonly kind: 'entry';
  readonly layer: Layer;
  readonly parent: LayerNode | EntryNode;
  readonly path: string;
  readonly entry: LayerEntry;
}

/** All layers together, as a container sees them; with `merged` something in there. */
export interface MergedNode {
  readonly kind: 'merged';
  readonly parent: MergedNode | undefined;
  readonly path: string;
  /** Those that show something here, top first. */
  readonly layers: readonly Layer[];
  /** How many the stack has. */
  readonly stackSize: number;
  readonly merged: MergedEntry | undefined;
}

/** A file or directory of a container. */
export interface FilePlace {
  readonly container: ContainerId;
  readonly path: string;
  readonly kind: LayerEntry['kind'];
}

export interface MessageNode {
  readonly kind: 'message';
  readonly parent: LayerNode | EntryNode | MergedNode | undefined;
  readonly text: string;
  readonly icon: 'error' | 'info';
}

export type LayersNode = LayerNode | EntryNode | MergedNode | MessageNode;

/** A container that never stops writing must not make the view refresh without end. */
const GROWTH_CHECK_MS = 3000;

/** The overlay stack of the selected container or image, top first, with the files of each layer; directories are read when opened. */
export class LayersView implements vscode.TreeDataProvider<LayersNode>, vscode.Disposable {
  readonly #services: Services;
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly #tree: vscode.TreeView<LayersNode>;
  readonly #disposables: vscode.Disposable[] = [];
  #lastGrowthCheckMs = Number.NEGATIVE_INFINITY;
  /** Of the container whose layers are shown. */
  #shownState: string | undefined;
  readonly onDidChangeTreeData = this.#changed.event;

  constructor(services: Services, drop: DropFiles) {
    this.#services = services;
    this.#tree = vscode.window.createTreeView<LayersNode>(views.layers.id, {
      treeDataProvider: this,
      showCollapseAll: true,
      dragAndDropController: new FileDrop<LayersNode>({
        placeOf: (node) => this.#dropPlace(node),
        drop,
        uriOf: (node) => this.#fileUri(node),
      }),
    });
    this.#disposables.push(
      this.#tree,
      this.#changed,
      new vscode.Disposable(services.store.onTargetChange((target) => this.#show(target))),
      new vscode.Disposable(services.store.onChange((changes) => this.#stateChanged(changes))),
      new vscode.Disposable(
        services.client.onState(({ kind }) => {
          // What could not be read meanwhile says so in its place.
          if (kind === 'connected' && services.store.target !== undefined) this.#changed.fire(undefined);
        }),
      ),
    );
    this.#show(undefined);
  }

  dispose(): void {
    for (const disposable of this.#disposables) disposable.dispose();
  }

  refresh(): void {
    this.#changed.fire(undefined);
  }

  /** Shows these layers and brings the view to the front. */
  async reveal(target: LayerTarget): Promise<void> {
    this.#services.store.select(target);
    await vscode.commands.executeCommand(`${views.layers.id}.focus`);
  }

  /** Shows the files of these layers: `merged`, or the only layer that there is, opened. */
  async browse(target: LayerTarget): Promise<void> {
    await this.reveal(target);
    const [first] = await this.getChildren();
    if (first !== undefined) await this.#tree.reveal(first, { select: true, focus: true, expand: true });
  }

  /** What is shown, as it was when this row's layer was the topmost. */
  asOf(node: unknown): LayerTarget | undefined {
    const row = node as Partial<LayersNode> | undefined; // see hostPath
    const { target } = this.#services.store;
    if (row?.kind !== 'layer' || row.number === undefined || target === undefined) return undefined;
    return { ...target, layers: row.number };
  }

  /** Where a row of this view is on the host. */
  hostPath(node: unknown): string | undefined {
    const row = node as Partial<LayersNode> | undefined; // VS Code gives back what getChildren gave; anything else has no kind of ours
    if (row?.kind === 'layer') return row.layer?.path;
    if (row?.kind === 'merged')
      return row.merged === undefined || row.path === undefined ? undefined : `${row.merged.layer.path}${row.path}`;
    return row?.kind === 'entry' && row.layer !== undefined && row.path !== undefined ? `${row.layer.path}${row.path}` : undefined;
  }

  /** What a row of `merged` is in the container whose layers are shown. */
  placeOf(node: unknown): FilePlace | undefined {
    const row = node as Partial<LayersNode> | undefined; // see hostPath
    const { target } = this.#services.store;
    if (row?.kind !== 'merged' || row.path === undefined || target?.kind !== 'container' || target.layers !== undefined) return undefined;
    return { container: target.id, path: row.path, kind: row.merged?.entry.kind ?? 'directory' };
  }

  /** A directory of `merged`, or the one that a file of it is in. */
  #dropPlace(node: LayersNode): DropPlace | undefined {
    if (node.kind !== 'merged') return undefined;
    const isDirectory = node.merged === undefined || node.merged.entry.kind === 'directory';
    return this.placeOf(isDirectory ? node : node.parent);
  }

  async getChildren(node?: LayersNode): Promise<LayersNode[]> {
    try {
      if (node === undefined) return await this.#layers();
      if (node.kind === 'message') return [];
      return node.kind === 'merged' ? await this.#mergedEntries(node) : await this.#entries(node);
    } catch (error) {
      return [{ kind: 'message', parent: node?.kind === 'message' ? undefined : node, text: messageOf(error), icon: 'error' }];
    }
  }

  getTreeItem(node: LayersNode): vscode.TreeItem {
    switch (node.kind) {
      case 'layer':
        return layerItem(node.layer, node.number, this.#services.store.target?.id ?? '');
      case 'entry':
        return entryItem(node.layer, node.path, node.entry, this.#services.store.target?.id ?? '');
      case 'merged':
        return node.merged === undefined
          ? mergedRootItem(this.#services.store.target)
          : mergedItem(
              { path: node.path, merged: node.merged, uri: this.#mergedUri(node) },
              this.#services.store.target?.id ?? '',
              node.stackSize,
            );
      case 'message':
        return messageItem(node.text, node.icon);
      default:
        return node satisfies never;
    }
  }

  getParent(node: LayersNode): LayersNode | undefined {
    return node.kind === 'layer' ? undefined : node.parent;
  }

  async #layers(): Promise<LayersNode[]> {
    const { client, store } = this.#services;
    const { target } = store;
    if (target === undefined) return [];
    const { layers: all } = await client.request(
      'layer.stack',
      target.kind === 'container' ? { kind: 'container', container: target.id } : { kind: 'image', image: target.id },
    );
    const layers = target.layers === undefined ? all : all.slice(-target.layers);
    const merged: MergedNode = { kind: 'merged', parent: undefined, path: '/', layers, stackSize: all.length, merged: undefined };
    return [
      ...(layers.length > 1 || target.layers !== undefined ? [merged] : []),
      ...layers.map((layer, index): LayerNode => ({ kind: 'layer', layer, number: layers.length - index })),
    ];
  }

  async #mergedEntries(parent: MergedNode): Promise<LayersNode[]> {
    const answers = await Promise.all(
      parent.layers.map(async (layer) => {
        const { entries, truncated } = await this.#services.client
          .request('layer.list', { layer: layer.reference, path: parent.path })
          .catch(unlessMissing);
        return { layer, entries, truncated };
      }),
    );
    const nodes: LayersNode[] = directoriesFirst(mergeListings(answers), ({ entry }) => entry).map((merged) => ({
      kind: 'merged',
      parent,
      path: `${parent.path === '/' ? '' : parent.path}/${merged.entry.name}`,
      layers: merged.layers,
      stackSize: parent.stackSize,
      merged,
    }));
    const cut = answers.filter(({ truncated }) => truncated).map(({ layer }) => layerName(layer, parent.stackSize));
    if (cut.length > 0) nodes.push({ kind: 'message', parent, text: `Not all is shown: too much is in ${cut.join(', ')}.`, icon: 'info' });
    if (nodes.length === 0) nodes.push({ kind: 'message', parent, text: 'Empty directory', icon: 'info' });
    return nodes;
  }

  async #entries(parent: LayerNode | EntryNode): Promise<LayersNode[]> {
    const directory = parent.kind === 'layer' ? '/' : parent.path;
    if (parent.kind === 'layer' && parent.layer.role === 'upper') void this.#refreshWhenGrown(parent.layer);
    const { entries, truncated } = await this.#services.client.request('layer.list', { layer: parent.layer.reference, path: directory });
    const nodes: LayersNode[] = directoriesFirst(entries, (entry) => entry).map((entry) => ({
      kind: 'entry',
      layer: parent.layer,
      parent,
      path: `${directory === '/' ? '' : directory}/${entry.name}`,
      entry,
    }));
    if (truncated) nodes.push({ kind: 'message', parent, text: `Only the first ${entries.length} entries are shown.`, icon: 'info' });
    if (nodes.length === 0) nodes.push({ kind: 'message', parent, text: emptyText(parent), icon: 'info' });
    return nodes;
  }

  /** A running container writes to its upper layer without a word: its size is looked up again when it is opened. */
  async #refreshWhenGrown(upper: Layer): Promise<void> {
    if (performance.now() - this.#lastGrowthCheckMs < GROWTH_CHECK_MS) return;
    this.#lastGrowthCheckMs = performance.now();
    const layers: readonly LayersNode[] = await this.#layers().catch(() => []);
    const isSame = layers.some((node) => node.kind === 'layer' && JSON.stringify(node.layer) === JSON.stringify(upper));
    if (!isSame && layers.length > 0) this.#changed.fire(undefined);
  }

  #show(target: LayerTarget | undefined): void {
    void vscode.commands.executeCommand(
      'setContext',
      contextKeys.layersOf,
      target?.layers === undefined ? (target?.kind ?? 'none') : 'past',
    );
    this.#describe(target);
    this.#shownState = this.#stateOf(target);
    this.#changed.fire(undefined);
  }

  /** What can be dragged into an editor. */
  #fileUri(node: LayersNode): vscode.Uri | undefined {
    if (node.kind === 'entry' && node.entry.kind === 'file') return layerUri(node.layer.reference, node.path);
    return node.kind === 'merged' && node.merged?.entry.kind === 'file' ? this.#mergedUri(node) : undefined;
  }

  /** Of what `merged` shows: as the container has it, so that it can be saved there. */
  #mergedUri(node: MergedNode): vscode.Uri {
    const { target } = this.#services.store;
    if (target === undefined) throw new Error('nothing is merged where nothing is shown');
    const { layers } = target;
    return viewUri(
      target.kind === 'container' ? { kind: 'container', container: target.id, layers } : { kind: 'image', image: target.id, layers },
      node.path,
    );
  }

  #stateOf(target: LayerTarget | undefined): string | undefined {
    return target?.kind === 'container' ? this.#services.store.container(target.id)?.state.kind : undefined;
  }

  #describe(target: LayerTarget | undefined): void {
    const { store } = this.#services;
    const image = target?.kind === 'image' ? store.image(target.id) : undefined;
    const name = target?.kind === 'container' ? store.container(target.id)?.name : image && imageName(image);
    const asOf = target?.layers === undefined ? '' : ` as of layer ${target.layers}`;
    this.#tree.description = target === undefined || name === undefined ? '' : `${target.kind} ${name}${asOf}`;
  }

  #stateChanged(changes: ChangeSet): void {
    const { target } = this.#services.store;
    if (target === undefined) return;
    const changed: readonly string[] = target.kind === 'container' ? changes.containers.changed : changes.images.changed;
    if (!changed.includes(target.id)) return;
    this.#describe(target);
    const state = this.#stateOf(target);
    if (state === this.#shownState) return; // another name, other limits: the layers are the same
    this.#shownState = state;
    // It started or ended: what it has written since is worth a new look.
    this.#changed.fire(undefined);
  }
}

function emptyText(parent: LayerNode | EntryNode): string {
  if (parent.kind === 'entry') return 'Empty directory';
  return parent.layer.role === 'upper' ? 'The container has changed nothing yet.' : 'Empty layer';
}

function directoriesFirst<T>(items: readonly T[], entryOf: (item: T) => LayerEntry): readonly T[] {
  const rank = (item: T): number => (entryOf(item).kind === 'directory' ? 0 : 1);
  return [...items].sort((a, b) => rank(a) - rank(b));
}

/** A layer whose directory went away since its parent was listed shows nothing there. */
function unlessMissing(error: unknown): { readonly entries: readonly LayerEntry[]; readonly truncated: boolean } {
  if (error instanceof StrataError && error.code === 'PATH_NOT_FOUND') return { entries: [], truncated: false };
  throw error;
}
