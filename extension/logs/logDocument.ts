import * as vscode from 'vscode';
import { type ContainerId, type ContainerState, StrataError } from '../../helper/protocol/index.ts';
import { messageOf } from '../errors.ts';
import { exitSentence } from '../model/containerWords.ts';
import { LogBuffer } from '../model/log/logBuffer.ts';
import type { LogFilter } from '../model/log/logFilter.ts';
import type { ShownSources } from '../model/log/logLine.ts';
import { type LogRange, WHOLE_LOG } from '../model/log/logRange.ts';
import type { Services } from '../services.ts';
import { DocumentText } from './documentText.ts';
import { type FollowEnd, LogReader } from './logReader.ts';
import { StickyEnd } from './stickyEnd.ts';

/** What a person has chosen to see of a log. */
export interface LogChoices {
  readonly filter: LogFilter | undefined;
  readonly sources: ShownSources;
  readonly range: LogRange;
  readonly times: boolean;
}

/** "live": what is written appears. "behind": more was written than is held while the person looks at earlier lines. */
export type LogStatus = 'loading' | 'live' | 'behind' | 'ended' | 'away' | 'failed';

/** A document is brought up to date so often, however fast the log grows. */
const UPDATE_MS = 150;
/** VS Code keeps what was put into a document and taken out of it, to undo that; after so much of it there is another document. */
const MAX_EDITED_CHARACTERS = 16 * 1024 * 1024;
/** The same for a document that holds few lines, for each of them. */
const MAX_EDITED_A_LINE = 2000;
/** While a person looks at earlier lines nothing is dropped from the front, until there is so many times what is kept. */
const GROWTH = 2;

/**
 * One log as a document: what a person chose, the lines that fit it, and the reader that brings them.
 *
 * Invariants: one reader at a time, and only it adds lines; what is held is bounded, for a reader that brings more than that
 * waits.
 */
export class LogDocument implements vscode.Disposable {
  readonly container: ContainerId;
  readonly sticky: StickyEnd;
  readonly #services: Services;
  readonly #keep: number;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #stops: (() => void)[];
  #uri: vscode.Uri;
  #text: DocumentText;
  #choices: LogChoices;
  /** How many of the log's last lines are looked at, and how many of those that fit are held: "Load Earlier Lines" raises both. */
  #scan: number;
  #held: number;
  #buffer = new LogBuffer();
  #reader: LogReader | undefined;
  #status: LogStatus = 'loading';
  #goOn: (() => void) | undefined;
  #updating: Promise<void> | undefined;
  #isStale = false;
  /** Of updates that somebody waits for. */
  readonly #waiting: (() => void)[] = [];
  #isLoaded = false;
  /** Of the run whose output has ended: when it started, and whether the document tells how it ended. */
  #endedRun: { readonly startedAt: string | undefined; readonly isTold: boolean } | undefined;
  #isDisposed = false;
  readonly onDidChange = this.#changed.event;

  constructor(
    services: Services,
    container: ContainerId,
    options: { readonly uri: vscode.Uri; readonly keep: number; readonly times: boolean },
  ) {
    this.#services = services;
    this.container = container;
    this.#uri = options.uri;
    this.#keep = options.keep;
    this.#scan = options.keep;
    this.#held = options.keep;
    this.#choices = { filter: undefined, sources: 'both', range: WHOLE_LOG, times: options.times };
    this.#text = new DocumentText(this.#uri);
    this.sticky = new StickyEnd(() => this.#uri);
    const shown = [
      vscode.window.onDidChangeVisibleTextEditors(() => this.#shown()),
      this.sticky.onDidChange(() => {
        if (this.sticky.isFollowing) this.#proceed();
        this.#changed.fire();
      }),
    ];
    this.#stops = [
      services.client.onState(({ kind }) => {
        if (kind !== 'connected' || this.#status !== 'away') return;
        if (this.#isLoaded) void this.#follow();
        else void this.#load();
      }),
      services.store.onChange(({ containers }) => {
        if (this.#status === 'ended' && containers.changed.includes(container))
          this.#containerChanged(services.store.container(container)?.state);
      }),
      () => {
        for (const disposable of [...shown, this.sticky]) disposable.dispose();
      },
    ];
  }

  dispose(): void {
    this.#isDisposed = true;
    this.#reader?.stop();
    this.#proceed();
    for (const stop of this.#stops) stop();
    this.#changed.dispose();
  }

  get uri(): vscode.Uri {
    return this.#uri;
  }

  /** Whether it is time for another document, and nobody has anything in this one that they would lose. */
  get isWorn(): boolean {
    const isMuch = this.#text.editedCharacters > Math.min(MAX_EDITED_CHARACTERS, this.#held * MAX_EDITED_A_LINE);
    return isMuch && this.sticky.isFollowing && this.sticky.editors().every(({ selection }) => selection.isEmpty);
  }

  /** Goes on as another document, under this URI. */
  moveTo(uri: vscode.Uri): void {
    this.#uri = uri;
    this.#text = new DocumentText(uri);
  }

  get choices(): LogChoices {
    return this.#choices;
  }

  get status(): LogStatus {
    return this.#status;
  }

  get lineCount(): number {
    return this.#buffer.size;
  }

  get isTty(): boolean {
    return this.#reader?.isTty ?? false;
  }

  get hasEarlier(): boolean {
    return this.#reader?.hasEarlier === true || this.#buffer.first > 0;
  }

  /** The whole text, when VS Code opens the document. */
  async content(): Promise<string> {
    if (this.#reader === undefined) await this.#load();
    return this.#text.whole(this.#content());
  }

  async choose(change: Partial<LogChoices>): Promise<void> {
    const isLayoutOnly = Object.keys(change).every((key) => key === 'times');
    this.#choices = { ...this.#choices, ...change };
    if (isLayoutOnly) this.#update();
    else await this.#load();
    this.#changed.fire();
  }

  /** Reads further back, and shows what was the first line at the top, so that the new ones are a scroll away. */
  async loadEarlier(): Promise<void> {
    const first = this.#buffer.at(this.#buffer.first);
    // Where a filter leaves few lines, more of them are far back.
    if (this.#buffer.size < this.#held / 2) this.#scan *= 10;
    else this.#held += this.#keep;
    this.#scan = Math.max(this.#scan, this.#held);
    this.sticky.follow(false);
    await this.#load();
    await this.#updated();
    // What was the end before is amidst it now.
    this.sticky.follow(false);
    const number = first === undefined ? undefined : this.#buffer.find(first);
    if (number === undefined) return;
    const line = this.#text.lineOf(number);
    for (const editor of this.sticky.editors()) editor.revealRange(new vscode.Range(line, 0, line, 0), vscode.TextEditorRevealType.AtTop);
  }

  #content(): Parameters<DocumentText['update']>[0] {
    const { times, sources } = this.#choices;
    const isMixed = sources === 'both' && !this.isTty;
    return { buffer: this.#buffer, layout: { times, sources: isMixed }, hasEarlier: this.hasEarlier };
  }

  // ---- reading ----

  /** Reads the log anew; what is shown stays until that is there. */
  async #load(): Promise<void> {
    this.#reader?.stop();
    this.#proceed();
    const { range, sources, filter } = this.#choices;
    const buffer = new LogBuffer();
    // What fits a filter is looked for in the whole time range.
    const isWhole = filter !== undefined && (range.sinceMs !== undefined || range.untilMs !== undefined);
    const reader: LogReader = new LogReader(this.#services.client, {
      container: this.container,
      sources,
      range,
      ...(isWhole ? {} : { tail: this.#scan }),
      lines: (lines) => {
        buffer.add(filter === undefined ? lines : lines.filter(({ source, text }) => source === 'notice' || filter.lets(text)));
        if (this.#reader !== reader || this.#buffer !== buffer) buffer.trim(this.#held);
        else return this.#grown();
        return undefined;
      },
    });
    this.#reader = reader;
    this.#isLoaded = false;
    this.#endedRun = undefined;
    this.#setStatus('loading');
    try {
      await reader.load();
    } catch (error) {
      if (this.#reader === reader) this.#failed(error);
      return;
    }
    if (this.#reader !== reader || this.#isDisposed) return;
    this.#buffer = buffer;
    this.#isLoaded = true;
    this.#update();
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const reader = this.#reader;
    if (reader === undefined || this.#isDisposed) return;
    this.#setStatus('live');
    const end = await reader.follow();
    if (this.#reader !== reader || this.#isDisposed) return;
    this.#ended(end);
  }

  #ended(end: FollowEnd): void {
    switch (end.kind) {
      case 'stopped':
        return;
      case 'away':
        this.#setStatus('away');
        return;
      case 'failed':
        this.#failed(end.error);
        return;
      case 'ended':
        this.#setStatus('ended');
        this.#endedRun = { startedAt: startOf(end.state), isTold: false };
        if (end.state === undefined) this.#notice('the container was removed');
        else this.#containerChanged(end.state);
        return;
      default:
        end satisfies never;
    }
  }

  #failed(error: unknown): void {
    if (error instanceof StrataError && error.code === 'CONNECTION_CLOSED') {
      this.#setStatus('away');
      return;
    }
    this.#setStatus('failed');
    this.#notice(messageOf(error));
  }

  /** Of a container whose output has ended: the event that tells how may come later, and it may be started again. */
  #containerChanged(state: ContainerState | undefined): void {
    if (state?.kind === 'exited' && this.#endedRun?.isTold !== true) {
      this.#endedRun = { startedAt: startOf(state), isTold: true };
      this.#notice(`the container ${exitSentence(state.exit)}`, state.exit.finishedAt);
    } else if (state?.kind === 'running' && state.startedAt !== this.#endedRun?.startedAt) {
      this.#notice('the container was started', state.startedAt);
      void this.#follow();
    }
  }

  #notice(text: string, at?: string): void {
    const timeMs = at === undefined ? Date.now() : Date.parse(at);
    this.#buffer.add([{ timeMs: Number.isNaN(timeMs) ? Date.now() : timeMs, source: 'notice', text }]);
    this.#update();
  }

  /** The reader waits while what comes can neither be shown nor held. */
  #grown(): Promise<void> | undefined {
    this.#update();
    if (!this.#buffer.exceeds(this.#held * GROWTH)) return undefined;
    if (this.#mayDrop()) {
      this.#buffer.trim(this.#held);
      return undefined;
    }
    this.#setStatus('behind');
    return new Promise((resolve) => {
      this.#goOn = resolve;
    });
  }

  #proceed(): void {
    const goOn = this.#goOn;
    this.#goOn = undefined;
    if (goOn === undefined) return;
    this.#setStatus('live');
    this.#update();
    goOn();
  }

  /** Nobody looks at what would go, or would be moved by it. */
  #mayDrop(): boolean {
    return this.sticky.isFollowing || this.sticky.editors().length === 0;
  }

  // ---- showing ----

  #shown(): void {
    this.#changed.fire();
    if (this.sticky.editors().length > 0) this.#update();
  }

  #setStatus(status: LogStatus): void {
    if (status === this.#status) return;
    this.#status = status;
    this.#changed.fire();
  }

  #update(): void {
    this.#isStale = true;
    this.#updating ??= this.#updateWhileStale()
      .catch((error: unknown) => this.#services.log.error(`log of ${this.container}: ${messageOf(error)}`))
      .finally(() => {
        this.#updating = undefined;
        for (const tell of this.#waiting.splice(0)) tell();
      });
  }

  /** When the document shows what is held now, or nobody looks at it. */
  #updated(): Promise<void> {
    const updated = new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#update();
    return updated;
  }

  async #updateWhileStale(): Promise<void> {
    while (this.#isStale && !this.#isDisposed && this.sticky.editors().length > 0) {
      this.#isStale = false;
      if (this.#mayDrop()) this.#buffer.trim(this.#held);
      const waiting = this.#waiting.splice(0);
      if (await this.#text.update(this.#content())) {
        for (const tell of waiting) tell();
      } else {
        this.#isStale = true;
        this.#waiting.push(...waiting);
      }
      this.sticky.grown();
      this.#changed.fire();
      await new Promise((resolve) => setTimeout(resolve, UPDATE_MS));
    }
  }
}

function startOf(state: ContainerState | undefined): string | undefined {
  return state === undefined || state.kind === 'created' ? undefined : (state.startedAt ?? undefined);
}
