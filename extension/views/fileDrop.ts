import * as vscode from 'vscode';
import type { ContainerId } from '../../helper/protocol/index.ts';
import { parseUriList, uriList } from '../model/uriList.ts';

const URI_LIST = 'text/uri-list';

/** A place in a container where files can be dropped; without a path the user is asked for one. */
export interface DropPlace {
  readonly container: ContainerId;
  readonly path: string | undefined;
}

export type DropFiles = (uris: readonly vscode.Uri[], place: DropPlace) => void;

/** Files of the host that are dropped on rows of a tree; and rows that can be dragged into an editor. */
export class FileDrop<Node> implements vscode.TreeDragAndDropController<Node> {
  readonly dropMimeTypes = [URI_LIST];
  readonly dragMimeTypes: readonly string[];
  readonly #placeOf: (node: Node) => DropPlace | undefined;
  readonly #drop: DropFiles;
  readonly #uriOf: ((node: Node) => vscode.Uri | undefined) | undefined;

  constructor(options: {
    placeOf: (node: Node) => DropPlace | undefined;
    drop: DropFiles;
    uriOf?: (node: Node) => vscode.Uri | undefined;
  }) {
    this.#placeOf = options.placeOf;
    this.#drop = options.drop;
    this.#uriOf = options.uriOf;
    this.dragMimeTypes = options.uriOf === undefined ? [] : [URI_LIST];
  }

  handleDrag(nodes: readonly Node[], transfer: vscode.DataTransfer): void {
    const uris = nodes.map((node) => this.#uriOf?.(node)).filter((uri) => uri !== undefined);
    if (uris.length > 0) transfer.set(URI_LIST, new vscode.DataTransferItem(uriList(uris.map((uri) => uri.toString()))));
  }

  async handleDrop(node: Node | undefined, transfer: vscode.DataTransfer): Promise<void> {
    const place = node === undefined ? undefined : this.#placeOf(node);
    const text = await transfer.get(URI_LIST)?.asString();
    if (place === undefined || text === undefined) return;
    const uris = parseUriList(text).map((uri) => vscode.Uri.parse(uri));
    if (uris.length > 0) this.#drop(uris, place);
  }
}
