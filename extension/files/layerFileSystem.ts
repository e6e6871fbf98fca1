import * as vscode from 'vscode';
import {
  type LayerEntry,
  type LayerReference,
  type MethodName,
  type MethodResult,
  type Params,
  StrataError,
} from '../../helper/protocol/index.ts';
import type { WireStream } from '../../helper/wire/stream.ts';
import type { HelperClient } from '../client/helperClient.ts';
import { messageOf } from '../errors.ts';
import { parseLayerUri } from './layerUri.ts';

/** A tab that a window restores is read before the helper has answered: so long it is waited for. */
const CONNECT_MS = 5000;

/** VS Code holds a file it opens in memory; above this it is a download, not a look. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

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

  /** Nothing tells when a layer's file changes; an editor reads again when it is opened again. */
  watch(): vscode.Disposable {
    return new vscode.Disposable(() => {});
  }

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    const { layer, path } = located(uri);
    if (path === '/') return { type: vscode.FileType.Directory, ctime: 0, mtime: 0, size: 0, permissions: vscode.FilePermission.Readonly };
    const { entry } = await translated(uri, this.#request('layer.stat', { layer, path }));
    const mtime = Math.trunc(entry.mtimeMs);
    return { type: fileType(entry), ctime: mtime, mtime, size: entry.sizeBytes, permissions: vscode.FilePermission.Readonly };
  }

  async readDirectory(uri: vscode.Uri): Promise<[string, vscode.FileType][]> {
    const { layer, path } = located(uri);
    const { entries } = await translated(uri, this.#request('layer.list', { layer, path }));
    return entries.filter((entry) => entry.kind !== 'whiteout').map((entry) => [entry.name, fileType(entry)]);
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    const { layer, path } = located(uri);
    const { stream, sizeBytes } = await translated(uri, this.#request('layer.read', { layer, path }));
    const source = this.#client.stream(stream);
    if (sizeBytes > MAX_FILE_BYTES) {
      source.close();
      throw new vscode.FileSystemError(`${path} is too large to open (${sizeBytes} bytes)`);
    }
    return translated(uri, readAll(source, MAX_FILE_BYTES));
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

function fileType(entry: LayerEntry): vscode.FileType {
  switch (entry.kind) {
    case 'file':
      return vscode.FileType.File;
    case 'directory':
      return vscode.FileType.Directory;
    case 'symlink':
      return vscode.FileType.SymbolicLink;
    case 'device':
    case 'fifo':
    case 'socket':
    case 'whiteout':
      return vscode.FileType.Unknown;
    default:
      return entry.kind satisfies never;
  }
}

/** StrataError → what VS Code's file services understand. */
async function translated<T>(uri: vscode.Uri, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof StrataError)) throw error;
    switch (error.code) {
      case 'PATH_NOT_FOUND':
      case 'LAYER_NOT_FOUND':
      case 'CONTAINER_NOT_FOUND':
        throw vscode.FileSystemError.FileNotFound(uri);
      case 'PERMISSION_DENIED':
        throw vscode.FileSystemError.NoPermissions(messageOf(error));
      case 'CONNECTION_CLOSED':
        throw vscode.FileSystemError.Unavailable(messageOf(error));
      // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- every other code is told by its message
      default:
        throw new vscode.FileSystemError(messageOf(error));
    }
  }
}

/** Everything that a stream of one content carries; the file may have grown since it was measured. */
function readAll(stream: WireStream, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    stream.consume({
      data(_channel, bytes) {
        size += bytes.byteLength;
        if (size > maxBytes) stream.close(new StrataError('CANCELLED', 'the file grew too large while it was read'));
        else chunks.push(bytes);
      },
      closed(error) {
        if (error !== undefined) reject(error);
        else resolve(Buffer.concat(chunks));
      },
    });
  });
}
