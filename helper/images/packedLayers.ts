import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import { type Digest, digestSchema, StrataError } from '../protocol/index.ts';
import { syncDirectory, writeFileDurable } from '../store/atomicFile.ts';
import { hexOf, type Layout } from '../store/layout.ts';
import { encodeRecord, readRecord } from '../store/record.ts';
import type { PackBounds } from './layerMaking.ts';
import { type LayerRecord, layerFormat } from './records.ts';

/** More than that is unpacked at once: written twice it would take its time, and room on the disk, twice. */
export const packBounds: PackBounds = { maxBytes: 64 * 1024 * 1024, maxEntries: 50_000 };

interface Packed {
  readonly record: LayerRecord;
  unpacking: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;
}

/** Unpacks the tar as the layer that the record is of; resolves when the layer is in its place, and nobody needs the tar. */
export type Unpack = (record: LayerRecord, tar: string, signal: AbortSignal) => Promise<void>;

/**
 * Layers that were committed and are not unpacked yet, `packed/<chainId>/{layer.json,layer.tar}` (docs/adr/0004-committed-layers-are-unpacked-later.md).
 *
 * Invariants: a directory below `packed` is complete (it was renamed there as a whole); the tar is the canonical one of the layer. One unpacking of a layer is under way at a time.
 */
export class PackedLayers {
  readonly #layout: Layout;
  readonly #unpack: Unpack;
  readonly #log: Logger;
  readonly #layers = new Map<Digest, Packed>();
  #closing = false;

  constructor(options: { layout: Layout; unpack: Unpack; log: Logger }) {
    this.#layout = options.layout;
    this.#unpack = options.unpack;
    this.#log = options.log;
  }

  /** What is here of an earlier helper. */
  async open(): Promise<readonly LayerRecord[]> {
    await mkdir(this.#layout.packedLayers, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#layout.packedLayers)) {
      const chainId = digestSchema.safeParse(`sha256:${name}`);
      if (chainId.success) await this.#read(chainId.data);
    }
    return [...this.#layers.values()].map(({ record }) => record);
  }

  async #read(chainId: Digest): Promise<void> {
    try {
      const record = await readRecord(join(this.#directory(chainId), 'layer.json'), layerFormat);
      if (record?.chainId === chainId) this.#layers.set(chainId, { record, unpacking: undefined });
      else this.#log.error({ chainId }, 'a packed layer without its record is left alone');
    } catch (error) {
      this.#log.error({ err: error, chainId }, 'a packed layer whose record cannot be read is left alone');
    }
  }

  get isEmpty(): boolean {
    return this.#layers.size === 0;
  }

  has(chainId: Digest): boolean {
    return this.#layers.has(chainId);
  }

  chainIds(): readonly Digest[] {
    return [...this.#layers.keys()];
  }

  /** Where the tar is to be packed, in a directory that `add` takes. */
  tarIn(work: string): string {
    return join(work, 'layer.tar');
  }

  /** `work` has the tar, on disk, and nothing else; it is moved. */
  async add(work: string, record: LayerRecord): Promise<void> {
    await writeFileDurable(join(work, 'layer.json'), encodeRecord(layerFormat, record));
    await rename(work, this.#directory(record.chainId));
    this.#layers.set(record.chainId, { record, unpacking: undefined });
    await syncDirectory(this.#layout.packedLayers);
  }

  /** Resolves when the layer is in its place, which for most it is. Who waits shares an unpacking with who waits already. */
  async unpacked(chainId: Digest): Promise<void> {
    const packed = this.#layers.get(chainId);
    if (packed === undefined) return;
    packed.unpacking ??= this.#begin(chainId, packed);
    await packed.unpacking.done;
  }

  /** Begins with it, for nobody who waits. */
  unpackSoon(chainId: Digest): void {
    this.unpacked(chainId).catch((error: unknown) => {
      if (this.#layers.has(chainId) && !this.#closing)
        this.#log.warn({ err: error, chainId }, 'cannot unpack a committed layer; the next container of it tries again');
    });
  }

  #begin(chainId: Digest, packed: Packed): NonNullable<Packed['unpacking']> {
    if (this.#closing) throw new StrataError('CONNECTION_CLOSED', 'the helper is ending');
    const abort = new AbortController();
    const done = this.#unpack(packed.record, this.tarIn(this.#directory(chainId)), abort.signal).finally(() => {
      packed.unpacking = undefined;
    });
    return { abort, done };
  }

  /** Nothing is under way with it when this resolves: it is packed still, or unpacked and in its place. */
  async settle(chainId: Digest): Promise<void> {
    const unpacking = this.#layers.get(chainId)?.unpacking;
    if (unpacking === undefined) return;
    unpacking.abort.abort();
    await unpacking.done.catch(() => {}); // who waits for it is told
  }

  /** It is in its place, or nobody needs it. */
  async forget(chainId: Digest): Promise<void> {
    if (this.#layers.delete(chainId)) await rm(this.#directory(chainId), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#layers.keys()].map(async (chainId) => await this.settle(chainId)));
  }

  #directory(chainId: Digest): string {
    return join(this.#layout.packedLayers, hexOf(chainId));
  }
}
