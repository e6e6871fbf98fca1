import { constants } from 'node:fs';
import { chmod, chown, lchown, link, lstat, mkdir, open, symlink, unlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { StrataError } from '../protocol/index.ts';
import { writeContent } from './memberContent.ts';
import { readTar, type TarMember } from './tarReader.ts';

export interface UnpackOptions {
  /** The first part of each name in the archive, which must have no other, and what it becomes; absent: names stay as they are. */
  readonly rename?: { readonly from: string; readonly to: string } | undefined;
  readonly signal?: AbortSignal | undefined;
  /** As the archive says, where this process may do that; else whose process this is. */
  readonly keepOwners?: boolean | undefined;
  readonly skipped?: (name: string) => void;
}

export interface Unpacked {
  readonly files: number;
  readonly bytes: number;
}

/**
 * Writes an archive below a directory that is there. The archive may come from a container, which nobody trusts: nothing is written
 * outside of the directory, through no link, and without set-id bits. Files and links that are there are
 * replaced, directories are merged; a directory never replaces a file, nor a file a directory. Throws ARCHIVE_UNSAFE, ARCHIVE_CORRUPT
 * or what keeps a file from being written.
 */
export async function unpackTree(directory: string, source: AsyncIterable<Uint8Array>, options: UnpackOptions = {}): Promise<Unpacked> {
  const unpacking = new Unpacking(directory, options);
  for await (const member of readTar(source)) {
    options.signal?.throwIfAborted();
    await unpacking.add(member);
  }
  await unpacking.finish();
  return { files: unpacking.files, bytes: unpacking.bytes };
}

class Unpacking {
  readonly #directory: string;
  readonly #options: UnpackOptions;
  /** Directories that were looked at: real ones, below this one. */
  readonly #checked = new Set<string>();
  /** Modes and times of directories are set last: one may not be writable, and each new file changes its time. */
  readonly #directories: { readonly path: string; readonly member: TarMember }[] = [];
  files = 0;
  bytes = 0;

  constructor(directory: string, options: UnpackOptions) {
    this.#directory = directory;
    this.#options = options;
  }

  async add(member: TarMember): Promise<void> {
    const parts = this.#partsOf(member.name);
    if (parts.length === 0) return; // "./": the directory itself
    const path = join(this.#directory, ...parts);
    await this.#makeParents(parts);
    try {
      await this.#write(path, parts, member);
    } catch (cause) {
      throw cause instanceof StrataError ? cause : cannotWrite(path, cause);
    }
  }

  async finish(): Promise<void> {
    for (const { path, member } of this.#directories.reverse()) {
      await this.#own(member, (uid, gid) => chown(path, uid, gid));
      await chmod(path, member.mode & 0o777);
      await utimes(path, member.mtimeMs / 1000, member.mtimeMs / 1000);
    }
  }

  async #write(path: string, parts: readonly string[], member: TarMember): Promise<void> {
    switch (member.kind) {
      case 'directory':
        // One that was there stays as it was: it is merged into.
        if (await this.#makeDirectory(path)) this.#directories.push({ path, member });
        this.#checked.add(parts.join('/'));
        return;
      case 'file':
        await this.#writeFile(path, member);
        return;
      case 'symlink':
        await makeRoom(path);
        await symlink(member.linkName, path);
        await this.#own(member, (uid, gid) => lchown(path, uid, gid));
        this.files += 1;
        return;
      case 'hardlink':
        await this.#link(path, member);
        return;
      case 'other':
        this.#options.skipped?.(member.name);
        return;
      default:
        member.kind satisfies never;
    }
  }

  async #writeFile(path: string, member: TarMember): Promise<void> {
    await makeRoom(path);
    const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    try {
      const written = (bytes: number): void => {
        this.bytes += bytes;
      };
      await writeContent(file, member, { signal: this.#options.signal, written });
      await this.#own(member, (uid, gid) => file.chown(uid, gid));
      await file.chmod(member.mode & 0o777);
      await file.utimes(member.mtimeMs / 1000, member.mtimeMs / 1000);
    } finally {
      await file.close();
    }
    this.files += 1;
  }

  /** Who is not root may give nothing away, and keeps it. */
  async #own({ uid = 0, gid = 0 }: TarMember, change: (uid: number, gid: number) => Promise<void>): Promise<void> {
    if (this.#options.keepOwners === true && process.geteuid?.() === 0) await change(uid, gid);
  }

  /** To a file that this archive has, and not through a link. */
  async #link(path: string, member: TarMember): Promise<void> {
    const target = this.#partsOf(member.linkName);
    await this.#makeParents(target);
    const existing = join(this.#directory, ...target);
    if (!(await lstat(existing)).isFile()) throw unsafe(member.name, 'it is a link to something that is no file');
    await makeRoom(path);
    await link(existing, path);
    this.files += 1;
  }

  /** Each directory on the way is made, or is there and no link: a link that came before would lead what follows elsewhere. */
  async #makeParents(parts: readonly string[]): Promise<void> {
    for (let depth = 1; depth < parts.length; depth += 1) {
      const name = parts.slice(0, depth).join('/');
      if (this.#checked.has(name)) continue;
      const path = join(this.#directory, name);
      try {
        await this.#makeDirectory(path);
      } catch (cause) {
        throw cause instanceof StrataError ? cause : cannotWrite(path, cause);
      }
      this.#checked.add(name);
    }
  }

  /** Whether it was not there. */
  async #makeDirectory(path: string): Promise<boolean> {
    const there = await lstat(path).catch(unlessMissing);
    if (there === undefined) {
      await mkdir(path, 0o700);
      return true;
    }
    if (!there.isDirectory()) throw inTheWay(path, there.isSymbolicLink() ? 'a link' : 'a file', 'a directory');
    return false;
  }

  #partsOf(name: string): string[] {
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..') || name.includes('\0')) throw unsafe(name, 'it would be written outside of the directory');
    const { rename } = this.#options;
    if (rename !== undefined && parts.length > 0) {
      if (parts[0] !== rename.from) throw unsafe(name, `it is not what was asked for, "${rename.from}"`);
      parts[0] = rename.to;
    }
    return parts;
  }
}

/** Takes away a file or link that is there, not what it links to. */
async function makeRoom(path: string): Promise<void> {
  const there = await lstat(path).catch(unlessMissing);
  if (there === undefined) return;
  if (there.isDirectory()) throw inTheWay(path, 'a directory', 'a file');
  await unlink(path);
}

function unlessMissing(error: unknown): undefined {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
}

function unsafe(name: string, why: string): StrataError {
  return new StrataError('ARCHIVE_UNSAFE', `"${name}" of the archive is refused: ${why}`);
}

function inTheWay(path: string, there: string, wanted: string): StrataError {
  return new StrataError('INVALID_REQUEST', `${path} is ${there}, where ${wanted} is to be written`, {
    hint: 'Remove it first, or choose another place.',
  });
}

function cannotWrite(path: string, cause: unknown): StrataError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const why = cause instanceof Error ? cause.message : String(cause);
  if (code === 'EACCES' || code === 'EPERM')
    return new StrataError('PERMISSION_DENIED', `you may not write ${path}`, { hint: 'Choose a place that is yours.', cause });
  if (code === 'ENOSPC') return new StrataError('NO_SPACE', `there is no space for ${path}`, { hint: 'Free space there first.', cause });
  return new StrataError('PATH_NOT_FOUND', `cannot write ${path}: ${why}`, { hint: 'Check the directory, and try again.', cause });
}
