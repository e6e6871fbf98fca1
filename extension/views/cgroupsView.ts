import * as vscode from 'vscode';
import type { ContainerId, ContainerSummary, Stats } from '../../helper/protocol/index.ts';
import { itemKinds, views } from '../contributions/views.ts';
import { type Figure, type FigureKey, figureSummary, figuresOf, figureWords, shortName, worstStrain } from '../model/figures.ts';
import type { ChangeSet } from '../model/state.ts';
import type { Services } from '../services.ts';
import { readSettings } from '../settings.ts';
import { containerContext, containerIcon } from './containerItem.ts';
import { detailsTooltip, escapeMarkdown } from './markdown.ts';

interface ContainerRow {
  readonly kind: 'container';
  readonly id: ContainerId;
}

interface FigureRow {
  readonly kind: 'figure';
  /** The container's, so that a command on the row is one on its container. */
  readonly id: ContainerId;
  readonly container: ContainerRow;
  readonly figure: FigureKey;
}

type Row = ContainerRow | FigureRow;

const figureIcons: Readonly<Record<FigureKey, string>> = {
  cpu: 'pulse',
  throttled: 'watch',
  memory: 'database',
  memoryKinds: 'symbol-structure',
  memoryPeak: 'arrow-up',
  swap: 'arrow-swap',
  pids: 'list-tree',
  io: 'save',
  oomKills: 'flame',
};

/** Those that a limit of the container bears on: "Change Limits…" is on their rows. */
const limitedFigures: readonly FigureKey[] = ['cpu', 'throttled', 'memory', 'swap', 'pids'];

const strainColors = { none: undefined, high: 'list.warningForeground', over: 'list.errorForeground' } as const;

/** So long the figures of a container stand still for its tooltip. */
const TOOLTIP_HOLD_MS = 5000;

/**
 * Figures of the running containers. Readings are asked for only while the view can be seen, and a reading redraws only
 * the rows whose text it changes. Rows are in the order of names: by use they would jump under the mouse.
 */
export class CgroupsView implements vscode.TreeDataProvider<Row>, vscode.Disposable {
  readonly #services: Services;
  readonly #changed = new vscode.EventEmitter<Row[] | undefined>();
  readonly #rows = new Map<ContainerId, ContainerRow>();
  readonly #figureRows = new Map<string, FigureRow>();
  /** What each row showed last: by the container's id, or as `figureKey` names it. */
  readonly #shown = new Map<string, string>();
  readonly #heldUntilMs = new Map<ContainerId, number>();
  readonly #tree: vscode.TreeView<Row>;
  readonly #disposables: vscode.Disposable[] = [];
  #order = '';
  #isSubscribed = false;
  readonly onDidChangeTreeData = this.#changed.event;

  constructor(services: Services) {
    this.#services = services;
    this.#tree = vscode.window.createTreeView<Row>(views.cgroups.id, { treeDataProvider: this, showCollapseAll: true });
    this.#disposables.push(
      this.#tree,
      this.#changed,
      this.#tree.onDidChangeVisibility(() => this.#subscribe()),
      new vscode.Disposable(
        services.client.onMessage((message) => {
          if (message.kind === 'event' && message.event === 'stats.sampled') this.#sampled(message.params.samples);
        }),
      ),
      new vscode.Disposable(services.store.onChange((changes) => this.#stateChanged(changes))),
      new vscode.Disposable(
        services.client.onState(() => {
          this.#isSubscribed = false; // a subscription is the connection's
          this.#subscribe();
        }),
      ),
    );
    this.#subscribe();
  }

  dispose(): void {
    for (const disposable of this.#disposables) disposable.dispose();
  }

  /** After a change of the interval: the helper takes the last one asked for. */
  settingsChanged(): void {
    this.#isSubscribed = false;
    this.#subscribe();
  }

  refresh(): void {
    this.settingsChanged();
    this.#changed.fire(undefined);
  }

  getChildren(row?: Row): Row[] {
    if (row === undefined) return this.#running().map((container) => this.#row(container.id));
    if (row.kind === 'figure') return [];
    return this.#figures(row.id).map((figure) => this.#figureRow(row, figure.key));
  }

  getParent(row: Row): Row | undefined {
    return row.kind === 'figure' ? row.container : undefined;
  }

  getTreeItem(row: Row): vscode.TreeItem {
    const { id } = row;
    const container = this.#services.store.container(id);
    if (container === undefined) return new vscode.TreeItem('');
    if (row.kind === 'container') return containerRowItem(container, this.#services.figures.of(id), this.#figures(id));
    const figure = this.#figures(id).find(({ key }) => key === row.figure);
    return figure === undefined ? new vscode.TreeItem('') : figureItem(container, figure);
  }

  /** Called when the mouse rests on a row. A redraw would take the tooltip away before it is read, so the row waits. */
  resolveTreeItem(item: vscode.TreeItem, row: Row): vscode.TreeItem {
    const { id } = row;
    const container = this.#services.store.container(id);
    this.#heldUntilMs.set(id, performance.now() + TOOLTIP_HOLD_MS);
    if (container === undefined) return item;
    item.tooltip =
      row.kind === 'container'
        ? figuresTooltip(container, this.#figures(id))
        : this.#figures(id).find(({ key }) => key === row.figure)?.help;
    return item;
  }

  #running(): readonly ContainerSummary[] {
    return [...this.#services.store.state.containers.values()]
      .filter((container) => container.state.kind === 'running')
      .sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
  }

  #figures(id: ContainerId): readonly Figure[] {
    const stats = this.#services.figures.of(id);
    const container = this.#services.store.container(id);
    return stats === undefined || container === undefined ? [] : figuresOf(stats, container.limits);
  }

  #row(id: ContainerId): ContainerRow {
    let row = this.#rows.get(id);
    if (row === undefined) {
      row = { kind: 'container', id };
      this.#rows.set(id, row);
    }
    return row;
  }

  #figureRow(container: ContainerRow, figure: FigureKey): FigureRow {
    const key = figureKey(container.id, figure);
    let row = this.#figureRows.get(key);
    if (row === undefined) {
      row = { kind: 'figure', id: container.id, container, figure };
      this.#figureRows.set(key, row);
    }
    return row;
  }

  #sampled(samples: readonly Stats[]): void {
    this.#services.figures.sampled(samples);
    this.#redraw(samples.map((sample) => sample.id));
  }

  #stateChanged(changes: ChangeSet): void {
    for (const id of changes.containers.removed) {
      this.#rows.delete(id);
      this.#heldUntilMs.delete(id);
      for (const map of [this.#figureRows, this.#shown]) for (const key of map.keys()) if (key.startsWith(id)) map.delete(key);
    }
    const order = this.#running()
      .map((container) => container.id)
      .join();
    if (order !== this.#order) {
      this.#order = order;
      this.#changed.fire(undefined);
    } else {
      this.#redraw(changes.containers.changed);
    }
  }

  #redraw(ids: readonly ContainerId[]): void {
    const rows = ids.filter((id) => this.#rows.has(id) && !this.#isHeld(id)).flatMap((id) => this.#changedRows(id));
    if (rows.length > 0) this.#changed.fire(rows);
  }

  #isHeld(id: ContainerId): boolean {
    return performance.now() < (this.#heldUntilMs.get(id) ?? 0);
  }

  /** Each row goes by its own text: one that is drawn anew loses its tooltip, and takes those of the rows below it along. */
  #changedRows(id: ContainerId): Row[] {
    const stats = this.#services.figures.of(id);
    const figures = this.#figures(id);
    const changed = figures.filter(({ key, value, strain }) => this.#textChanged(figureKey(id, key), [value, strain]));
    const keys = figures.map(({ key }) => key);
    const own = [this.#services.store.container(id)?.revision, stats && figureSummary(stats, figures), worstStrain(figures), keys];
    if (this.#textChanged(id, own)) return [this.#row(id)];
    return changed.flatMap(({ key }) => this.#figureRows.get(figureKey(id, key)) ?? []);
  }

  #textChanged(row: string, shown: unknown): boolean {
    const text = JSON.stringify(shown);
    if (this.#shown.get(row) === text) return false;
    this.#shown.set(row, text);
    return true;
  }

  #subscribe(): void {
    const { client, log } = this.#services;
    const wanted = this.#tree.visible && client.state.kind === 'connected';
    if (wanted === this.#isSubscribed) return;
    this.#isSubscribed = wanted;
    if (client.state.kind !== 'connected') return;
    const answer = wanted
      ? client.request('stats.subscribe', { intervalMs: readSettings().statsIntervalMs })
      : client.request('stats.unsubscribe', {});
    answer.catch((error: unknown) => {
      log.warn(`figures: ${String(error)}`);
      // The next look at the view asks again.
      this.#isSubscribed = !wanted;
    });
  }
}

function figureKey(id: ContainerId, figure: FigureKey): string {
  return `${id}/${figure}`;
}

function containerRowItem(container: ContainerSummary, stats: Stats | undefined, figures: readonly Figure[]): vscode.TreeItem {
  const item = new vscode.TreeItem(shortName(container.name), vscode.TreeItemCollapsibleState.Collapsed);
  const color = strainColors[worstStrain(figures)];
  const icon = containerIcon(container);
  item.id = `cgroup/${container.id}`;
  item.description = stats === undefined ? 'reading…' : figureSummary(stats, figures);
  item.iconPath = color === undefined ? icon : new vscode.ThemeIcon(icon.id, new vscode.ThemeColor(color));
  item.contextValue = containerContext(container);
  item.accessibilityInformation = { label: `${container.name}, ${stats === undefined ? 'reading…' : figureWords(stats, figures)}` };
  return item;
}

function figuresTooltip(container: ContainerSummary, figures: readonly Figure[]): vscode.MarkdownString {
  return detailsTooltip(
    container.name,
    figures.map(({ label, value }) => [label, escapeMarkdown(value)] as const),
  );
}

function figureItem(container: ContainerSummary, figure: Figure): vscode.TreeItem {
  const item = new vscode.TreeItem(figure.label);
  const color = strainColors[figure.strain];
  item.id = `cgroup/${container.id}/${figure.key}`;
  item.description = figure.value;
  if (limitedFigures.includes(figure.key)) item.contextValue = itemKinds.limitedFigure;
  item.iconPath = new vscode.ThemeIcon(figureIcons[figure.key], color === undefined ? undefined : new vscode.ThemeColor(color));
  item.accessibilityInformation = { label: `${figure.label}: ${figure.value}` };
  return item;
}
