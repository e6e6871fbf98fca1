import type { Stats } from 'node:fs';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { StrataError } from '../protocol/index.ts';
import { BLOCK_BYTES, encodeHeader, padding, type TarHeader } from './tarHeader.ts';

/** A file or directory of this host, and what it is called in the archive; "." for the content of a directory. */
export interface PackedRoot {
  readonly path: string;
  readonly name: string;
}

export interface PackOptions {
  readonly signal?: AbortSignal | undefined;
  /** As on this host; else everything belongs to root. */
  readonly keepOwners?: boolean | undefined;
  /** What has no place in an archive: sockets, pipes, devices. */
  readonly skipped?: (path: string) => void;
}

const CHUNK_BYTES = 256 * 1024;

/**
 * An archive of these files and of all that is below them, as it is read. Symbolic links stay links. Throws PATH_NOT_FOUND or PERMISSION_DENIED for what cannot be read.
 */
export async function* packTree(roots: readonly PackedRoot[], options: PackOptions = {}): AsyncGenerator<Buffer> {
  for (const root of roots) yield* packOne(root, options);
  yield Buffer.alloc(2 * BLOCK_BYTES);
}

async function* packOne({ path, name }: PackedRoot, options: PackOptions): AsyncGenerator<Buffer> {
  options.signal?.throwIfAborted();
  const stats = await reading(path, () => lstat(path));
  const owners = ownersOf(stats, options);
  const member = { mode: stats.mode & 0o7777, mtimeMs: stats.mtimeMs, sizeBytes: 0, linkName: '', ...owners };
  if (stats.isFile()) {
    yield* packFile(path, name, member);
  } else if (stats.isSymbolicLink()) {
    const linkName = await reading(path, () => readlink(path));
    yield encodeHeader({ ...member, name, kind: 'symlink', linkName });
  } else if (stats.isDirectory()) {
    yield encodeHeader({ ...member, name: `${name}/`, kind: 'directory' });
    const children = await reading(path, () => readdir(path));
    for (const child of children.toSorted()) yield* packOne({ path: join(path, child), name: `${name}/${child}` }, options);
  } else {
    options.skipped?.(path);
  }
}

/** As long as it was when it was opened: what is written to it meanwhile is cut off, what was taken away is zeros. */
async function* packFile(path: string, name: string, member: Omit<TarHeader, 'name' | 'kind'>): AsyncGenerator<Buffer> {
  // It was a file a moment ago: neither a link nor a pipe that took its place is followed or waited for.
  const file = await reading(path, () => open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK));
  try {
    const { size } = await file.stat();
    yield encodeHeader({ ...member, name, kind: 'file', sizeBytes: size });
    for (let left = size; left > 0; ) {
      const wanted = Math.min(left, CHUNK_BYTES);
      const bytes = await reading(path, () => readUpTo(file, wanted));
      yield bytes.byteLength === 0 ? Buffer.alloc(wanted) : bytes;
      left -= bytes.byteLength === 0 ? wanted : bytes.byteLength;
    }
    yield padding(size);
  } finally {
    await file.close();
  }
}

function ownersOf({ uid, gid }: Stats, { keepOwners }: PackOptions): { readonly uid?: number; readonly gid?: number } {
  return keepOwners === true ? { uid, gid } : {};
}

async function readUpTo(file: FileHandle, size: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(size), 0, size, null);
  return buffer.subarray(0, bytesRead);
}

async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'EACCES' || code === 'EPERM')
      throw new StrataError('PERMISSION_DENIED', `you may not read ${path}`, { hint: 'Change its permissions, or leave it out.', cause });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StrataError('PATH_NOT_FOUND', `cannot read ${path}: ${why}`, { hint: 'Check the file, and try again.', cause });
  }
}
