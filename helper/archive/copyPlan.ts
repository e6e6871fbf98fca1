import { StrataError } from '../protocol/index.ts';

/** What is copied: a path, and what it is. */
export interface CopySource {
  readonly path: string;
  readonly isDirectory: boolean;
}

/** Where it is copied to, and what is there. */
export interface CopyDestination {
  readonly path: string;
  readonly present: 'nothing' | 'directory' | 'other';
}

export interface CopyPlan {
  /** Where the archive is unpacked. */
  readonly directory: string;
  /** What the source is called there; absent: its content goes into the directory. */
  readonly name: string | undefined;
}

/**
 * Where a copy goes, by the rules of `docker cp`, the same in both directions (docs/copy.md has them as a table). Pure.
 * Throws NOT_A_DIRECTORY where a directory would have to be made or replaced.
 */
export function planCopy(source: CopySource, destination: CopyDestination): CopyPlan {
  const { path, present } = destination;
  if (present === 'directory')
    return { directory: path, name: source.isDirectory && isContent(source.path) ? undefined : baseName(source.path) };
  if (source.isDirectory && present === 'other') {
    throw new StrataError('NOT_A_DIRECTORY', `cannot copy the directory ${source.path} to ${path}, which is no directory`, {
      hint: 'Name a directory, or a path where nothing is yet.',
    });
  }
  if (!source.isDirectory && /\/\.?$/.test(path)) {
    throw new StrataError('NOT_A_DIRECTORY', `there is no directory ${path}`, {
      hint: 'Make it first; without the slash at its end it names the copy.',
    });
  }
  return { directory: parentOf(path), name: baseName(path) };
}

/** "dir/.", "dir/.." and "/" are what is in a directory, and not the directory, which has no name there. */
export function isContent(path: string): boolean {
  return /^\/+$/.test(path) || /(^|\/)\.\.?\/*$/.test(path);
}

/** "/a/b/" → "b"; the path as it is where it has no name. */
export function baseName(path: string): string {
  return path.split('/').findLast((part) => part !== '' && part !== '.') ?? path;
}

/** Not normalized: what ".." leads to behind a link is whose it is to say. "a" → ".". */
export function parentOf(path: string): string {
  const whole = path.replace(/(\/\.?)+$/, '');
  const slash = whole.lastIndexOf('/');
  return slash === -1 ? '.' : slash === 0 ? '/' : whole.slice(0, slash);
}
