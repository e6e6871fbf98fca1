import * as vscode from 'vscode';
import { type Change, type ContainerId, type LayerReference, StrataError } from '../../helper/protocol/index.ts';
import { layerUri } from '../files/layerUri.ts';
import { viewUri } from '../files/viewUri.ts';
import { changeWords, groupOf, shownPath } from '../model/changes.ts';

/** One changed path of a container, as a row of the SCM view. */
export class ChangeResource implements vscode.SourceControlResourceState {
  readonly container: ContainerId;
  readonly change: Change;
  readonly #stack: readonly LayerReference[];

  /** `stack`: the container's layers, top first. */
  constructor(container: ContainerId, change: Change, stack: readonly LayerReference[]) {
    this.container = container;
    this.change = change;
    this.#stack = stack;
  }

  get resourceUri(): vscode.Uri {
    return layerUri({ kind: 'upper', container: this.container }, this.change.path);
  }

  get decorations(): vscode.SourceControlResourceDecorations {
    const group = groupOf(this.change);
    return { strikeThrough: group === 'deleted', faded: group === 'copiedUp', tooltip: changeWords(this.change) };
  }

  get command(): vscode.Command {
    return { command: 'strata.changes.open', title: 'Open Change', arguments: [this] };
  }

  /** "deleted file" */
  get contextValue(): string {
    return `${groupOf(this.change) ?? ''} ${this.change.kind}`;
  }

  /** What the layers below have there, where that is a file. */
  get uriBelow(): vscode.Uri | undefined {
    const { below, path, movedFrom } = this.change;
    const layer = below?.kind === 'file' ? this.#stack[below.layer] : undefined;
    return layer === undefined ? undefined : layerUri(layer, movedFrom ?? path);
  }

  /** The file that is there now. */
  get uriNow(): vscode.Uri | undefined {
    const { change, kind } = this.change;
    return change !== 'D' && kind === 'file' ? this.resourceUri : undefined;
  }

  /** A diff where there are two files, else the one there is. */
  async open(name: string): Promise<void> {
    const [before, now] = [this.uriBelow, this.uriNow];
    this.#requireText();
    if (before !== undefined && now !== undefined) {
      await vscode.commands.executeCommand('vscode.diff', before, now, `${shownPath(this.change.path)} (image ↔ ${name})`, {
        preview: true,
      });
    } else {
      await vscode.commands.executeCommand('vscode.open', now ?? before, { preview: true });
    }
  }

  /** As the container has it, which can be changed; of what was deleted, what was there. */
  async openFile(): Promise<void> {
    this.#requireText();
    const now = this.uriNow === undefined ? undefined : viewUri({ kind: 'container', container: this.container }, this.change.path);
    await vscode.commands.executeCommand('vscode.open', now ?? this.uriBelow, { preview: false });
  }

  #requireText(): void {
    const { path, kind, pathHex } = this.change;
    if (pathHex !== undefined) {
      throw new StrataError('NOT_A_FILE', `the name of ${shownPath(path)} is no UTF-8, which editors cannot open`, {
        hint: 'Copy the directory that it is in: "Copy from Container…".',
      });
    }
    if (this.uriNow === undefined && this.uriBelow === undefined) {
      throw new StrataError('NOT_A_FILE', `${shownPath(path)} is a ${kind}, which has no text to show`, {
        hint: 'Look at it in the Layers view.',
      });
    }
  }
}
