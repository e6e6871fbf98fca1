import * as vscode from 'vscode';
import { type ItemChanges, isEmpty } from '../model/state.ts';

/** A row of a flat list: the tree knows a row by its node's identity, so there is one node for an id. */
export interface ListNode<Kind extends string, Id extends string> {
  readonly kind: Kind;
  readonly id: Id;
}

export interface ListSource<Kind extends string, Id extends string, T> {
  readonly kind: Kind;
  readonly inOrder: () => readonly T[];
  readonly get: (id: Id) => T | undefined;
  readonly item: (value: T) => vscode.TreeItem;
  readonly tooltip: (value: T) => vscode.MarkdownString;
}

/** A flat tree over a map of the model. It asks for a row again when that row changed, and for the list when the order did. */
export class ListProvider<Kind extends string, Id extends string, T extends { readonly id: Id }>
  implements vscode.TreeDataProvider<ListNode<Kind, Id>>, vscode.Disposable
{
  readonly #source: ListSource<Kind, Id, T>;
  readonly #changed = new vscode.EventEmitter<readonly ListNode<Kind, Id>[] | undefined>();
  readonly #nodes = new Map<Id, ListNode<Kind, Id>>();
  #order: readonly Id[] = [];
  readonly onDidChangeTreeData = this.#changed.event as vscode.Event<ListNode<Kind, Id>[] | undefined>; // the API's array is not readonly

  constructor(source: ListSource<Kind, Id, T>) {
    this.#source = source;
  }

  dispose(): void {
    this.#changed.dispose();
  }

  apply(changes: ItemChanges<Id>): void {
    if (isEmpty(changes)) return;
    for (const id of changes.removed) this.#nodes.delete(id);
    const order = this.#source.inOrder().map((value) => value.id);
    const isSameOrder = order.length === this.#order.length && order.every((id, index) => id === this.#order[index]);
    this.#changed.fire(isSameOrder ? changes.changed.map((id) => this.node(id)) : undefined);
  }

  refresh(): void {
    this.#changed.fire(undefined);
  }

  node(id: Id): ListNode<Kind, Id> {
    let node = this.#nodes.get(id);
    if (node === undefined) {
      node = { kind: this.#source.kind, id };
      this.#nodes.set(id, node);
    }
    return node;
  }

  getChildren(parent?: ListNode<Kind, Id>): ListNode<Kind, Id>[] {
    if (parent !== undefined) return [];
    this.#order = this.#source.inOrder().map((value) => value.id);
    return this.#order.map((id) => this.node(id));
  }

  getTreeItem(node: ListNode<Kind, Id>): vscode.TreeItem {
    const value = this.#source.get(node.id);
    // The row went away between the list and this question; the next refresh, already on its way, takes it off.
    return value === undefined ? new vscode.TreeItem('') : this.#source.item(value);
  }

  getParent(): undefined {
    return undefined;
  }

  /** Called when the mouse rests on a row: tooltips are not made before. */
  resolveTreeItem(item: vscode.TreeItem, node: ListNode<Kind, Id>): vscode.TreeItem {
    const value = this.#source.get(node.id);
    if (value !== undefined) item.tooltip = this.#source.tooltip(value);
    return item;
  }
}
