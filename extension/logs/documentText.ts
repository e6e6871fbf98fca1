import * as vscode from 'vscode';
import type { LogBuffer } from '../model/log/logBuffer.ts';
import { formatLogLine, type LogLayout } from '../model/log/logLine.ts';

const EARLIER = '── earlier lines are not shown: "Load Earlier Lines" brings them ──';

interface Published {
  readonly buffer: LogBuffer;
  readonly layout: string;
  /** Numbers of the lines that the document has. */
  readonly first: number;
  readonly end: number;
  /** Its first line says that there are earlier ones. */
  readonly header: boolean;
}

/** What a document shall show. */
export interface DocumentContent {
  readonly buffer: LogBuffer;
  readonly layout: LogLayout;
  readonly hasEarlier: boolean;
}

/**
 * The text of one read-only document, kept in step with a buffer by the smallest edits: what is selected, found or in view stays,
 * and only what is new goes over the wire to the window. (A content provider's own event would send the whole text and replace it.)
 *
 * Invariants: one edit at a time; the document's text is that of `#published`, and ends with an empty line.
 */
export class DocumentText {
  readonly #uri: vscode.Uri;
  #published: Published | undefined;
  #editedCharacters = 0;

  constructor(uri: vscode.Uri) {
    this.#uri = uri;
  }

  /** How much was put in and taken out since the document was opened: VS Code keeps all of it to undo it. */
  get editedCharacters(): number {
    return this.#editedCharacters;
  }

  /** Where the document has a line of the buffer. */
  lineOf(number: number): number {
    const { first, header } = this.#published ?? { first: number, header: false };
    return number - first + (header ? 1 : 0);
  }

  /** The whole text, for a document that is being opened. */
  whole(content: DocumentContent): string {
    const { buffer, layout, hasEarlier } = content;
    const header = hasEarlier || buffer.first > 0;
    this.#published = { buffer, layout: JSON.stringify(layout), first: buffer.first, end: buffer.end, header };
    const lines = buffer.from(buffer.first).map((line) => formatLogLine(line, layout));
    return [...(header ? [EARLIER] : []), ...lines, ''].join('\n');
  }

  /** Brings an open document up to date; false where it was changed by somebody else meanwhile, or is not open. */
  async update(content: DocumentContent): Promise<boolean> {
    const document = vscode.workspace.textDocuments.find((open) => open.uri.toString() === this.#uri.toString());
    if (document === undefined) return false;
    const { buffer, layout } = content;
    const before = this.#published;
    const lineCount = before === undefined ? -1 : before.end - before.first + (before.header ? 1 : 0) + 1;
    const isSame = before?.buffer === buffer && before.layout === JSON.stringify(layout) && before.end > buffer.first;
    const edit = new vscode.WorkspaceEdit();
    if (before === undefined || !isSame || document.lineCount !== lineCount) {
      const text = this.whole(content);
      edit.replace(this.#uri, new vscode.Range(0, 0, document.lineCount, 0), text);
      this.#editedCharacters += text.length;
    } else {
      const header = before.header || buffer.first > before.first;
      if (buffer.first > before.first || header !== before.header) {
        const from = before.header ? 1 : 0;
        const dropped = new vscode.Range(from, 0, from + buffer.first - before.first, 0);
        this.#editedCharacters += document.offsetAt(dropped.end) - document.offsetAt(dropped.start);
        edit.replace(this.#uri, dropped, before.header ? '' : `${EARLIER}\n`);
      }
      const added = buffer.from(before.end).map((line) => `${formatLogLine(line, layout)}\n`);
      if (added.length > 0) {
        const text = added.join('');
        edit.insert(this.#uri, new vscode.Position(document.lineCount - 1, 0), text);
        this.#editedCharacters += text.length;
      }
      this.#published = { ...before, first: buffer.first, end: buffer.end, header };
    }
    if (edit.size === 0) return true;
    const isDone = await vscode.workspace.applyEdit(edit);
    if (!isDone) this.#published = undefined;
    return isDone;
  }
}
