import { homedir } from 'node:os';
import * as vscode from 'vscode';
import { formatBytes } from '../model/units.ts';
import type { Report } from './cancellable.ts';

const reportEveryMs = 200;

/** Where a file dialog begins. Without a folder VS Code might begin anywhere. */
export function startIn(): { readonly defaultUri?: vscode.Uri } {
  return vscode.workspace.workspaceFolders === undefined ? { defaultUri: vscode.Uri.file(homedir()) } : {};
}

/** The same for a file of this name that is yet to be written. */
export function startAt(name: string): { readonly defaultUri: vscode.Uri } {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri ?? vscode.Uri.file(homedir());
  return { defaultUri: vscode.Uri.joinPath(folder, name) };
}

/** Tells how many bytes there are by now, a few times a second. */
export function reportBytes(report: Report): (bytes: number) => void {
  let shownAt = 0;
  return (bytes) => {
    if (performance.now() - shownAt < reportEveryMs) return;
    shownAt = performance.now();
    report(formatBytes(bytes));
  };
}

/** The same bytes, counted as they pass. */
export async function* counted(source: AsyncIterable<Uint8Array>, progress: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  let sum = 0;
  for await (const bytes of source) {
    yield bytes;
    sum += bytes.byteLength;
    progress(sum);
  }
}
