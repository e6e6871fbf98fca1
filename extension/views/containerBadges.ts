import * as vscode from 'vscode';
import type { ContainerId, ContainerSummary } from '../../helper/protocol/index.ts';
import { documentUri } from '../files/helperDocuments.ts';
import { type Badge, badgeOf } from '../model/containerWords.ts';
import type { Services } from '../services.ts';

/** What names a container to VS Code: its document, so that a row which is dragged into an editor is something to read there. */
export function containerUri({ id, name }: ContainerSummary): vscode.Uri {
  return documentUri('container', id, name);
}

/** Health and restarts at the end of the rows of containers. */
export class ContainerBadges implements vscode.FileDecorationProvider, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<vscode.Uri[]>();
  readonly #disposables: readonly vscode.Disposable[];
  /** By the address of a container: what is shown, and what was last. */
  #badges = new Map<string, Badge>();
  readonly onDidChangeFileDecorations = this.#changed.event;

  constructor({ store }: Pick<Services, 'store'>) {
    const update = (): void => this.#update(store.state.containers);
    this.#disposables = [vscode.window.registerFileDecorationProvider(this), new vscode.Disposable(store.onChange(update)), this.#changed];
  }

  dispose(): void {
    for (const disposable of this.#disposables) disposable.dispose();
  }

  provideFileDecoration(uri: vscode.Uri): vscode.FileDecoration | undefined {
    const badge = this.#badges.get(uri.toString());
    if (badge === undefined) return undefined;
    return new vscode.FileDecoration(badge.text, badge.words, badge.isBad ? new vscode.ThemeColor('list.errorForeground') : undefined);
  }

  #update(containers: ReadonlyMap<ContainerId, ContainerSummary>): void {
    const badges = new Map<string, Badge>();
    for (const container of containers.values()) {
      const badge = badgeOf(container);
      if (badge !== undefined) badges.set(containerUri(container).toString(), badge);
    }
    const before = this.#badges;
    this.#badges = badges;
    const changed = [...new Set([...before.keys(), ...badges.keys()])].filter(
      (uri) => JSON.stringify(before.get(uri)) !== JSON.stringify(badges.get(uri)),
    );
    if (changed.length > 0) this.#changed.fire(changed.map((uri) => vscode.Uri.parse(uri)));
  }
}
