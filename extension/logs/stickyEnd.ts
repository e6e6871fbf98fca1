import * as vscode from 'vscode';

interface Seen {
  readonly first: number;
  readonly last: number;
}

/** So long a reveal of ours may be under way: one that meets a person who scrolls up at that moment would pull them back. */
const LATE_REVEAL_MS = 400;
/** So late the window may tell of a scroll: its end is the end that the document had then. */
const LATE_SCROLL_MS = 1500;

interface Length {
  readonly lineCount: number;
  readonly atMs: number;
}

/**
 * Whether the editors of one document stay at its end while it grows: until a person scrolls up, and again when they come back
 * to the end.
 */
export class StickyEnd implements vscode.Disposable {
  readonly #uri: () => vscode.Uri;
  readonly #seen = new WeakMap<vscode.TextEditor, Seen>();
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #listener: vscode.Disposable;
  #isFollowing = true;
  #revealedAtMs = 0;
  /** How long the document was, the newest last: not further back than a scroll may be told late, and one before that. */
  #lengths: Length[] = [];
  /** Where a person has just scrolled up to. */
  #left: { readonly editor: vscode.TextEditor; readonly first: number; readonly atMs: number } | undefined;
  readonly onDidChange = this.#changed.event;

  constructor(uri: () => vscode.Uri) {
    this.#uri = uri;
    this.#listener = vscode.window.onDidChangeTextEditorVisibleRanges(({ textEditor, visibleRanges }) => {
      if (textEditor.document.uri.toString() === this.#uri().toString()) this.#scrolled(textEditor, visibleRanges);
    });
  }

  dispose(): void {
    this.#listener.dispose();
    this.#changed.dispose();
  }

  get isFollowing(): boolean {
    return this.#isFollowing;
  }

  follow(wanted: boolean): void {
    this.#left = undefined;
    this.#lengths = [];
    this.#set(wanted);
    if (wanted) this.reveal();
  }

  /** The document has changed. */
  grown(): void {
    const lineCount = this.editors()[0]?.document.lineCount;
    if (lineCount !== undefined) this.#remember({ lineCount, atMs: performance.now() });
    if (this.#isFollowing) this.reveal();
  }

  reveal(): void {
    this.#revealedAtMs = performance.now();
    for (const editor of this.editors()) {
      const { end } = editor.document.lineAt(editor.document.lineCount - 1).range;
      editor.revealRange(new vscode.Range(end, end));
    }
  }

  editors(): readonly vscode.TextEditor[] {
    return vscode.window.visibleTextEditors.filter(({ document }) => document.uri.toString() === this.#uri().toString());
  }

  #scrolled(editor: vscode.TextEditor, ranges: readonly vscode.Range[]): void {
    const first = ranges[0]?.start.line;
    const last = ranges.at(-1)?.end.line;
    if (first === undefined || last === undefined) return;
    const before = this.#seen.get(editor);
    this.#seen.set(editor, { first, last });
    if (before === undefined) return;
    const isDown = first > before.first || last > before.last;
    const { lineCount } = editor.document;
    const isAtEnd = last >= (isDown && !this.#isFollowing ? this.#shortest(lineCount) : lineCount) - 2;
    if (isAtEnd && isDown) {
      if (!this.#wasPulledBack(editor)) this.#set(true);
    }
    // Lines that go from the front never look like this: without them the end is in view (no scrolling beyond the last line).
    else if (!isAtEnd && first < before.first) {
      this.#left = { editor, first, atMs: performance.now() };
      this.#set(false);
    }
  }

  #remember(length: Length): void {
    const known = this.#lengths.findLastIndex(({ atMs }) => atMs < length.atMs - LATE_SCROLL_MS);
    this.#lengths = [...this.#lengths.slice(Math.max(known, 0)), length];
  }

  /** Of the lengths that the document had when a scroll that is told now may have happened. */
  #shortest(now: number): number {
    return Math.min(now, ...this.#lengths.map(({ lineCount }) => lineCount));
  }

  /** Whether a reveal that was under way when they scrolled up came after it: then they are brought back. */
  #wasPulledBack(editor: vscode.TextEditor): boolean {
    const left = this.#left;
    this.#left = undefined;
    if (left?.editor !== editor || performance.now() - left.atMs > LATE_REVEAL_MS || left.atMs - this.#revealedAtMs > LATE_REVEAL_MS)
      return false;
    editor.revealRange(new vscode.Range(left.first, 0, left.first, 0), vscode.TextEditorRevealType.AtTop);
    return true;
  }

  #set(isFollowing: boolean): void {
    if (isFollowing === this.#isFollowing) return;
    this.#isFollowing = isFollowing;
    this.#changed.fire();
  }
}
