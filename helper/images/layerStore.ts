import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import type { Addon, AppliedLayer } from '../native/addon.ts';
import { fromNative, hasCode } from '../native/errors.ts';
import { type Digest, digestSchema, StrataError } from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import { syncDirectory } from '../store/atomicFile.ts';
import { GroupSync } from '../store/groupSync.ts';
import type { Layout } from '../store/layout.ts';
import { KeyedMutex } from '../store/mutex.ts';
import { readRecord, writeRecordDurable, writeRecordVolatile } from '../store/record.ts';
import { type ContentStore, chainIdsOf } from './contentStore.ts';
import {
  type BlobToKeep,
  type DirectorySource,
  type ExpectedLayer,
  LayerMaking,
  type LayerSource,
  type OwnFile,
  ownFile,
  requireExpected,
} from './layerMaking.ts';
import { type LayerPin, LayerPins } from './layerPins.ts';
import { PackedLayers, packBounds } from './packedLayers.ts';
import { type BlobRecord, type LayerRecord, layerFormat } from './records.ts';

/** One more than a pull downloads at once, so that what is here is unpacked while others wait for their registry. Each has three threads and 2 MiB. */
const unpacksAtOnce = 4;

/**
 * Layers, unpacked in `layers/<chainId>/{diff,layer.json}`, or packed still (PackedLayers).
 *
 * Invariants: a directory below `layers` is complete (it was renamed there as a whole); a layer is only removed when no
 * image names it and nobody has it pinned. What happens to one layer's place happens one after the other.
 */
export class LayerStore {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #making: LayerMaking;
  readonly #packed: PackedLayers;
  readonly #content: ContentStore;
  readonly #log: Logger;
  readonly #unpacks = new Slots(unpacksAtOnce);
  readonly #turns = new KeyedMutex<Digest>();
  readonly #syncs: GroupSync;
  /** Open from before anything is written: a sync tells what went wrong since. */
  #directory: FileHandle | undefined;
  readonly #records = new Map<Digest, LayerRecord>();
  readonly #pins = new LayerPins();

  constructor(options: { layout: Layout; addon: Addon; content: ContentStore; log: Logger }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#making = new LayerMaking(options.addon);
    this.#content = options.content;
    this.#log = options.log;
    this.#packed = new PackedLayers({
      layout: options.layout,
      log: options.log,
      unpack: async (record, tar, signal) => await this.#unpack(record, tar, signal),
    });
    this.#syncs = new GroupSync(async () => await this.#sync());
  }

  async open(): Promise<void> {
    await mkdir(this.#layout.layers, { recursive: true, mode: 0o700 });
    this.#directory = await open(this.#layout.layers, 'r');
    for (const name of await readdir(this.#layout.layers)) {
      const chainId = digestSchema.safeParse(`sha256:${name}`);
      if (!chainId.success) continue;
      const record = await this.#readRecord(chainId.data);
      if (record !== undefined) this.#records.set(chainId.data, record);
    }
    for (const record of await this.#packed.open()) {
      // A crash after it was unpacked leaves both.
      if (this.#records.has(record.chainId)) await this.#packed.forget(record.chainId);
      else this.#records.set(record.chainId, record);
    }
  }

  /** What an earlier helper committed and did not come to unpack is unpacked now. */
  unpackAllSoon(): void {
    for (const chainId of this.#packed.chainIds()) this.#packed.unpackSoon(chainId);
  }

  async close(): Promise<void> {
    await this.#packed.close();
    await this.#directory?.close();
  }

  async #sync(): Promise<void> {
    if (this.#directory === undefined) throw new Error('the layer store is not open');
    await this.#addon.syncFileSystem(this.#directory.fd);
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

  /** Their directories, in the order asked for. One that was committed just now is unpacked first. */
  async directories(chainIds: readonly Digest[]): Promise<string[]> {
    if (!this.#packed.isEmpty) await Promise.all(chainIds.map(async (chainId) => await this.#packed.unpacked(chainId)));
    return chainIds.map((chainId) => this.#layout.layerDiff(chainId));
  }

  /** The directory of one, for people who name it. */
  async directory(chainId: Digest): Promise<string> {
    const { chainId: known } = this.require(chainId);
    await this.#packed.unpacked(known);
    return this.#layout.layerDiff(known);
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
    return this.#pins.pin();
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
    return await this.#inWork(async (work) => {
      const diff = await newDiff(work);
      const file = options.keep === undefined ? undefined : await ownFile(source, options.keep.take, work);
      const unpacked = await this.#unpacks.run(
        async () => await this.#making.apply({ ...source, archive: file?.path ?? source.archive }, diff, options.signal),
      );
      await source.growing?.whole;
      const applied =
        options.foreign === true ? { ...unpacked, diffId: await this.#making.canonicalDiffId(diff, options.signal) } : unpacked;
      options.signal.throwIfAborted();
      if (options.expected !== undefined) requireExpected(applied, options.expected, source.name);
      const blob = options.keep === undefined ? null : blobRecord(applied, options.keep.mediaType);
      const record = layerRecord(applied, below, blob);
      options.pin.add(record.chainId);
      return await this.#place(work, record, file);
    });
  }

  /** `work` is an empty directory; what is left of it is removed. */
  async #inWork<T>(make: (work: string) => Promise<T>): Promise<T> {
    const work = join(this.#layout.temporary, `layer-${randomBytes(8).toString('hex')}`);
    await mkdir(work, { mode: 0o755 });
    try {
      return await make(work);
    } finally {
      await this.#removeTree(work);
    }
  }

  /**
   * Copies a directory that overlay uses as a layer (a container's upper) on top of `below`; the layer is pinned when this resolves. Undefined where
   * there is nothing in it, and its root is as a new container's. A layer that is not large stays packed until somebody needs it, or unpackSoon.
   */
  async addCopy(
    source: DirectorySource,
    below: readonly Digest[],
    { pin, signal }: { pin: LayerPin; signal: AbortSignal },
  ): Promise<LayerRecord | undefined> {
    return await this.#inWork(async (work) => {
      const packed = await this.#making.pack(source, this.#packed.tarIn(work), packBounds, signal);
      signal.throwIfAborted();
      const made = packed ?? (await this.#making.copy(source, await newDiff(work), signal));
      signal.throwIfAborted();
      if (made.entries === 1 && (await isNewRoot(source.directory))) return undefined;
      const record = layerRecord(made, below, null);
      pin.add(record.chainId);
      return packed === undefined ? await this.#place(work, record, undefined) : await this.#placePacked(work, record);
    });
  }

  async #placePacked(work: string, record: LayerRecord): Promise<LayerRecord> {
    return await this.#turns.run(record.chainId, async () => {
      const known = this.#records.get(record.chainId);
      if (known !== undefined) return known;
      await keeping(record, async () => await this.#packed.add(work, record));
      this.#records.set(record.chainId, record);
      return record;
    });
  }

  /** Begins to unpack what of it is packed still. */
  unpackSoon(chainId: Digest): void {
    this.#packed.unpackSoon(chainId);
  }

  async #unpack(record: LayerRecord, tar: string, signal: AbortSignal): Promise<void> {
    await this.#inWork(async (work) => {
      const source = { archive: tar, name: `layer ${record.diffId}`, whiteouts: true };
      const diff = await newDiff(work);
      const applied = await this.#unpacks.run(async () => await this.#making.apply(source, diff, signal));
      signal.throwIfAborted();
      requireExpected(applied, { digest: undefined, diffId: record.diffId }, source.name);
      await keeping(record, async () => {
        await this.#syncWork(work, record);
        await this.#turns.run(record.chainId, async () => {
          // A pull may have brought it meanwhile, or its image was removed.
          if (this.#packed.has(record.chainId)) await this.#placeDirectory(work, record);
        });
      });
    });
  }

  /** Makes one layer on top of `below` of what several, top first, show together; it is pinned when this resolves. */
  async addMerged(
    { chainIds, name }: { readonly chainIds: readonly Digest[]; readonly name: string },
    below: readonly Digest[],
    { pin, signal }: { pin: LayerPin; signal: AbortSignal },
  ): Promise<LayerRecord> {
    return await this.#inWork(async (work) => {
      const merged = await this.#making.merge(await this.directories(chainIds), await newDiff(work), {
        overBase: below.length > 0,
        name,
        signal,
      });
      signal.throwIfAborted();
      const record = layerRecord(merged, below, null);
      pin.add(record.chainId);
      return await this.#place(work, record, undefined);
    });
  }

  /** `used` is asked again for each: an image may have come meanwhile. */
  async removeUnused(candidates: readonly Digest[], used: () => ReadonlySet<Digest>): Promise<void> {
    const isUnused = (chainId: Digest): boolean => this.#records.has(chainId) && !this.#pins.has(chainId) && !used().has(chainId);
    for (const chainId of candidates) {
      if (!isUnused(chainId)) continue;
      await this.#packed.settle(chainId);
      await this.#turns.run(chainId, async () => {
        if (isUnused(chainId)) await this.#remove(chainId);
      });
    }
  }

  async #remove(chainId: Digest): Promise<void> {
    const { blob } = this.require(chainId);
    this.#records.delete(chainId);
    if (this.#packed.has(chainId)) {
      await this.#packed.forget(chainId);
    } else {
      const doomed = join(this.#layout.temporary, `removed-${randomBytes(8).toString('hex')}`);
      await rename(this.#layout.layer(chainId), doomed);
      await this.#removeTree(doomed);
    }
    if (blob !== null) await this.#removeBlob(blob);
  }

  async #place(work: string, record: LayerRecord, file: OwnFile | undefined): Promise<LayerRecord> {
    const { blob } = record;
    const release = blob === null ? () => {} : this.#content.hold(blob.digest);
    let placed: LayerRecord;
    try {
      placed = await keeping(record, async () => {
        await file?.onDisk;
        await this.#syncWork(work, record);
        if (blob !== null && file !== undefined && file.path !== this.#content.path(blob.digest))
          await this.#content.adopt(file.path, blob.digest);
        return await this.#turns.run(record.chainId, async () => await this.#placeDirectory(work, record));
      });
    } finally {
      release();
    }
    // The layer was here, with a blob of other bytes.
    if (blob !== null && placed.blob?.digest !== blob.digest) await this.#removeBlob(blob);
    return placed;
  }

  /** Nothing is named before it is on disk. Other layers are made meanwhile, and those that come to this point share a sync. */
  async #syncWork(work: string, record: LayerRecord): Promise<void> {
    writeRecordVolatile(join(work, 'layer.json'), layerFormat, record);
    await this.#syncs.run();
  }

  async #removeBlob({ digest }: BlobRecord): Promise<void> {
    if (!this.usedBlobs().has(digest)) await this.#content.remove(digest);
  }

  /** `work` is on disk, with its record. */
  async #placeDirectory(work: string, record: LayerRecord): Promise<LayerRecord> {
    const known = this.#records.get(record.chainId);
    if (known !== undefined && !this.#packed.has(record.chainId)) return await this.#enrich(known, record);
    try {
      await rename(work, this.#layout.layer(record.chainId));
    } catch (error) {
      if (!hasCode(error, 'ENOTEMPTY') && !hasCode(error, 'EEXIST')) throw error;
      // The directory is there, complete as all are, but its record was not readable: it gets this one.
      await writeRecordDurable(this.#recordPath(record.chainId), layerFormat, record);
    }
    this.#records.set(record.chainId, record);
    await syncDirectory(this.#layout.layers);
    await this.#packed.forget(record.chainId);
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

async function keeping<T>({ chainId }: LayerRecord, keep: () => Promise<T>): Promise<T> {
  try {
    return await keep();
  } catch (error) {
    throw fromNative(error, `keep layer ${chainId}`);
  }
}

/** The root of a layer in `work`, empty. 0755: it is the container's "/", unless the archive says otherwise. */
async function newDiff(work: string): Promise<string> {
  const diff = join(work, 'diff');
  await mkdir(diff, { mode: 0o755 });
  return diff;
}

/** As ContainerFiles.prepare makes it. */
async function isNewRoot(diff: string): Promise<boolean> {
  const { mode, uid, gid } = await stat(diff);
  return (mode & 0o7777) === 0o755 && uid === 0 && gid === 0;
}

function blobRecord({ digest, compressedBytes }: AppliedLayer, mediaType: string): BlobRecord {
  return { digest: digestSchema.parse(digest), mediaType, sizeBytes: compressedBytes };
}

function layerRecord(
  applied: Pick<AppliedLayer, 'diffId' | 'sizeBytes' | 'entries'>,
  below: readonly Digest[],
  blob: BlobRecord | null,
): LayerRecord {
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
