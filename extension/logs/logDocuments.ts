import * as vscode from 'vscode';
import type { ContainerId, ContainerSummary } from '../../helper/protocol/index.ts';
import type { Services } from '../services.ts';
import { readSettings } from '../settings.ts';
import { LogDocument } from './logDocument.ts';
import { containerOfLog, LOG_SCHEME, logUri } from './logUri.ts';

/** The logs that are open as documents. One lives as long as it has a tab. */
export class LogDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #services: Services;
  readonly #open = new Map<ContainerId, LogDocument>();
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #listeners: vscode.Disposable[];
  /** The active one, or something that it shows, has changed. */
  readonly onDidChangeActive = this.#changed.event;

  constructor(services: Services) {
    this.#services = services;
    this.#listeners = [
      vscode.workspace.registerTextDocumentContentProvider(LOG_SCHEME, this),
      vscode.window.tabGroups.onDidChangeTabs(({ closed }) => {
        this.#closed(new Set(closed.map((tab) => uriOf(tab)?.toString())));
      }),
      vscode.window.onDidChangeActiveTextEditor(() => this.#changed.fire()),
    ];
  }

  dispose(): void {
    for (const document of this.#open.values()) document.dispose();
    vscode.Disposable.from(...this.#listeners, this.#changed).dispose();
  }

  /** That of the active editor. */
  get active(): LogDocument | undefined {
    const container = containerOfLog(vscode.window.activeTextEditor?.document.uri);
    return container === undefined ? undefined : this.#open.get(container);
  }

  async show({ id, name }: ContainerSummary): Promise<void> {
    const uri = this.#open.get(id)?.uri ?? logUri(id, name);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document, { preview: false });
  }

  provideTextDocumentContent(uri: vscode.Uri): Promise<string> | string {
    const container = containerOfLog(uri);
    if (container === undefined) return "This document is none of Strata's.\n";
    return this.#document(container, uri).content();
  }

  #document(container: ContainerId, uri: vscode.Uri): LogDocument {
    let document = this.#open.get(container);
    if (document === undefined) {
      const { logLines, logTimes } = readSettings();
      document = new LogDocument(this.#services, container, { uri, keep: logLines, times: logTimes });
      this.#open.set(container, document);
      this.#watch(document);
    }
    return document;
  }

  #watch(document: LogDocument): void {
    document.onDidChange(() => {
      if (this.active !== document) return;
      this.#changed.fire();
      if (document.isWorn) void this.#services.errors.guard('Go on with a log', () => renew(document));
    });
  }

  /** Those of these that have no tab any more. One that is being opened has none yet. */
  #closed(closed: ReadonlySet<string | undefined>): void {
    const shown = new Set(vscode.window.tabGroups.all.flatMap(({ tabs }) => tabs.map((tab) => uriOf(tab)?.toString())));
    for (const [container, document] of this.#open) {
      const uri = document.uri.toString();
      if (!closed.has(uri) || shown.has(uri)) continue;
      document.dispose();
      this.#open.delete(container);
      this.#changed.fire();
    }
  }
}

function uriOf(tab: vscode.Tab): vscode.Uri | undefined {
  return tab.input instanceof vscode.TabInputText ? tab.input.uri : undefined;
}

/** Another document takes the place of the one that is shown, with nothing to undo. */
async function renew(document: LogDocument): Promise<void> {
  const before = document.uri;
  const tabs = vscode.window.tabGroups.all.flatMap((group) => group.tabs).filter((tab) => uriOf(tab)?.toString() === before.toString());
  document.moveTo(before.with({ query: String(Number(before.query) + 1) }));
  for (const { group } of tabs.filter((tab) => tab.isActive))
    await vscode.window.showTextDocument(document.uri, { viewColumn: group.viewColumn, preserveFocus: !group.isActive, preview: false });
  await vscode.window.tabGroups.close(tabs, true);
}
