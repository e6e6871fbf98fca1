import * as vscode from 'vscode';
import type { ContainerId, ContainerSummary } from '../../helper/protocol/index.ts';
import { LAYER_SCHEME } from '../files/layerUri.ts';
import { CONTAINER_SCHEME } from '../files/viewUri.ts';
import { changeGroups, changeWords, groupOf, letterOf } from '../model/changes.ts';
import type { ChangeSet } from '../model/state.ts';
import type { Services } from '../services.ts';
import { ContainerChanges } from './containerChanges.ts';

/** The containers whose changes are shown in the SCM view, and the letters and colours of their files. */
export class ChangesControls implements vscode.FileDecorationProvider, vscode.Disposable {
  readonly #services: Services;
  readonly #shown = new Map<ContainerId, ContainerChanges>();
  readonly #fileChanged: (uris: readonly vscode.Uri[]) => void;
  readonly #decorated = new vscode.EventEmitter<undefined>();
  readonly #stops: readonly (() => void)[];
  readonly #registration: vscode.Disposable;
  readonly onDidChangeFileDecorations = this.#decorated.event;

  /** `fileChanged`: what editors show of these is to be read again. */
  constructor(services: Services, fileChanged: (uris: readonly vscode.Uri[]) => void) {
    this.#services = services;
    this.#fileChanged = fileChanged;
    this.#stops = [
      services.store.onChange((changes) => this.#stateChanged(changes)),
      services.client.onState(({ kind }) => {
        if (kind === 'connected') for (const changes of this.#shown.values()) changes.follow();
      }),
    ];
    this.#registration = vscode.window.registerFileDecorationProvider(this);
  }

  dispose(): void {
    for (const stop of this.#stops) stop();
    for (const changes of this.#shown.values()) changes.dispose();
    this.#registration.dispose();
    this.#decorated.dispose();
  }

  /** Shows the changes of a container, and goes on showing them. */
  async open(container: ContainerSummary): Promise<void> {
    const present = this.#shown.get(container.id);
    const changes = present ?? this.#add(container);
    await vscode.commands.executeCommand('workbench.view.scm');
    if (present === undefined) changes.follow();
    await changes.refresh();
  }

  close(container: ContainerId): void {
    this.#shown.get(container)?.dispose();
    this.#shown.delete(container);
    this.#decorated.fire(undefined);
  }

  async refresh(container: ContainerId | undefined): Promise<void> {
    const wanted = [...this.#shown.values()].filter((changes) => container === undefined || changes.container === container);
    await Promise.all(wanted.map((changes) => changes.refresh()));
  }

  /** Whose source control this is, as menus of the SCM view give it. */
  containerOf(control: unknown): ContainerId | undefined {
    return [...this.#shown.values()].find((changes) => changes.control === control)?.container;
  }

  nameOf(container: ContainerId): string {
    return this.#shown.get(container)?.name ?? container.slice(0, 12);
  }

  /** What is written in the input of the container. */
  messageOf(container: ContainerId): string {
    return this.#shown.get(container)?.control.inputBox.value.trim() ?? '';
  }

  clearMessage(container: ContainerId): void {
    const changes = this.#shown.get(container);
    if (changes !== undefined) changes.control.inputBox.value = '';
  }

  provideFileDecoration(uri: vscode.Uri): vscode.FileDecoration | undefined {
    if (uri.scheme !== LAYER_SCHEME && uri.scheme !== CONTAINER_SCHEME) return undefined;
    for (const changes of this.#shown.values()) {
      const change = changes.row(uri)?.change;
      const group = change && groupOf(change);
      if (change !== undefined && group !== undefined) {
        return new vscode.FileDecoration(letterOf(change), changeWords(change), new vscode.ThemeColor(changeGroups[group].color));
      }
    }
    return undefined;
  }

  #add(container: ContainerSummary): ContainerChanges {
    const changes = new ContainerChanges(this.#services, container, (uris) => {
      this.#decorated.fire(undefined);
      if (uris.length > 0) this.#fileChanged(uris);
    });
    this.#shown.set(container.id, changes);
    return changes;
  }

  #stateChanged({ containers }: ChangeSet): void {
    for (const id of containers.removed) if (this.#shown.has(id)) this.close(id);
    for (const id of containers.changed) {
      // The name of a source control stays what it was made with.
      const container = this.#services.store.container(id);
      const changes = this.#shown.get(id);
      if (container === undefined || changes === undefined || changes.name === container.name) continue;
      this.close(id);
      this.#add(container).follow();
    }
  }
}
