import { constants, copyFile, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Addon, AppliedLayer, PackedDirectory } from '../native/addon.ts';
import { fromNative, hasCode } from '../native/errors.ts';
import { type Digest, type ErrorCode, StrataError } from '../protocol/index.ts';

export interface LayerSource {
  /** A path of the host, or a descriptor that is read to its end. */
  readonly archive: string | number;
  /** For messages. */
  readonly name: string;
  /** Somebody still writes to the file; it is read as it grows. */
  readonly growing?: { readonly sizeBytes: number /** It has all its bytes, and its writer is done. */; readonly whole: Promise<void> };
  /** Whether .wh. names delete: so in a layer of an image, not in the tar of a root file system. */
  readonly whiteouts: boolean;
}

export interface DirectorySource {
  readonly directory: string;
  /** For messages. */
  readonly name: string;
  /** Others may write to it meanwhile. */
  readonly changes: boolean;
  /** Paths in it ("etc/hosts") that are no part of the layer. */
  readonly leftOut: readonly string[];
}

/** The file that an archive is, to be kept as the layer's blob: moved there, copied from where others may write, or held there already. */
export interface BlobToKeep {
  readonly mediaType: string;
  readonly take: 'move' | 'copy' | 'held';
}

/** What an archive must turn out to be: its own digest and that of the tar in it. */
export interface ExpectedLayer {
  /** undefined: nobody has said it. */
  readonly digest: Digest | undefined;
  readonly diffId: Digest;
}

export interface PackBounds {
  /** Of the files. */
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** What the native core does with the files of layers, and in words for people what it refuses. */
export class LayerMaking {
  readonly #addon: Addon;

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  /** Unpacks an archive into the empty directory `diff`. */
  async apply({ archive, name, whiteouts, growing }: LayerSource, diff: string, signal: AbortSignal): Promise<AppliedLayer> {
    const words = { doing: `unpack ${name}`, cancelled: `the import of ${name} was cancelled`, codes: archiveCodes };
    const leastSourceBytes = growing === undefined ? {} : { leastSourceBytes: growing.sizeBytes };
    return await told(words, signal, async () => await this.#addon.applyLayer(archive, diff, { whiteouts, signal, ...leastSourceBytes }));
  }

  /** Of the canonical tar of what was unpacked. */
  async canonicalDiffId(diff: string, signal: AbortSignal): Promise<string> {
    const words = { doing: 'read the unpacked layer', cancelled: 'the import was cancelled', codes: archiveCodes };
    const nowhere = await open('/dev/null', 'w');
    try {
      return (await told(words, signal, async () => await this.#addon.packDirectory(diff, nowhere.fd, { signal }))).diffId;
    } finally {
      await nowhere.close();
    }
  }

  /** Copies a container's upper into the empty directory `diff`. */
  async copy({ directory, name, ...options }: DirectorySource, diff: string, signal: AbortSignal): Promise<AppliedLayer> {
    return await told(
      copyWords(name),
      signal,
      async () => await this.#addon.copyLayer(directory, diff, { socketsHide: true, ...options, signal }),
    );
  }

  /** Packs a container's upper as the new file `path`, which is on disk then. Undefined, and no file: it is beyond the bounds. */
  async pack(
    { directory, name, ...options }: DirectorySource,
    path: string,
    bounds: PackBounds,
    signal: AbortSignal,
  ): Promise<PackedDirectory | undefined> {
    return await told(copyWords(name), signal, async () => {
      const file = await open(path, 'wx', 0o600);
      try {
        const packed = await this.#addon.packDirectory(directory, file.fd, { socketsHide: true, ...options, ...bounds, signal });
        await file.sync();
        return packed;
      } catch (error) {
        if (!hasCode(error, 'LIMIT_REJECTED')) throw error;
        await rm(path);
        return undefined;
      } finally {
        await file.close();
      }
    });
  }

  /** Makes one layer, in the empty directory `diff`, of what several, top first, show together. */
  async merge(
    layers: readonly string[],
    diff: string,
    { name, signal, overBase }: { readonly overBase: boolean; readonly name: string; readonly signal: AbortSignal },
  ): Promise<AppliedLayer> {
    const words = { doing: `merge the layers of ${name}`, cancelled: `the squash of ${name} was cancelled`, codes: directoryCodes };
    return await told(words, signal, async () => await this.#addon.mergeLayers(layers, diff, { overBase, signal }));
  }
}

interface Words {
  readonly doing: string;
  readonly cancelled: string;
  /** What rejections of the core mean here. */
  readonly codes: Readonly<Record<string, ErrorCode>>;
}

async function told<T>({ doing, cancelled, codes }: Words, signal: AbortSignal, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (signal.aborted) throw new StrataError('CANCELLED', cancelled);
    throw fromNative(error, doing, codes);
  }
}

function copyWords(name: string): Words {
  return { doing: `copy the changes of ${name}`, cancelled: `the copy of ${name} was cancelled`, codes: directoryCodes };
}

const archiveCodes = {
  ENOENT: 'IMAGE_INVALID',
  EINVAL: 'ARCHIVE_CORRUPT',
  LIMIT_REJECTED: 'ARCHIVE_TOO_LARGE',
  UNSUPPORTED: 'ARCHIVE_UNSUPPORTED',
  ENOTSUP: 'FEATURE_MISSING',
} as const;

const directoryCodes = { LIMIT_REJECTED: 'ARCHIVE_TOO_LARGE', UNSUPPORTED: 'LAYER_IMPOSSIBLE', ENOTSUP: 'FEATURE_MISSING' } as const;

/** One that is kept unpacked has the digest of its tar, whatever its descriptor says of a compressed one. */
export function requireExpected({ digest, diffId }: AppliedLayer, expected: ExpectedLayer, name: string): void {
  if (diffId === expected.diffId && (digest === (expected.digest ?? digest) || digest === diffId)) return;
  throw new StrataError('IMAGE_INVALID', `${name} is not what its digest says`, {
    details: { expected: expected.diffId, found: diffId },
  });
}

/** A file to unpack and then to keep. */
export interface OwnFile {
  readonly path: string;
  /** A copy of ours is on its way to the disk meanwhile. */
  readonly onDisk: Promise<void>;
}

/** What others may write meanwhile is copied first. */
export async function ownFile({ archive, name }: LayerSource, take: BlobToKeep['take'], work: string): Promise<OwnFile> {
  if (typeof archive !== 'string') throw new StrataError('INTERNAL', `${name} is no file that can be kept`);
  if (take !== 'copy') return { path: archive, onDisk: Promise.resolve() };
  const own = join(work, 'blob');
  try {
    // Whoever made it may have put a FIFO in its place, which a plain copy would wait for.
    const from = await open(archive, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await from.stat()).isFile()) throw new StrataError('IMAGE_INVALID', `${name} is no regular file`);
      await copyFile(`/proc/self/fd/${from.fd}`, own, constants.COPYFILE_FICLONE);
    } finally {
      await from.close();
    }
  } catch (error) {
    throw fromNative(error, `copy ${name}`, archiveCodes);
  }
  const onDisk = syncFile(own);
  onDisk.catch(() => {}); // told to who waits for it, and there may be nobody
  return { path: own, onDisk };
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}
