import * as vscode from 'vscode';
import type { MethodResult } from '../../helper/protocol/index.ts';
import { messageOf } from '../errors.ts';
import { shortId } from '../model/containerWords.ts';
import { historySteps } from '../model/historySteps.ts';
import type { ChangeSet } from '../model/state.ts';
import { formatBytes, formatDuration, formatTime } from '../model/units.ts';
import type { Services } from '../services.ts';

export const DOCUMENT_SCHEME = 'strata-document';

/** What can be read as a document, and the ending that gives its tab a language. */
const endings = {
  container: '.json',
  image: '.json',
  history: '.history.txt',
  usage: '.txt',
  processes: '.processes.txt',
  host: '.json',
} as const;
export type DocumentKind = keyof typeof endings;

/** strata-document:/container/<id>/web.json: the last part is the tab's title. */
export function documentUri(kind: DocumentKind, id: string, name: string): vscode.Uri {
  return vscode.Uri.from({ scheme: DOCUMENT_SCHEME, path: `/${kind}/${id}/${name.replaceAll('/', '∕')}${endings[kind]}` });
}

/** Read-only documents of what the helper says; those that are open are read again when their subject changes. */
export class HelperDocuments implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #services: Services;
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly #stop: () => void;
  readonly onDidChange = this.#changed.event;

  constructor(services: Services) {
    this.#services = services;
    const stops = [
      services.store.onChange((changes) => this.#stateChanged(changes)),
      // What could not be asked meanwhile stands there as an error.
      services.client.onState(({ kind }) => {
        if (kind === 'connected') this.refresh();
      }),
    ];
    this.#stop = () => {
      for (const stop of stops) stop();
    };
  }

  dispose(): void {
    this.#stop();
    this.#changed.dispose();
  }

  /** Shows a document, as things are now: VS Code keeps what it has of one that is open. */
  async open(kind: DocumentKind, id: string, name: string): Promise<void> {
    const uri = documentUri(kind, id, name);
    const isOpen = openDocuments().some((open) => open.toString() === uri.toString());
    if (isOpen) this.#changed.fire(uri);
    const document = await vscode.workspace.openTextDocument(uri);
    await vscode.window.showTextDocument(document, { preview: true });
  }

  /** All that are open are asked for again. */
  refresh(): void {
    for (const uri of openDocuments()) this.#changed.fire(uri);
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const { client } = this.#services;
    const { kind, id } = parseDocumentUri(uri);
    try {
      switch (kind) {
        case 'container':
          return json(await client.request('container.inspect', { container: id }));
        case 'image':
          return json(await client.request('image.inspect', { image: id }));
        case 'history':
          return historyTable(await client.request('image.history', { image: id }));
        case 'usage':
          return usageTables(await client.request('host.diskUsage', {}));
        case 'host':
          return json(await client.request('host.info', {}));
        case 'processes':
          return processTable(await client.request('container.processes', { container: id }));
        case undefined:
          return "This document is none of Strata's.\n";
        default:
          return kind satisfies never;
      }
    } catch (error) {
      // Thrown, it would be a notification for each open document whenever the helper restarts.
      return endings[kind ?? 'host'].endsWith('.txt') ? `${messageOf(error)}\n` : json({ error: messageOf(error) });
    }
  }

  /** One whose subject was removed keeps what it says: it is the last there is to know. */
  #stateChanged(changes: ChangeSet): void {
    const ids = new Set<string>([...changes.containers.added, ...changes.containers.changed, ...changes.images.changed]);
    for (const uri of openDocuments()) if (ids.has(parseDocumentUri(uri).id)) this.#changed.fire(uri);
  }
}

function openDocuments(): readonly vscode.Uri[] {
  return vscode.workspace.textDocuments.map(({ uri }) => uri).filter(({ scheme }) => scheme === DOCUMENT_SCHEME);
}

function parseDocumentUri(uri: vscode.Uri): { readonly kind: DocumentKind | undefined; readonly id: string } {
  const [, kind = '', id = ''] = uri.path.split('/');
  return { kind: isDocumentKind(kind) ? kind : undefined, id };
}

function isDocumentKind(kind: string): kind is DocumentKind {
  return Object.hasOwn(endings, kind);
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

function processTable({ processes, truncated }: MethodResult<'container.processes'>): string {
  const rows = processes.map((process) => [
    String(process.containerPid),
    String(process.hostPid),
    process.containerUid === null ? '?' : String(process.containerUid),
    String(process.hostUid),
    process.state,
    formatDuration(process.cpuMs),
    formatBytes(process.residentBytes),
    process.startedAt,
    process.command,
  ]);
  const header = ['PID', 'HOST PID', 'USER', 'HOST USER', 'STATE', 'CPU', 'MEMORY', 'STARTED', 'COMMAND'];
  return `${table(header, rows)}${truncated ? '… and more than can be shown\n' : ''}`;
}

function historyTable({ entries }: MethodResult<'image.history'>): string {
  const rows = historySteps(entries).map(({ entry, layer, instruction, rest }) => [
    layer === undefined ? '' : String(layer),
    entry.layer === null ? '' : formatBytes(entry.layer.sizeBytes),
    entry.createdAt === null ? '' : formatTime(entry.createdAt),
    `${instruction} ${rest}`.trim(),
    entry.comment ?? '',
  ]);
  return table(['LAYER', 'SIZE', 'MADE', 'MADE BY', 'COMMENT'], rows);
}

function usageTables({ images, containers, layers, blobs }: MethodResult<'host.diskUsage'>): string {
  const sums = [['Layers of images, unpacked', layers] as const, ['What is kept to be sent to others', blobs] as const].map(
    ([what, { count, sizeBytes, reclaimableBytes }]) => [what, String(count), formatBytes(sizeBytes), formatBytes(reclaimableBytes)],
  );
  const ofImages = images.map((image) => [
    image.references.length === 0 ? shortId(image.id) : image.references.join(', '),
    formatBytes(image.sizeBytes),
    formatBytes(image.sharedBytes),
    formatBytes(image.uniqueBytes),
    image.containers.join(', '),
  ]);
  const ofContainers = containers.map((container) => [
    container.name,
    container.running ? 'running' : 'stopped',
    container.upperBytes === null ? 'too much to count' : formatBytes(container.upperBytes),
    formatBytes(container.logBytes),
  ]);
  return [
    table(['WHAT', 'COUNT', 'SIZE', 'NOT IN USE'], sums),
    ...(ofImages.length === 0 ? [] : [table(['IMAGE', 'SIZE', 'SHARED', 'ITS OWN', 'USED BY'], ofImages)]),
    ...(ofContainers.length === 0 ? [] : [table(['CONTAINER', 'STATE', 'WRITTEN', 'LOG'], ofContainers)]),
  ].join('\n');
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return `${[header, ...rows].map(line).join('\n')}\n`;
}
