import { setTimeout as delay } from 'node:timers/promises';
import * as vscode from 'vscode';
import { type Change, type ContainerId, type ContainerSummary, type LayerReference, StrataError } from '../../helper/protocol/index.ts';
import { ContainerArchive } from '../../helper/wire/containerArchive.ts';
import { messageOf } from '../errors.ts';
import { parseLayerUri } from '../files/layerUri.ts';
import { parseViewUri } from '../files/viewUri.ts';
import { type ChangeGroup, changeGroupIds, GroupedChanges } from '../model/changes.ts';
import type { Services } from '../services.ts';
import { ChangeResource } from './changeResource.ts';

export const SCM_ID = 'strata';

/** A container that writes all the time is compared so often that it takes a fifth of the time at most. */
const restFactor = 4;

/**
 * The changes of one container as a source control.
 *
 * Invariants: one comparison is under way at a time, and what was asked for meanwhile is made after it; what is shown is one comparison, whole.
 */
export class ContainerChanges implements vscode.Disposable {
  readonly container: ContainerId;
  readonly control: vscode.SourceControl;
  readonly #services: Services;
  readonly #name: string;
  readonly #groups: ReadonlyMap<ChangeGroup, vscode.SourceControlResourceGroup>;
  readonly #shown: (uris: readonly vscode.Uri[]) => void;
  readonly #disposed = new AbortController();
  #rows: ReadonlyMap<string, ChangeResource> = new Map();
  #stack: readonly LayerReference[] | undefined;
  #comparing: Promise<void> | undefined;
  #isDue = false;
  #restUntil = 0;
  #live: AbortController | undefined;
  #hasToldCut = false;

  /** `shown`: the files of it that editors show, whenever they may have changed. */
  constructor(services: Services, container: ContainerSummary, shown: (uris: readonly vscode.Uri[]) => void) {
    this.#services = services;
    this.container = container.id;
    this.#name = container.name;
    this.#shown = shown;
    this.control = vscode.scm.createSourceControl(SCM_ID, `Container ${container.name}`);
    this.control.inputBox.placeholder = `${container.name}: message ({0} commits it as an image)`;
    const commitTarget: unknown = { id: container.id };
    this.control.acceptInputCommand = { command: 'strata.container.commit', title: 'Commit as Image…', arguments: [commitTarget] };
    this.control.quickDiffProvider = { provideOriginalResource: (uri) => this.#below(uri) };
    this.#groups = new Map(
      changeGroupIds.map((id) => {
        const group = this.control.createResourceGroup(id, id);
        group.hideWhenEmpty = true;
        return [id, group];
      }),
    );
    this.control.count = 0;
  }

  dispose(): void {
    this.#disposed.abort();
    this.#live?.abort();
    this.control.dispose();
  }

  get name(): string {
    return this.#name;
  }

  /** The row of a file of the upper directory, or of that file as the container sees it. */
  row(uri: vscode.Uri): ChangeResource | undefined {
    const path = this.#pathOf(uri);
    return path === undefined ? undefined : this.#rows.get(path);
  }

  /** Compares, and shows it; resolves when what was asked for is shown. */
  async refresh(): Promise<void> {
    this.#isDue = true;
    this.#comparing ??= this.#compareWhileDue().finally(() => {
      this.#comparing = undefined;
    });
    await this.#comparing;
  }

  /** Follows the container's writes, on the present connection. */
  follow(): void {
    this.#live?.abort();
    const live = new AbortController();
    this.#live = live;
    void this.#follow(AbortSignal.any([live.signal, this.#disposed.signal]));
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { client, log, errors } = this.#services;
    try {
      for await (const _ of new ContainerArchive(client, this.container, signal).changeTimes()) {
        void errors.guard('Show Changes', async () => this.refresh());
      }
    } catch (error) {
      if (signal.aborted) return;
      log.warn(`The changes of ${this.#name} are not followed: ${messageOf(error)}`);
      // Where it cannot be followed it is looked at once; Refresh does it again.
      if (error instanceof StrataError && error.code === 'FEATURE_MISSING') await errors.guard('Show Changes', async () => this.refresh());
    }
  }

  async #compareWhileDue(): Promise<void> {
    while (this.#isDue && !this.#disposed.signal.aborted) {
      await delay(Math.max(0, this.#restUntil - performance.now()), undefined, { signal: this.#disposed.signal }).catch(() => {});
      this.#isDue = false;
      const begun = performance.now();
      const found = await this.#compare();
      if (this.#disposed.signal.aborted) return;
      this.#show(found);
      this.#restUntil = performance.now() + (performance.now() - begun) * restFactor;
    }
  }

  async #compare(): Promise<GroupedChanges> {
    const { client } = this.#services;
    // The layers of a container stay the same.
    this.#stack ??= (await client.request('layer.stack', { kind: 'container', container: this.container })).layers.map(
      ({ reference }) => reference,
    );
    const found = new GroupedChanges();
    const archive = new ContainerArchive(client, this.container, this.#disposed.signal);
    for await (const change of archive.changes({ details: true })) found.add(change);
    return found;
  }

  #show(found: GroupedChanges): void {
    const rows = new Map<string, ChangeResource>();
    const stack = this.#stack ?? [];
    for (const [id, group] of this.#groups) {
      const states = found.rows[id].map((change) => this.#rowOf(change, stack));
      for (const state of states) rows.set(state.change.path, state);
      group.label = found.label(id);
      group.resourceStates = states;
    }
    this.#rows = rows;
    this.control.count = found.count;
    this.#shown(vscode.workspace.textDocuments.map(({ uri }) => uri).filter((uri) => this.#pathOf(uri) !== undefined));
    if (found.isCut) this.#tellCut();
  }

  /** One that is as it was stays the same object, which VS Code then leaves alone. */
  #rowOf(change: Change, stack: readonly LayerReference[]): ChangeResource {
    const present = this.#rows.get(change.path);
    return present !== undefined && JSON.stringify(present.change) === JSON.stringify(change)
      ? present
      : new ChangeResource(this.container, change, stack);
  }

  #tellCut(): void {
    if (this.#hasToldCut) return;
    this.#hasToldCut = true;
    void vscode.window.showInformationMessage(
      `${this.#name} has more changes than can be shown: of each group the first ones are. "strata diff --detail ${this.#name}" tells all.`,
    );
  }

  #pathOf(uri: vscode.Uri): string | undefined {
    const place = parseLayerUri(uri);
    if (place !== undefined) return place.layer.kind === 'upper' && place.layer.container === this.container ? place.path : undefined;
    const seen = parseViewUri(uri);
    return seen?.view.kind === 'container' && seen.view.container === this.container && seen.view.layers === undefined
      ? seen.path
      : undefined;
  }

  #below(uri: vscode.Uri): vscode.Uri | undefined {
    const row = this.row(uri);
    return row?.uriNow === undefined ? undefined : row.uriBelow;
  }
}
