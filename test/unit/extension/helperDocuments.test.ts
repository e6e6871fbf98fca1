import { beforeEach, expect, it, vi } from 'vitest';

interface Uri {
  readonly scheme: string;
  readonly path: string;
}

/** What of VS Code the documents use: it keeps the text of one that is open until it is told of a change. */
const vscode = vi.hoisted(() => ({ open: [] as { uri: Uri }[], changed: [] as string[] }));
vi.mock('vscode', () => ({
  EventEmitter: class {
    readonly event = () => {};
    fire(uri: Uri): void {
      vscode.changed.push(uri.path);
    }
    dispose(): void {}
  },
  Uri: { from: (parts: Uri) => ({ ...parts, toString: () => `${parts.scheme}:${parts.path}` }) },
  workspace: {
    get textDocuments() {
      return vscode.open;
    },
    openTextDocument: (uri: Uri) => {
      vscode.open.push({ uri });
      return Promise.resolve({ uri });
    },
  },
  window: { showTextDocument: () => Promise.resolve() },
}));

import type { HelperState } from '../../../extension/client/helperState.ts';
import { HelperDocuments } from '../../../extension/files/helperDocuments.ts';
import type { Services } from '../../../extension/services.ts';

let stateListener: (state: HelperState) => void;
let documents: HelperDocuments;
beforeEach(() => {
  vscode.open.length = 0;
  vscode.changed.length = 0;
  const client = {
    onState: (listener: typeof stateListener) => {
      stateListener = listener;
      return () => {};
    },
  };
  documents = new HelperDocuments({ client, store: { onChange: () => () => {} } } as unknown as Services); // the two that they listen to
});

it('are asked for again when one is opened a second time', async () => {
  await documents.open('processes', 'abc', 'web');
  expect(vscode.changed).toEqual([]);
  await documents.open('processes', 'abc', 'web');
  expect(vscode.changed).toEqual(['/processes/abc/web.processes.txt']);
});

it('are asked for again when the helper is back, and when the user wants it', async () => {
  await documents.open('container', 'abc', 'web');
  stateListener({ kind: 'connecting' });
  expect(vscode.changed).toEqual([]);
  stateListener({ kind: 'connected', role: 'control', helperVersion: '1' });
  expect(vscode.changed).toEqual(['/container/abc/web.json']);
  documents.refresh();
  expect(vscode.changed).toHaveLength(2);
});
