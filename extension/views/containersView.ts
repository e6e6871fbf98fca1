import * as vscode from 'vscode';
import type { ContainerId, ContainerSummary } from '../../helper/protocol/index.ts';
import { views } from '../contributions/views.ts';
import { troubleOf } from '../model/containerWords.ts';
import { containersInOrder } from '../model/state.ts';
import type { Services } from '../services.ts';
import { containerItem, containerTooltip } from './containerItem.ts';
import { type DropFiles, FileDrop } from './fileDrop.ts';
import { type ListNode, ListProvider } from './listProvider.ts';

type ContainerNode = ListNode<'container', ContainerId>;

/** The list of containers; the one that is selected has its layers shown. */
export class ContainersView implements vscode.Disposable {
  readonly #store: Services['store'];
  readonly #provider: ListProvider<'container', ContainerId, ContainerSummary>;
  readonly #tree: vscode.TreeView<ContainerNode>;
  readonly #disposables: vscode.Disposable[];
  #toReveal: ContainerId | undefined;

  constructor({ store }: Services, drop: DropFiles) {
    this.#store = store;
    this.#provider = new ListProvider({
      kind: 'container',
      inOrder: () => containersInOrder(store.state),
      get: (id) => store.container(id),
      item: containerItem,
      tooltip: containerTooltip,
    });
    this.#tree = vscode.window.createTreeView(views.containers.id, {
      treeDataProvider: this.#provider,
      canSelectMany: true,
      dragAndDropController: new FileDrop<ContainerNode>({ placeOf: ({ id }) => ({ container: id, path: undefined }), drop }),
    });
    this.#disposables = [
      this.#tree,
      this.#provider,
      this.#tree.onDidChangeSelection(({ selection: [only, ...more] }) => {
        if (only !== undefined && more.length === 0) store.select({ kind: 'container', id: only.id });
      }),
      new vscode.Disposable(
        store.onChange(({ containers }) => {
          this.#provider.apply(containers);
          this.#showTrouble();
          this.#revealAwaited();
        }),
      ),
    ];
  }

  /**
   * The rows that a key which is pressed in this view is for: those that are selected together, else the one with the
   * focus. The arrow keys move that alone, and VS Code tells of it only when it is selected.
   */
  async keyRows(): Promise<readonly ContainerNode[]> {
    if (this.#tree.selection.length < 2) await vscode.commands.executeCommand('list.select');
    return this.#tree.selection;
  }

  dispose(): void {
    for (const disposable of this.#disposables) disposable.dispose();
  }

  refresh(): void {
    this.#provider.refresh();
  }

  /** Selects a container, when it is in the list: the answer to `run` and the event that brings the row race. */
  reveal(id: ContainerId): void {
    this.#toReveal = id;
    this.#revealAwaited();
  }

  /** On the icon of the view: how many need a look. */
  #showTrouble(): void {
    const troubles = [...this.#store.state.containers.values()].map(troubleOf).filter((words) => words !== undefined);
    const tooltip = troubles.length > 5 ? `${troubles.length} containers are unhealthy or restarting` : troubles.join(', ');
    if (this.#tree.badge?.tooltip !== (troubles.length === 0 ? undefined : tooltip))
      this.#tree.badge = troubles.length === 0 ? undefined : { value: troubles.length, tooltip };
  }

  #revealAwaited(): void {
    const id = this.#toReveal;
    if (id === undefined || this.#store.container(id) === undefined) return;
    this.#toReveal = undefined;
    this.#store.select({ kind: 'container', id });
    // Only where the view can be seen: nobody wants a side bar opened. It fails where the row went away meanwhile.
    if (this.#tree.visible) this.#tree.reveal(this.#provider.node(id), { select: true, focus: false }).then(undefined, () => {});
  }
}
