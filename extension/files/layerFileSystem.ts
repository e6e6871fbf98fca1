import * as vscode from 'vscode';
import type { LayerReference, MethodName, MethodResult, Params } from '../../helper/protocol/index.ts';
import type { HelperClient } from '../client/helperClient.ts';
import { CONNECT_MS, fileType, readContent, translated } from './fileAnswers.ts';
import { parseLayerUri } from './layerUri.ts';

/** The files of single layers, read-only, with their real sizes and times. */
export class LayerFileSystem implements vscode.FileSystemProvider, vscode.Disposable {
  readonly #client: HelperClient;
  readonly #changed = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.#changed.event;

  constructor(client: HelperClient) {
    this.#client = client;
  }

  dispose(): void {
    this.#changed.dispose();
  }

  /** Who shows a container's changes tells of its files; else an editor reads again when it is opened again. */
  watch(): vscode.Disposable {
    return new vscode.Disposable(() => {});
  }

  /** Editors that show these read them again. */
  changed(uris: readonly vscode.Uri[]): void {
    this.#changed.fire(uris.map((uri) => ({ type: vscode.FileChangeType.Changed, uri })));
  }

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    const { layer, path } = located(uri);
    if (path === '/') return { type: vscode.FileType.Directory, ctime: 0, mtime: 0, size: 0, permissions: vscode.FilePermission.Readonly };
    const { entry } = await translated(uri, this.#request('layer.stat', { layer, path }));
    const mtime = Math.trunc(entry.mtimeMs);
    return { type: fileType(entry.kind), ctime: mtime, mtime, size: entry.sizeBytes, permissions: vscode.FilePermission.Readonly };
  }

  async readDirectory(uri: vscode.Uri): Promise<[string, vscode.FileType][]> {
    const { layer, path } = located(uri);
    const { entries } = await translated(uri, this.#request('layer.list', { layer, path }));
    return entries.filter((entry) => entry.kind !== 'whiteout').map((entry) => [entry.name, fileType(entry.kind)]);
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    const { layer, path } = located(uri);
    const { stream, sizeBytes } = await translated(uri, this.#request('layer.read', { layer, path }));
    return await translated(uri, readContent(path, this.#client.stream(stream), sizeBytes));
  }

  async #request<M extends MethodName>(method: M, params: Params<M>): Promise<MethodResult<M>> {
    await this.#client.settled(CONNECT_MS);
    return await this.#client.request(method, params);
  }

  createDirectory(uri: vscode.Uri): never {
    throw readOnly(uri);
  }

  writeFile(uri: vscode.Uri): never {
    throw readOnly(uri);
  }

  delete(uri: vscode.Uri): never {
    throw readOnly(uri);
  }

  rename(uri: vscode.Uri): never {
    throw readOnly(uri);
  }
}

function located(uri: vscode.Uri): { readonly layer: LayerReference; readonly path: string } {
  const place = parseLayerUri(uri);
  if (place === undefined) throw vscode.FileSystemError.FileNotFound(uri);
  return place;
}

function readOnly(uri: vscode.Uri): vscode.FileSystemError {
  return vscode.FileSystemError.NoPermissions(`${uri.path}: layers are read-only`);
}
