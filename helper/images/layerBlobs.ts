import { randomBytes } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Addon } from '../native/addon.ts';
import { fromNative } from '../native/errors.ts';
import { type Digest, digestSchema, StrataError } from '../protocol/index.ts';
import type { Layout } from '../store/layout.ts';
import { KeyedMutex } from '../store/mutex.ts';
import type { ContentStore } from './contentStore.ts';
import type { LayerStore } from './layerStore.ts';
import { ociLayerTypes } from './manifest.ts';
import type { BlobRecord, LayerRecord } from './records.ts';

/**
 * The file that a layer is sent to others as. One that came as a blob is kept; of one that was made here it is written when it is first asked for: its
 * diffID is that of the canonical tar of its directory (docs/adr/0003-blobs-are-kept.md).
 */
export class LayerBlobs {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #turns = new KeyedMutex<Digest>();

  constructor(options: { layout: Layout; addon: Addon; content: ContentStore; layers: LayerStore }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#content = options.content;
    this.#layers = options.layers;
  }

  /** The layer is pinned by who asks. */
  async of(chainId: Digest, signal: AbortSignal): Promise<BlobRecord> {
    return await this.#turns.run(chainId, async () => {
      const record = this.#layers.require(chainId);
      return record.blob ?? (await this.#make(record, signal));
    });
  }

  async #make({ chainId, diffId }: LayerRecord, signal: AbortSignal): Promise<BlobRecord> {
    const path = join(this.#layout.temporary, `blob-${randomBytes(8).toString('hex')}`);
    try {
      const directory = await this.#layers.directory(chainId);
      const packed = await this.#pack(directory, path, signal);
      if (packed.diffId !== diffId) {
        throw new StrataError('IMAGE_INVALID', `the files of layer ${diffId} are not what it was made of`, {
          hint: 'An early version of Strata imported it, or something changed them on disk: make or import the image again.',
          details: { expected: diffId, found: packed.diffId },
        });
      }
      const blob: BlobRecord = { digest: digestSchema.parse(packed.digest), mediaType: ociLayerTypes.gzip, sizeBytes: packed.blobBytes };
      const release = this.#content.hold(blob.digest);
      try {
        await this.#content.adopt(path, blob.digest);
        await this.#layers.setBlob(chainId, blob);
      } finally {
        release();
      }
      return blob;
    } finally {
      await rm(path, { force: true });
    }
  }

  async #pack(directory: string, path: string, signal: AbortSignal) {
    try {
      const file = await open(path, 'wx', 0o600);
      try {
        const packed = await this.#addon.packDirectory(directory, file.fd, { compression: 'gzip', signal });
        await file.sync();
        return packed;
      } finally {
        await file.close();
      }
    } catch (error) {
      if (signal.aborted) throw new StrataError('CANCELLED', 'the packing of a layer was cancelled');
      throw fromNative(error, 'pack a layer');
    }
  }
}
