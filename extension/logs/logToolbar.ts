import * as vscode from 'vscode';
import { contextKeys } from '../contributions/context.ts';
import { WHOLE_LOG } from '../model/log/logRange.ts';
import type { LogDocument, LogStatus } from './logDocument.ts';
import type { LogDocuments } from './logDocuments.ts';

const statusWords: Readonly<Record<LogStatus, string>> = {
  loading: 'reading…',
  live: 'following',
  behind: 'waiting: go to the end to read on',
  ended: 'ended',
  away: 'the helper is away',
  failed: 'cannot be read',
};

/** What the active log shows, in the status bar, and what the icons above it ask for. */
export class LogToolbar implements vscode.Disposable {
  readonly #documents: LogDocuments;
  readonly #item = vscode.window.createStatusBarItem('strata.log', vscode.StatusBarAlignment.Right, 101);
  readonly #listener: vscode.Disposable;
  readonly #told = new Map<string, unknown>();

  constructor(documents: LogDocuments) {
    this.#documents = documents;
    this.#item.name = 'Strata Log';
    this.#item.command = 'strata.log.menu';
    this.#listener = documents.onDidChangeActive(() => this.#draw());
    this.#draw();
  }

  dispose(): void {
    this.#listener.dispose();
    this.#item.dispose();
  }

  #draw(): void {
    const log = this.#documents.active;
    this.#tell(contextKeys.logFollows, log?.sticky.isFollowing === true);
    this.#tell(contextKeys.logFiltered, log !== undefined && isFiltered(log));
    this.#tell(contextKeys.logRanged, log !== undefined && log.choices.range !== WHOLE_LOG);
    this.#tell(contextKeys.logHasEarlier, log?.hasEarlier === true);
    if (log === undefined) {
      this.#item.hide();
      return;
    }
    const words = wordsOf(log);
    this.#item.text = `$(output) ${words.join(' · ')}`;
    this.#item.tooltip = 'What is shown of this log: choose';
    this.#item.accessibilityInformation = { label: `Log: ${words.join(', ')}` };
    this.#item.show();
  }

  #tell(key: string, value: unknown): void {
    if (this.#told.get(key) === value) return;
    this.#told.set(key, value);
    void vscode.commands.executeCommand('setContext', key, value);
  }
}

function isFiltered({ choices }: LogDocument): boolean {
  return choices.filter !== undefined || choices.sources !== 'both';
}

function wordsOf(log: LogDocument): string[] {
  const { filter, sources, range } = log.choices;
  const isLive = log.status === 'live';
  const status = isLive && !log.sticky.isFollowing ? 'live, not following' : statusWords[log.status];
  return [
    `${log.lineCount.toLocaleString('en')} ${log.lineCount === 1 ? 'line' : 'lines'}`,
    ...(filter === undefined ? [] : [filter.text.length > 24 ? `${filter.text.slice(0, 24)}…` : filter.text]),
    ...(sources === 'both' ? [] : [sources]),
    ...(range === WHOLE_LOG ? [] : [range.words]),
    status,
  ];
}
