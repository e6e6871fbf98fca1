import * as vscode from 'vscode';
import type { Digest, ImageUsage } from '../../helper/protocol/index.ts';
import { views } from '../contributions/views.ts';
import { messageOf } from '../errors.ts';
import { type HistoryStep, historySteps } from '../model/historySteps.ts';
import { type NamedImage, type Repository, repositoriesOf } from '../model/imageGroups.ts';
import { type ChangeSet, isEmpty } from '../model/state.ts';
import type { Services } from '../services.ts';
import { imageItem, imageTooltip, repositoryItem, stepItem } from './imageItems.ts';
import { messageItem } from './layerItems.ts';

export interface RepositoryNode {
  readonly kind: 'repository';
  readonly name: string;
}

/** An image under one of its names. */
export interface ImageNode {
  readonly kind: 'image';
  readonly id: Digest;
  readonly reference: string | undefined;
  readonly parent: RepositoryNode;
}

/** `id` is the image's, so that a command on the row is one on its image. */
export interface StepNode {
  readonly kind: 'step';
  readonly id: Digest;
  readonly reference: string | undefined;
  readonly parent: ImageNode;
  readonly index: number;
  readonly step: HistoryStep;
}

export interface MessageNode {
  readonly kind: 'message';
  readonly parent: ImageNode;
  readonly text: string;
}

export type ImagesNode = RepositoryNode | ImageNode | StepNode | MessageNode;

/**
 * Images by repository, then by tag; under each how it was made, the newest step first. The image that is selected has its layers
 * shown. Rows keep their identity, so that a change redraws what changed and closes nothing.
 */
export class ImagesView implements vscode.TreeDataProvider<ImagesNode>, vscode.Disposable {
  readonly #services: Services;
  readonly #changed = new vscode.EventEmitter<ImagesNode[] | undefined>();
  readonly #tree: vscode.TreeView<ImagesNode>;
  readonly #disposables: readonly vscode.Disposable[];
  readonly #repositories = new Map<string, RepositoryNode>();
  /** By image and name. */
  readonly #images = new Map<string, ImageNode>();
  /** An image's history never changes; its rows must be the same ones when they are asked for again. */
  readonly #steps = new Map<string, Promise<readonly StepNode[]>>();
  #usage: Promise<ReadonlyMap<Digest, ImageUsage>> | undefined;
  /** Of the present state, once somebody has asked. */
  #grouped: ReadonlyMap<string, Repository> | undefined;
  #shownRepositories = '';
  readonly onDidChangeTreeData = this.#changed.event;

  constructor(services: Services) {
    this.#services = services;
    const { store } = services;
    this.#tree = vscode.window.createTreeView<ImagesNode>(views.images.id, {
      treeDataProvider: this,
      canSelectMany: true,
      showCollapseAll: true,
    });
    this.#disposables = [
      this.#tree,
      this.#changed,
      this.#tree.onDidChangeSelection(({ selection: [only, ...more] }) => {
        if (only !== undefined && more.length === 0 && 'id' in only) store.select({ kind: 'image', id: only.id });
      }),
      new vscode.Disposable(store.onChange((changes) => this.#stateChanged(changes))),
      new vscode.Disposable(
        services.client.onState(({ kind }) => {
          if (kind !== 'connected') this.#forget();
        }),
      ),
    ];
  }

  /** The rows that a key which is pressed in this view is for, as those of ContainersView. */
  async keyRows(): Promise<readonly ImagesNode[]> {
    if (this.#tree.selection.length < 2) await vscode.commands.executeCommand('list.select');
    return this.#tree.selection;
  }

  dispose(): void {
    for (const disposable of this.#disposables) disposable.dispose();
  }

  refresh(): void {
    this.#forget();
    this.#changed.fire(undefined);
  }

  async getChildren(node?: ImagesNode): Promise<ImagesNode[]> {
    if (node === undefined) return [...this.#groups().keys()].map((name) => this.#repositoryNode(name));
    if (node.kind === 'repository')
      return (
        this.#groups()
          .get(node.name)
          ?.images.map((named) => this.#imageNode(node, named)) ?? []
      );
    return node.kind === 'image' ? await this.#children(node) : [];
  }

  getTreeItem(node: ImagesNode): vscode.TreeItem {
    switch (node.kind) {
      case 'repository':
        return repositoryItem(this.#groups().get(node.name) ?? { name: node.name, images: [] });
      case 'image': {
        const named = this.#named(node);
        // The row went away between the list and this question; the next refresh, already on its way, takes it off.
        return named === undefined ? new vscode.TreeItem('') : imageItem(named);
      }
      case 'step':
        return stepItem(node.step, `step/${keyOf(node)}/${node.index}`);
      case 'message':
        return messageItem(node.text, 'error');
      default:
        return node satisfies never;
    }
  }

  getParent(node: ImagesNode): ImagesNode | undefined {
    return node.kind === 'repository' ? undefined : node.parent;
  }

  /** Called when the mouse rests on a row. What an image shares with others is counted only then. */
  async resolveTreeItem(item: vscode.TreeItem, node: ImagesNode): Promise<vscode.TreeItem> {
    if (node.kind !== 'image') return item;
    const usage = await this.#readUsage();
    const named = this.#named(node);
    if (named !== undefined) item.tooltip = imageTooltip(named, usage.get(node.id));
    return item;
  }

  /** By name, in the order of the view. */
  #groups(): ReadonlyMap<string, Repository> {
    this.#grouped ??= new Map(repositoriesOf(this.#services.store.state.images.values()).map((group) => [group.name, group]));
    return this.#grouped;
  }

  #named({ id, reference }: ImageNode): NamedImage | undefined {
    const image = this.#services.store.image(id);
    return image === undefined ? undefined : { image, reference };
  }

  #repositoryNode(name: string): RepositoryNode {
    let node = this.#repositories.get(name);
    if (node === undefined) {
      node = { kind: 'repository', name };
      this.#repositories.set(name, node);
    }
    return node;
  }

  #imageNode(parent: RepositoryNode, { image, reference }: NamedImage): ImageNode {
    const key = keyOf({ id: image.id, reference });
    let node = this.#images.get(key);
    if (node === undefined) {
      node = { kind: 'image', id: image.id, reference, parent };
      this.#images.set(key, node);
    }
    return node;
  }

  async #children(parent: ImageNode): Promise<ImagesNode[]> {
    const key = keyOf(parent);
    let steps = this.#steps.get(key);
    if (steps === undefined) {
      steps = this.#readSteps(parent);
      this.#steps.set(key, steps);
    }
    try {
      return [...(await steps)];
    } catch (error) {
      this.#steps.delete(key);
      return [{ kind: 'message', parent, text: messageOf(error) }];
    }
  }

  async #readSteps(parent: ImageNode): Promise<readonly StepNode[]> {
    const { id, reference } = parent;
    const { entries } = await this.#services.client.request('image.history', { image: id });
    return historySteps(entries).map((step, index) => ({ kind: 'step', id, reference, parent, index, step }));
  }

  async #readUsage(): Promise<ReadonlyMap<Digest, ImageUsage>> {
    this.#usage ??= this.#services.client
      .request('host.diskUsage', {})
      .then(({ images }) => new Map(images.map((usage) => [usage.id, usage])));
    try {
      return await this.#usage;
    } catch (error) {
      // The tooltip says what is known without it.
      this.#services.log.warn(`disk usage: ${messageOf(error)}`);
      this.#usage = undefined;
      return new Map();
    }
  }

  #forget(): void {
    this.#steps.clear();
    this.#usage = undefined;
  }

  #stateChanged({ images, containers }: ChangeSet): void {
    if (!isEmpty(containers) || !isEmpty(images)) this.#usage = undefined;
    if (isEmpty(images)) return;
    this.#grouped = undefined;
    const gone = new Set<string>(images.removed);
    for (const [key, { id }] of this.#images)
      if (gone.has(id)) {
        this.#images.delete(key);
        this.#steps.delete(key);
      }
    const shown = JSON.stringify(
      [...this.#groups().values()].map(({ name, images: members }) => [name, members.map(({ reference }) => reference)]),
    );
    const isSame = shown === this.#shownRepositories;
    this.#shownRepositories = shown;
    // The same names, some for another image: their groups have other rows now.
    const rows = isSame ? this.#groupsOf([...images.added, ...images.changed]) : undefined;
    this.#changed.fire(rows);
  }

  #groupsOf(ids: readonly Digest[]): RepositoryNode[] {
    const changed = new Set<Digest>(ids);
    return [...this.#groups().values()]
      .filter((group) => group.images.some(({ image }) => changed.has(image.id)))
      .map(({ name }) => this.#repositoryNode(name));
  }
}

function keyOf({ id, reference }: { readonly id: Digest; readonly reference: string | undefined }): string {
  return `${id}/${reference ?? ''}`;
}
