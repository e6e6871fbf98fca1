import { randomBytes } from 'node:crypto';
import { constants, copyFile, mkdir, open, readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import type { Addon, AppliedLayer } from '../native/addon.ts';
import { fromNative, hasCode } from '../native/errors.ts';
import { type Digest, digestSchema, StrataError } from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import { syncDirectory } from '../store/atomicFile.ts';
import { GroupSync } from '../store/groupSync.ts';
import type { Layout } from '../store/layout.ts';
import { readRecord, writeRecordDurable, writeRecordVolatile } from '../store/record.ts';
import { type ContentStore, chainIdsOf } from './contentStore.ts';
import { type BlobRecord, type LayerRecord, layerFormat } from './records.ts';

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

/** One more than a pull downloads at once, so that what is here is unpacked while others wait for their registry. Each has three threads and 2 MiB. */
const unpacksAtOnce = 4;

/** Holds layers against removal while an import builds on them. */
export interface LayerPin {
  add(chainId: Digest): void;
  release(): void;
}

/**
 * Unpacked layers, `layers/<chainId>/{diff,layer.json}`.
 *
 * Invariants: a directory below `layers` is complete (it was renamed there as a whole); a layer is only removed when no
 * image names it and nobody has it pinned.
 */
export class LayerStore {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #content: ContentStore;
  readonly #log: Logger;
  readonly #unpacks = new Slots(unpacksAtOnce);
  readonly #syncs: GroupSync;
  readonly #records = new Map<Digest, LayerRecord>();
  readonly #pins = new Map<Digest, number>();

  constructor(options: { layout: Layout; addon: Addon; content: ContentStore; log: Logger }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#content = options.content;
    this.#log = options.log;
    this.#syncs = new GroupSync(async () => await this.#addon.syncFileSystem(this.#layout.layers));
  }

  async open(): Promise<void> {
    await mkdir(this.#layout.layers, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#layout.layers)) {
      const chainId = digestSchema.safeParse(`sha256:${name}`);
      if (!chainId.success) continue;
      const record = await this.#readRecord(chainId.data);
      if (record !== undefined) this.#records.set(chainId.data, record);
    }
  }

  /** One that cannot be read costs its images, not the start; the directory may be in use and is nobody's to remove. */
  async #readRecord(chainId: Digest): Promise<LayerRecord | undefined> {
    try {
      const record = await readRecord(this.#recordPath(chainId), layerFormat);
      if (record?.chainId === chainId) return record;
      this.#log.error({ chainId }, 'a layer without its record is left alone; importing its image again makes it known');
    } catch (error) {
      this.#log.error(
        { err: error, chainId },
        'a layer whose record cannot be read is left alone; importing its image again makes it known',
      );
    }
    return undefined;
  }

  #recordPath(chainId: Digest): string {
    return join(this.#layout.layer(chainId), 'layer.json');
  }

  get(chainId: Digest): LayerRecord | undefined {
    return this.#records.get(chainId);
  }

  all(): Digest[] {
    return [...this.#records.keys()];
  }

  /** Layers of equal content over different ones share their blob. */
  usedBlobs(): Set<Digest> {
    return new Set([...this.#records.values()].flatMap(({ blob }) => (blob === null ? [] : [blob.digest])));
  }

  /** The layer, for people who name it. */
  require(chainId: Digest): LayerRecord {
    const record = this.#records.get(chainId);
    if (record === undefined) throw new StrataError('LAYER_NOT_FOUND', `there is no layer ${chainId}`, { details: { chainId } });
    return record;
  }

  pin(): LayerPin {
    const held: Digest[] = [];
    return {
      add: (chainId) => {
        held.push(chainId);
        this.#pins.set(chainId, (this.#pins.get(chainId) ?? 0) + 1);
      },
      release: () => {
        for (const chainId of held.splice(0)) {
          const left = (this.#pins.get(chainId) ?? 1) - 1;
          if (left === 0) this.#pins.delete(chainId);
          else this.#pins.set(chainId, left);
        }
      },
    };
  }

  /**
   * Unpacks an archive on top of `below` (the chain so far); the layer is pinned when this resolves. With `keep` the archive is a path, and
   * what `expected` says of it becomes the layer's blob; a file that is moved is gone from its path then. A `foreign` tar is not the canonical one of
   * its files: the layer gets the diffID of that.
   */
  async add(
    source: LayerSource,
    below: readonly Digest[],
    options: { pin: LayerPin; signal: AbortSignal; expected?: ExpectedLayer; keep?: BlobToKeep; foreign?: true | undefined },
  ): Promise<LayerRecord> {
    return await this.#inWork(async (work, diff) => {
      const file = options.keep === undefined ? undefined : await ownFile(source, options.keep.take, work);
      const unpacked = await this.#unpacks.run(
        async () => await this.#apply({ ...source, archive: file ?? source.archive }, diff, options.signal),
      );
      await source.growing?.whole;
      const applied = options.foreign === true ? { ...unpacked, diffId: await this.#canonicalDiffId(diff, options.signal) } : unpacked;
      options.signal.throwIfAborted();
      if (options.expected !== undefined) requireExpected(applied, options.expected, source.name);
      const blob = options.keep === undefined ? null : blobRecord(applied, options.keep.mediaType);
      const record = layerRecord(applied, below, blob);
      options.pin.add(record.chainId);
      return await this.#place(work, record, file);
    });
  }

  /** `diff` is an empty directory in `work`; what is left of `work` is removed. */
  async #inWork<T>(make: (work: string, diff: string) => Promise<T>): Promise<T> {
    const work = join(this.#layout.temporary, `layer-${randomBytes(8).toString('hex')}`);
    const diff = join(work, 'diff');
    // 0755: the layer's root is the container's "/", unless the archive says otherwise.
    await mkdir(diff, { recursive: true, mode: 0o755 });
    try {
      return await make(work, diff);
    } finally {
      await this.#removeTree(work);
    }
  }

  /**
   * Copies a directory that overlay uses as a layer (a container's upper) on top of `below`; the layer is pinned when this resolves. Undefined where
   * there is nothing in it, and its root is as a new container's.
   */
  async addCopy(
    source: DirectorySource,
    below: readonly Digest[],
    { pin, signal }: { pin: LayerPin; signal: AbortSignal },
  ): Promise<LayerRecord | undefined> {
    return await this.#inWork(async (work, diff) => {
      const copied = await this.#copy(source, diff, signal);
      signal.throwIfAborted();
      if (copied.entries === 1 && (await isNewRoot(diff))) return undefined;
      const record = layerRecord(copied, below, null);
      pin.add(record.chainId);
      return await this.#place(work, record, undefined);
    });
  }

  /** Makes one layer on top of `below` of what several, top first, show together; it is pinned when this resolves. */
  async addMerged(
    { chainIds, name }: { readonly chainIds: readonly Digest[]; readonly name: string },
    below: readonly Digest[],
    { pin, signal }: { pin: LayerPin; signal: AbortSignal },
  ): Promise<LayerRecord> {
    return await this.#inWork(async (work, diff) => {
      const layers = chainIds.map((chainId) => this.#layout.layerDiff(chainId));
      const merged = await this.#merge(layers, diff, { overBase: below.length > 0, name, signal });
      signal.throwIfAborted();
      const record = layerRecord(merged, below, null);
      pin.add(record.chainId);
      return await this.#place(work, record, undefined);
    });
  }

  async removeUnused(candidates: readonly Digest[], used: ReadonlySet<Digest>): Promise<Digest[]> {
    const removed: Digest[] = [];
    for (const chainId of candidates) {
      const record = this.#records.get(chainId);
      if (record === undefined || used.has(chainId) || this.#pins.has(chainId)) continue;
      this.#records.delete(chainId);
      const doomed = join(this.#layout.temporary, `removed-${randomBytes(8).toString('hex')}`);
      await rename(this.#layout.layer(chainId), doomed);
      await this.#removeTree(doomed);
      if (record.blob !== null) await this.#removeBlob(record.blob);
      removed.push(chainId);
    }
    return removed;
  }

  async #apply({ archive, name, whiteouts, growing }: LayerSource, diff: string, signal: AbortSignal): Promise<AppliedLayer> {
    try {
      return await this.#addon.applyLayer(archive, diff, {
        whiteouts,
        signal,
        ...(growing === undefined ? {} : { leastSourceBytes: growing.sizeBytes }),
      });
    } catch (error) {
      if (signal.aborted) throw new StrataError('CANCELLED', `the import of ${name} was cancelled`);
      throw fromNative(error, `unpack ${name}`, archiveCodes);
    }
  }

  async #canonicalDiffId(diff: string, signal: AbortSignal): Promise<string> {
    const nowhere = await open('/dev/null', 'w');
    try {
      return (await this.#addon.packDirectory(diff, nowhere.fd, { signal })).diffId;
    } catch (error) {
      if (signal.aborted) throw new StrataError('CANCELLED', 'the import was cancelled');
      throw fromNative(error, 'read the unpacked layer', archiveCodes);
    } finally {
      await nowhere.close();
    }
  }

  async #copy({ directory, name, ...options }: DirectorySource, diff: string, signal: AbortSignal): Promise<AppliedLayer> {
    try {
      return await this.#addon.copyLayer(directory, diff, { socketsHide: true, ...options, signal });
    } catch (error) {
      if (signal.aborted) throw new StrataError('CANCELLED', `the copy of ${name} was cancelled`);
      throw fromNative(error, `copy the changes of ${name}`, directoryCodes);
    }
  }

  async #merge(
    layers: readonly string[],
    diff: string,
    { name, ...options }: { overBase: boolean; name: string; signal: AbortSignal },
  ): Promise<AppliedLayer> {
    try {
      return await this.#addon.mergeLayers(layers, diff, options);
    } catch (error) {
      if (options.signal.aborted) throw new StrataError('CANCELLED', `the squash of ${name} was cancelled`);
      throw fromNative(error, `merge the layers of ${name}`, directoryCodes);
    }
  }

  async #place(work: string, record: LayerRecord, file: string | undefined): Promise<LayerRecord> {
    const { blob } = record;
    const release = blob === null ? () => {} : this.#content.hold(blob.digest);
    let placed: LayerRecord;
    try {
      // Nothing is named before it is on disk. Other layers are made meanwhile, and those that come to this point share a sync.
      writeRecordVolatile(join(work, 'layer.json'), layerFormat, record);
      await this.#syncs.run();
      if (blob !== null && file !== undefined && file !== this.#content.path(blob.digest)) await this.#content.adopt(file, blob.digest);
      placed = await this.#placeDirectory(work, record);
    } catch (error) {
      throw fromNative(error, `keep layer ${record.chainId}`);
    } finally {
      release();
    }
    // The layer was here, with a blob of other bytes.
    if (blob !== null && placed.blob?.digest !== blob.digest) await this.#removeBlob(blob);
    return placed;
  }

  async #removeBlob({ digest }: BlobRecord): Promise<void> {
    if (!this.usedBlobs().has(digest)) await this.#content.remove(digest);
  }

  /** `work` is on disk, with its record. */
  async #placeDirectory(work: string, record: LayerRecord): Promise<LayerRecord> {
    const known = this.#records.get(record.chainId);
    if (known !== undefined) return await this.#enrich(known, record);
    try {
      await rename(work, this.#layout.layer(record.chainId));
    } catch (error) {
      // The same layer came in twice at once and the other was first.
      const first = this.#records.get(record.chainId);
      if (first !== undefined) return await this.#enrich(first, record);
      if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'EEXIST')) throw error;
      // The directory is there, complete as all are, but its record was not readable: it gets this one.
      await writeRecordDurable(this.#recordPath(record.chainId), layerFormat, record);
    }
    this.#records.set(record.chainId, record);
    await syncDirectory(this.#layout.layers);
    return record;
  }

  /** A layer that is here without a blob gets the one that came now. */
  async #enrich(known: LayerRecord, { blob }: LayerRecord): Promise<LayerRecord> {
    if (known.blob !== null || blob === null) return known;
    return await this.setBlob(known.chainId, blob);
  }

  /** The blob is in the content store, held. */
  async setBlob(chainId: Digest, blob: BlobRecord): Promise<LayerRecord> {
    const record = { ...this.require(chainId), blob };
    await writeRecordDurable(this.#recordPath(chainId), layerFormat, record);
    this.#records.set(chainId, record);
    return record;
  }

  async #removeTree(path: string): Promise<void> {
    try {
      await this.#addon.removeTree(path);
    } catch (error) {
      this.#log.warn({ err: error, path }, 'cannot remove a temporary directory; the next start tries again');
    }
  }
}

/** What the native core's rejections mean of an archive. */
const archiveCodes = {
  ENOENT: 'IMAGE_INVALID',
  EINVAL: 'ARCHIVE_CORRUPT',
  LIMIT_REJECTED: 'ARCHIVE_TOO_LARGE',
  UNSUPPORTED: 'ARCHIVE_UNSUPPORTED',
  ENOTSUP: 'FEATURE_MISSING',
} as const;

/** The same of a directory that is copied. */
const directoryCodes = { LIMIT_REJECTED: 'ARCHIVE_TOO_LARGE', UNSUPPORTED: 'LAYER_IMPOSSIBLE', ENOTSUP: 'FEATURE_MISSING' } as const;

/** As ContainerFiles.prepare makes it. */
async function isNewRoot(diff: string): Promise<boolean> {
  const { mode, uid, gid } = await stat(diff);
  return (mode & 0o7777) === 0o755 && uid === 0 && gid === 0;
}

/** One that is kept unpacked has the digest of its tar, whatever its descriptor says of a compressed one. */
function requireExpected({ digest, diffId }: AppliedLayer, expected: ExpectedLayer, name: string): void {
  if (diffId === expected.diffId && (digest === (expected.digest ?? digest) || digest === diffId)) return;
  throw new StrataError('IMAGE_INVALID', `${name} is not what its digest says`, {
    details: { expected: expected.diffId, found: diffId },
  });
}

/** The file to unpack and then to keep: what others may write meanwhile is copied first. */
async function ownFile({ archive, name }: LayerSource, take: BlobToKeep['take'], work: string): Promise<string> {
  if (typeof archive !== 'string') throw new StrataError('INTERNAL', `${name} is no file that can be kept`);
  if (take !== 'copy') return archive;
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
  return own;
}

function blobRecord({ digest, compressedBytes }: AppliedLayer, mediaType: string): BlobRecord {
  return { digest: digestSchema.parse(digest), mediaType, sizeBytes: compressedBytes };
}

function layerRecord(applied: AppliedLayer, below: readonly Digest[], blob: BlobRecord | null): LayerRecord {
  const diffId = digestSchema.parse(applied.diffId);
  const under = below.at(-1);
  // The chain of two: what is below as a whole, and this layer.
  const chainId = chainIdsOf(under === undefined ? [diffId] : [under, diffId]).at(-1) ?? diffId;
  return {
    chainId,
    diffId,
    blob,
    sizeBytes: applied.sizeBytes,
    entries: applied.entries,
    createdAt: new Date().toISOString(),
  };
}
