import * as vscode from 'vscode';

interface Seen {
  readonly first: number;
  readonly last: number;
}

/** So long a reveal of ours may be under way: one that meets a person who scrolls up at that moment would pull them back. */
const LATE_REVEAL_MS = 400;

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
    this.#set(wanted);
    if (wanted) this.reveal();
  }

  /** The document has changed. */
  grown(): void {
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
    const isAtEnd = last >= editor.document.lineCount - 2;
    if (before === undefined) return;
    if (isAtEnd && (first > before.first || last > before.last)) {
      if (!this.#wasPulledBack(editor)) this.#set(true);
    }
    // Lines that go from the front never look like this: without them the end is in view (no scrolling beyond the last line).
    else if (!isAtEnd && first < before.first) {
      this.#left = { editor, first, atMs: performance.now() };
      this.#set(false);
    }
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
