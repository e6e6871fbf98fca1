import * as vscode from 'vscode';
import type { Digest, ImageSummary } from '../../helper/protocol/index.ts';
import { views } from '../contributions/views.ts';
import { imagesInOrder } from '../model/state.ts';
import type { Services } from '../services.ts';
import { imageItem, imageTooltip } from './imageItem.ts';
import { ListProvider } from './listProvider.ts';

/** The list of images; the one that is selected has its layers shown. */
export class ImagesView implements vscode.Disposable {
  readonly #provider: ListProvider<'image', Digest, ImageSummary>;
  readonly #disposables: vscode.Disposable[];

  constructor({ store }: Services) {
    this.#provider = new ListProvider({
      kind: 'image',
      inOrder: () => imagesInOrder(store.state),
      get: (id) => store.image(id),
      item: imageItem,
      tooltip: imageTooltip,
    });
    const tree = vscode.window.createTreeView(views.images.id, { treeDataProvider: this.#provider });
    this.#disposables = [
      tree,
      this.#provider,
      tree.onDidChangeSelection(({ selection: [image] }) => {
        if (image !== undefined) store.select({ kind: 'image', id: image.id });
      }),
      new vscode.Disposable(store.onChange(({ images }) => this.#provider.apply(images))),
    ];
  }

  dispose(): void {
    for (const disposable of this.#disposables) disposable.dispose();
  }

  refresh(): void {
    this.#provider.refresh();
  }
}
