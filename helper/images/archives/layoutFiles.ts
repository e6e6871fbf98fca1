import { constants, type Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { hasCode, isSystemError } from '../../native/errors.ts';
import { type Digest, StrataError } from '../../protocol/index.ts';
import { readBounded } from '../../store/boundedFile.ts';
import { hexOf } from '../../store/layout.ts';
import { digestOf } from '../contentStore.ts';
import { plain } from '../imageText.ts';
import { type Descriptor, maxMetadataBytes } from '../manifest.ts';

/** Of all that is held of an archive while its images are looked for: each could name thousands of manifests of 4 MiB. */
const maxMetadataSum = 64 * 1024 * 1024;

/** How much of an archive's metadata may still be read. */
export class MetadataBudget {
  #leftBytes = maxMetadataSum;

  take(bytes: number): void {
    this.#leftBytes -= bytes;
    if (this.#leftBytes >= 0) return;
    throw new StrataError('ARCHIVE_TOO_LARGE', 'the archive is refused: its manifests and configs have more than 64 MiB together', {
      hint: 'Save its images in several archives.',
    });
  }
}

/** The files of a layout or archive of images, by their names in it: "blobs/sha256/…". */
export interface LayoutFiles {
  /** For messages: "the archive", "'/srv/layout'". */
  readonly title: string;
  /** Whether a layer's file may become the store's ("move"), or belongs to somebody. */
  readonly take: 'move' | 'copy';
  readonly budget: MetadataBudget;
  /** Where on the host the regular file of that name is; undefined where there is none. Throws IMAGE_INVALID for what else it may be. */
  find(name: string): Promise<string | undefined>;
}

/** A directory of the host. */
export class DirectoryFiles implements LayoutFiles {
  readonly title: string;
  readonly take = 'copy';
  readonly budget = new MetadataBudget();
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.title = `'${directory}'`;
  }

  async find(name: string): Promise<string | undefined> {
    const parts = partsOf(name);
    if (parts === undefined) return undefined;
    const path = join(this.#directory, ...parts);
    const status = await this.#lookAt(path, name);
    if (status === undefined || status.isDirectory()) return undefined;
    if (!status.isFile()) throw invalid(this, `${plain(name)} is no regular file`);
    return path;
  }

  async #lookAt(path: string, name: string): Promise<Stats | undefined> {
    try {
      return await lstat(path);
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return undefined;
      if (isSystemError(error)) throw invalid(this, `${plain(name)} cannot be read (${error.code})`);
      throw error;
    }
  }
}

/** Pure. The parts of a name in an archive; undefined for one that leads out of it, or to nothing. */
export function partsOf(name: string): string[] | undefined {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  return name.startsWith('/') || name.includes('\0') || parts.includes('..') || parts.length === 0 ? undefined : parts;
}

export function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

/** A blob that is read as a whole: of the digest and size that its descriptor gives. */
export async function readBlob(files: LayoutFiles, descriptor: Descriptor, what: string): Promise<Uint8Array> {
  const bytes = await readSmall(files, blobName(descriptor.digest), what);
  if (digestOf(bytes) !== descriptor.digest || bytes.byteLength !== descriptor.size) {
    throw invalid(files, `${what} is not what its digest ${descriptor.digest} says`);
  }
  return bytes;
}

export async function readJson<T>(files: LayoutFiles, name: string, schema: z.ZodType<T>): Promise<T> {
  return parseJson(files, await readSmall(files, name, name), schema, name);
}

export function parseJson<T>(files: LayoutFiles, bytes: Uint8Array, schema: z.ZodType<T>, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw invalid(files, `${what} is no JSON`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw invalid(files, `${what}: ${plain(z.prettifyError(parsed.error))}`);
  return parsed.data;
}

/** Whoever wrote it chose what stands under this name: a FIFO or a device would hold a thread of the helper for ever. */
export async function readSmall(files: LayoutFiles, name: string, what: string): Promise<Uint8Array> {
  const path = await files.find(name);
  if (path === undefined) throw invalid(files, `${what} is not in it`);
  let bytes: Uint8Array | undefined;
  try {
    bytes = await readBounded(path, { mostBytes: maxMetadataBytes + 1, flags: constants.O_NOFOLLOW, kind: 'regular' });
  } catch (error) {
    if (isSystemError(error)) throw invalid(files, `${what} cannot be read (${error.code})`);
    throw error;
  }
  if (bytes === undefined) throw invalid(files, `${what} is no regular file`);
  if (bytes.byteLength > maxMetadataBytes) throw invalid(files, `${what} is larger than 4 MiB`);
  files.budget.take(bytes.byteLength);
  return bytes;
}

export function invalid({ title }: LayoutFiles, why: string, hint?: string): StrataError {
  return new StrataError('IMAGE_INVALID', `${title} holds no images that can be used: ${plain(why)}`, { hint });
}
