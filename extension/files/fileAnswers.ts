import * as vscode from 'vscode';
import { type LayerEntry, StrataError, type ViewEntry } from '../../helper/protocol/index.ts';
import type { WireStream } from '../../helper/wire/stream.ts';
import { messageOf } from '../errors.ts';

/** A tab that a window restores is read before the helper has answered: so long it is waited for. */
export const CONNECT_MS = 5000;

/** VS Code holds a file it opens in memory; above this it is a download, not a look. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

export function fileType(kind: LayerEntry['kind'] | ViewEntry['kind']): vscode.FileType {
  switch (kind) {
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
      return kind satisfies never;
  }
}

/** StrataError → what VS Code's file services understand. */
export async function translated<T>(uri: vscode.Uri, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw error instanceof StrataError ? translation(uri, error) : error;
  }
}

function translation(uri: vscode.Uri, error: StrataError): vscode.FileSystemError {
  switch (error.code) {
    case 'PATH_NOT_FOUND':
    case 'LAYER_NOT_FOUND':
    case 'CONTAINER_NOT_FOUND':
    case 'IMAGE_NOT_FOUND':
      return vscode.FileSystemError.FileNotFound(uri);
    case 'PATH_EXISTS':
      return vscode.FileSystemError.FileExists(messageOf(error));
    case 'NOT_A_DIRECTORY':
      return vscode.FileSystemError.FileNotADirectory(uri);
    case 'PERMISSION_DENIED':
    case 'READ_ONLY':
      return vscode.FileSystemError.NoPermissions(messageOf(error));
    case 'CONNECTION_CLOSED':
      return vscode.FileSystemError.Unavailable(messageOf(error));
    // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- every other code is told by its message
    default:
      return new vscode.FileSystemError(messageOf(error));
  }
}

/** The content that a stream carries; refused where it is too large for an editor. */
export async function readContent(path: string, stream: WireStream, sizeBytes: number): Promise<Uint8Array> {
  if (sizeBytes > MAX_FILE_BYTES) {
    stream.close();
    throw new vscode.FileSystemError(`${path} is too large to open (${sizeBytes} bytes)`);
  }
  return await readAll(stream, MAX_FILE_BYTES);
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
