import * as vscode from 'vscode';
import {
  type ContainerId,
  containerIdSchema,
  type MethodName,
  type MethodResult,
  type Params,
  type ViewEntry,
  type ViewReference,
} from '../../helper/protocol/index.ts';
import { upload } from '../../helper/wire/upload.ts';
import type { HelperClient } from '../client/helperClient.ts';
import { CONNECT_MS, fileType, readContent, translated } from './fileAnswers.ts';
import { parseViewUri } from './viewUri.ts';

const UPLOAD_CHUNK_BYTES = 256 * 1024;

/** What containers and images have, as a container sees it: with its own mounts, and written through them. */
export class ViewFileSystem implements vscode.FileSystemProvider, vscode.Disposable {
  readonly #client: HelperClient;
  readonly #changed = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  /** Of what was changed from here; of what the container itself writes where its changes are shown. */
  readonly onDidChangeFile = this.#changed.event;

  constructor(client: HelperClient) {
    this.#client = client;
  }

  dispose(): void {
    this.#changed.dispose();
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => {});
  }

  /** Editors that show these read them again. */
  changed(uris: readonly vscode.Uri[]): void {
    this.#tell(...uris.map((uri): [vscode.Uri, vscode.FileChangeType] => [uri, vscode.FileChangeType.Changed]));
  }

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    const place = located(uri);
    const { entry } = await translated(uri, this.#request('view.stat', place));
    if (entry.kind !== 'symlink' || entry.linkKind === undefined) return fileStat(entry, fileType(entry.kind));
    const { entry: target } = await translated(uri, this.#request('view.stat', { ...place, follow: true }));
    return fileStat(target, fileType('symlink') | fileType(target.kind));
  }

  async readDirectory(uri: vscode.Uri): Promise<[string, vscode.FileType][]> {
    const { entries } = await translated(uri, this.#request('view.list', located(uri)));
    return entries.map((entry) => [entry.name, typeOf(entry)]);
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    const place = located(uri);
    const { stream, sizeBytes } = await translated(uri, this.#request('view.read', place));
    return await translated(uri, readContent(place.path, this.#client.stream(stream), sizeBytes));
  }

  async writeFile(uri: vscode.Uri, content: Uint8Array, options: { readonly create: boolean; readonly overwrite: boolean }): Promise<void> {
    const { container, path } = writable(uri);
    const how = { container, path, sizeBytes: content.byteLength, create: options.create, replace: options.overwrite };
    await translated(
      uri,
      this.#settled(async () => {
        await upload(this.#client, chunksOf(content), (stream) => this.#client.request('file.write', { ...how, stream }));
      }),
    );
    this.#tell([uri, vscode.FileChangeType.Changed]);
  }

  async createDirectory(uri: vscode.Uri): Promise<void> {
    await translated(uri, this.#request('file.makeDirectory', writable(uri)));
    this.#tell([uri, vscode.FileChangeType.Created]);
  }

  async delete(uri: vscode.Uri, { recursive }: { readonly recursive: boolean }): Promise<void> {
    await translated(uri, this.#request('file.remove', { ...writable(uri), recursive }));
    this.#tell([uri, vscode.FileChangeType.Deleted]);
  }

  async rename(from: vscode.Uri, to: vscode.Uri, { overwrite }: { readonly overwrite: boolean }): Promise<void> {
    const source = writable(from);
    const target = writable(to);
    if (source.container !== target.container)
      throw vscode.FileSystemError.NoPermissions('A file is not renamed from one container into another: copy it.');
    await translated(from, this.#request('file.rename', { ...source, to: target.path, replace: overwrite }));
    this.#tell([from, vscode.FileChangeType.Deleted], [to, vscode.FileChangeType.Created]);
  }

  #tell(...changes: readonly (readonly [vscode.Uri, vscode.FileChangeType])[]): void {
    this.#changed.fire(changes.map(([uri, type]) => ({ uri, type })));
  }

  async #request<M extends MethodName>(method: M, params: Params<M>): Promise<MethodResult<M>> {
    return await this.#settled(async () => await this.#client.request(method, params));
  }

  async #settled<T>(ask: () => Promise<T>): Promise<T> {
    await this.#client.settled(CONNECT_MS);
    return await ask();
  }
}

function located(uri: vscode.Uri): { readonly view: ViewReference; readonly path: string } {
  const place = parseViewUri(uri);
  if (place === undefined) throw vscode.FileSystemError.FileNotFound(uri);
  return place;
}

function writable(uri: vscode.Uri): { readonly container: ContainerId; readonly path: string } {
  const { view, path } = located(uri);
  if (view.kind === 'image')
    throw vscode.FileSystemError.NoPermissions(`${path}: an image never changes. Run a container of it, and change it there.`);
  if (view.layers !== undefined)
    throw vscode.FileSystemError.NoPermissions(`${path}: this is how it was before the layers above. Change it in the container as it is.`);
  return { container: containerIdSchema.parse(view.container), path };
}

function fileStat({ sizeBytes, mtimeMs, readOnly }: ViewEntry, type: vscode.FileType): vscode.FileStat {
  const mtime = Math.trunc(mtimeMs);
  return { type, ctime: mtime, mtime, size: sizeBytes, ...(readOnly === true && { permissions: vscode.FilePermission.Readonly }) };
}

function typeOf({ kind, linkKind }: ViewEntry): vscode.FileType {
  return linkKind === undefined ? fileType(kind) : fileType(kind) | fileType(linkKind);
}

async function* chunksOf(content: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.byteLength; at += UPLOAD_CHUNK_BYTES)
    yield await Promise.resolve(content.subarray(at, at + UPLOAD_CHUNK_BYTES));
}
