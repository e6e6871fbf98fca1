import { lstat, mkdir, realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Copied, type PathStat, StrataError } from '../protocol/index.ts';
import { baseName, type CopyDestination, isContent, parentOf, planCopy } from './copyPlan.ts';
import { type PackOptions, packTree } from './packTree.ts';
import { type Unpacked, unpackTree } from './unpackTree.ts';

/** The files of a container, over a connection (helper/wire's ContainerArchive). */
export interface ContainerEnd {
  stat(path: string, follow: boolean): Promise<PathStat>;
  get(path: string, follow: boolean): Promise<AsyncIterable<Uint8Array>>;
  put(path: string, source: AsyncIterable<Uint8Array>, keepOwners: boolean): Promise<Copied>;
}

export interface CopyOptions {
  /** A link that is copied is what it leads to. */
  readonly follow?: boolean | undefined;
  readonly keepOwners?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Each time more bytes of the archive have gone. */
  readonly progress?: (bytes: number) => void;
  /** What cannot be copied: sockets, pipes, devices. */
  readonly skipped?: (path: string) => void;
}

/** As many as the kernel follows. */
const maxLinks = 40;

/** Copies a file or directory of this host to a path of a container. Throws what keeps it from that; what was written before stays. */
export async function copyIn(end: ContainerEnd, source: string, destination: string, options: CopyOptions = {}): Promise<Copied> {
  const isDirectory = (await localStat(source, options.follow === true)).isDirectory();
  const named = /(^|\/)\.$/.test(source) ? source : resolve(source);
  const { directory, name = '.' } = planCopy({ path: named, isDirectory }, await lookUp(end, destination));
  const path = options.follow === true ? await realpath(source) : source;
  const pack: PackOptions = {
    signal: options.signal,
    keepOwners: options.keepOwners,
    ...(options.skipped === undefined ? {} : { skipped: options.skipped }),
  };
  return await end.put(directory, counted(packTree([{ path, name }], pack), options.progress), options.keepOwners === true);
}

/** Unpacks an archive in a directory of a container. */
export async function putArchive(
  end: ContainerEnd,
  source: AsyncIterable<Uint8Array>,
  destination: string,
  options: CopyOptions = {},
): Promise<Copied> {
  const { path, present } = await lookUp(end, destination);
  if (present !== 'directory') {
    throw new StrataError(
      present === 'nothing' ? 'PATH_NOT_FOUND' : 'NOT_A_DIRECTORY',
      `there is no directory ${destination} in the container`,
      {
        hint: 'An archive is unpacked in a directory that is there.',
      },
    );
  }
  return await end.put(path, counted(source, options.progress), options.keepOwners === true);
}

/** Copies a file or directory of a container to a path of this host. */
export async function copyOut(end: ContainerEnd, source: string, destination: string, options: CopyOptions = {}): Promise<Unpacked> {
  const there = await localDestination(destination);
  const { kind } = await end.stat(source, options.follow === true);
  const isDirectory = kind === 'directory';
  if (!isDirectory && kind !== 'file' && kind !== 'symlink') {
    throw new StrataError('NOT_A_FILE', `${source} is a ${kind}`, { hint: 'Files, directories and links can be copied.' });
  }
  const { directory, name } = planCopy({ path: source, isDirectory }, there);
  const content = isDirectory && isContent(source);
  const target = name === undefined ? directory : resolve(directory, name);
  if (content && there.present === 'nothing') await mkdir(target);
  const bytes = await end.get(source, options.follow === true);
  return await unpackTree(content ? target : directory, counted(bytes, options.progress), {
    rename: content || name === undefined ? undefined : { from: baseName(source), to: name },
    keepOwners: options.keepOwners,
    signal: options.signal,
    ...(options.skipped === undefined ? {} : { skipped: options.skipped }),
  });
}

/** What a path of the container leads to. A link to nothing leads to where the copy is made, as it does for `docker cp`. */
async function lookUp(end: ContainerEnd, path: string): Promise<CopyDestination> {
  let at = path;
  for (let links = 0; links < maxLinks; links += 1) {
    let found: PathStat;
    try {
      found = await end.stat(at, false);
    } catch (error) {
      if (error instanceof StrataError && error.code === 'PATH_NOT_FOUND') return { path: at, present: 'nothing' };
      throw error;
    }
    if (found.linkTarget === undefined) return { path: at, present: found.kind === 'directory' ? 'directory' : 'other' };
    at = found.linkTarget.startsWith('/') ? found.linkTarget : `${parentOf(at)}/${found.linkTarget}`;
  }
  throw new StrataError('PATH_NOT_FOUND', `${path} leads through too many symbolic links`);
}

async function localStat(path: string, follow: boolean) {
  try {
    return await (follow ? stat(path) : lstat(path));
  } catch (cause) {
    throw new StrataError('PATH_NOT_FOUND', `cannot read ${path}: ${cause instanceof Error ? cause.message : ''}`, {
      hint: 'Check the path, and try again.',
      cause,
    });
  }
}

async function localDestination(path: string): Promise<CopyDestination> {
  try {
    const present = (await stat(path)).isDirectory() ? 'directory' : 'other';
    // Through a link, as cp(1) writes.
    return { path: present === 'other' ? await realpath(path) : path, present };
  } catch {
    return { path, present: 'nothing' };
  }
}

async function* counted(source: AsyncIterable<Uint8Array>, progress: ((bytes: number) => void) | undefined): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    yield chunk;
    bytes += chunk.byteLength;
    progress?.(bytes);
  }
}
