import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import { fromNative } from '../native/errors.ts';
import {
  type Digest,
  type ImageSummary,
  type LayerProgress,
  normalizeReference,
  type RegistryCredentials,
  repositoryOf,
  StrataError,
} from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import { hexOf, type Layout } from '../store/layout.ts';
import { KeyedMutex } from '../store/mutex.ts';
import { allOrNone } from './allOrNone.ts';
import { type ContentStore, chainIdsOf } from './contentStore.ts';
import type { ImageService } from './imageService.ts';
import type { BlobToKeep, LayerSource } from './layerMaking.ts';
import type { LayerPin } from './layerPins.ts';
import type { LayerStore } from './layerStore.ts';
import type { Descriptor } from './manifest.ts';
import { parsePlatform } from './platforms.ts';
import { downloadBlob, preparePartial } from './registry/blobDownload.ts';
import type { RegistrySettings } from './registry/registrySettings.ts';
import { findRemoteImage, type RemoteImage } from './registry/remoteImage.ts';
import { remoteName } from './registry/remoteName.ts';

export interface PullOptions {
  readonly platform: string | undefined;
  readonly credentials: RegistryCredentials | undefined;
  readonly signal: AbortSignal;
  /** Called on every step, with all layers, bottom first. */
  readonly onProgress: (layers: readonly LayerProgress[]) => void;
}

type BlobFile = Pick<LayerSource, 'growing'> & { readonly archive: string };

/** More connections for one image make no registry faster. */
const downloadsAtOnce = 3;
/** What was pulled half and never again. */
const partialsLastMs = 24 * 60 * 60_000;

/**
 * Brings images from registries: only layers that are not here, several at once, each unpacked while it comes.
 *
 * Invariants: a blob is downloaded by one pull at a time, others that want it wait and find the layer; nothing of an image is
 * to be seen before all of it is here; what a pull that failed has downloaded stays for the next one.
 */
export class ImagePulls {
  readonly #directory: string;
  readonly #settings: RegistrySettings;
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #service: ImageService;
  readonly #log: Logger;
  readonly #turns = new KeyedMutex<Digest>();
  readonly #downloads = new Slots(downloadsAtOnce);

  constructor(options: {
    layout: Layout;
    settings: RegistrySettings;
    content: ContentStore;
    layers: LayerStore;
    service: ImageService;
    log: Logger;
  }) {
    this.#directory = options.layout.partialBlobs;
    this.#settings = options.settings;
    this.#content = options.content;
    this.#layers = options.layers;
    this.#service = options.service;
    this.#log = options.log;
  }

  /** Removes blobs that nobody has gone on with for a day. */
  async open(): Promise<void> {
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      for (const name of await readdir(this.#directory)) {
        const path = join(this.#directory, name);
        if (Date.now() - (await stat(path)).mtimeMs > partialsLastMs) await rm(path, { recursive: true, force: true });
      }
    } catch (error) {
      this.#log.warn({ err: error }, 'cannot remove what is left of earlier pulls; the next start tries again');
    }
  }

  async pull(text: string, options: PullOptions): Promise<ImageSummary> {
    const reference = normalizeReference(text);
    const name = remoteName(reference);
    const platform = parsePlatform(options.platform);
    const endpoints = await this.#settings.endpoints(name.registry);
    const { credentials, signal } = options;
    const image = await findRemoteImage(endpoints, { name, platform, credentials, signal });
    try {
      return await this.#service.assemble({ reference, came: 'pull' }, async (pin, chain) => {
        await this.#bringLayers(image, pin, chain, options);
        const { configBytes, config, layers } = image;
        return {
          configBytes,
          config,
          manifest: { ...image.manifest, layers },
          repositoryDigest: `${repositoryOf(reference)}@${image.digest}`,
        };
      });
    } finally {
      image.client.close();
    }
  }

  /** All of them, or none: the first that fails ends the others. */
  async #bringLayers(image: RemoteImage, pin: LayerPin, chain: Digest[], options: PullOptions): Promise<void> {
    const progress: LayerProgress[] = image.layers.map(({ digest, size }) => ({
      digest,
      state: 'waiting',
      doneBytes: 0,
      totalBytes: size,
    }));
    const chainIds = chainIdsOf(image.config.rootfs.diff_ids);
    const tell = (index: number, change: Partial<LayerProgress>): void => {
      const before = progress[index];
      if (before === undefined) return;
      progress[index] = { ...before, ...change };
      options.onProgress(progress);
    };
    try {
      await allOrNone(image.layers, options.signal, async (layer, index, signal) => {
        const chainId = chainIds[index];
        const diffId = image.config.rootfs.diff_ids[index];
        if (chainId === undefined || diffId === undefined) return; // as many as layers
        await this.#bringLayer(image, { layer, chainId, diffId, below: chainIds.slice(0, index) }, pin, signal, (change) =>
          tell(index, change),
        );
        chain.push(chainId);
      });
    } catch (error) {
      throw fromNative(error, `pull ${image.repository}`);
    }
    chain.splice(0, chain.length, ...chainIds);
  }

  async #bringLayer(
    { client, repository }: RemoteImage,
    { layer, chainId, diffId, below }: { layer: Descriptor; chainId: Digest; diffId: Digest; below: readonly Digest[] },
    pin: LayerPin,
    signal: AbortSignal,
    tell: (change: Partial<LayerProgress>) => void,
  ): Promise<void> {
    await this.#turns.run(layer.digest, async () => {
      if (signal.aborted) throw new StrataError('CANCELLED', 'the pull was cancelled');
      if (this.#layers.get(chainId) !== undefined) {
        pin.add(chainId);
        tell({ state: 'present', doneBytes: layer.size });
        return;
      }
      const unpack = async (blob: BlobFile, take: BlobToKeep['take'], partSignal: AbortSignal): Promise<void> =>
        await this.#unpack(blob, take, { layer, diffId, below }, pin, partSignal);
      // The same content may be here over other layers.
      const release = this.#content.hold(layer.digest);
      try {
        if ((await this.#content.sizeOf(layer.digest)) !== undefined) {
          tell({ state: 'unpacking', doneBytes: layer.size });
          await unpack({ archive: this.#content.path(layer.digest) }, 'held', signal);
          tell({ state: 'done' });
          return;
        }
      } finally {
        release();
      }
      const archive = join(this.#directory, hexOf(layer.digest));
      const begun = Promise.withResolvers<void>();
      const whole = Promise.withResolvers<void>();
      for (const { promise } of [begun, whole]) promise.catch(() => {}); // whoever waits is told, and there may be nobody
      const download = async (partSignal: AbortSignal): Promise<void> => {
        try {
          await this.#downloads.run(async () => {
            if (partSignal.aborted) throw new StrataError('CANCELLED', 'the pull was cancelled');
            await preparePartial(archive, layer.size);
            tell({ state: 'downloading' });
            begun.resolve();
            const onProgress = (doneBytes: number): void => tell({ doneBytes });
            await downloadBlob(client, repository, layer, { path: archive, signal: partSignal, onProgress });
          });
        } catch (error) {
          begun.reject(error);
          whole.reject(error);
          throw error;
        }
        tell({ state: 'unpacking', doneBytes: layer.size });
        whole.resolve();
      };
      // Unpacked while it comes.
      const follow = async (partSignal: AbortSignal): Promise<void> => {
        await begun.promise;
        await unpack({ archive, growing: { sizeBytes: layer.size, whole: whole.promise } }, 'move', partSignal);
      };
      await allOrNone([download, follow], signal, async (part, _, partSignal) => await part(partSignal));
      tell({ state: 'done' });
    });
  }

  /**
   * The digest is compared here, in the same pass that unpacks: a blob that is not what it says goes, so that the next pull brings it anew.
   * One that is stays, as the layer's.
   */
  async #unpack(
    blob: BlobFile,
    take: BlobToKeep['take'],
    { layer, diffId, below }: { layer: Descriptor; diffId: Digest; below: readonly Digest[] },
    pin: LayerPin,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#layers.add({ ...blob, name: `the layer ${layer.digest}`, whiteouts: true }, below, {
        pin,
        signal,
        expected: { digest: layer.digest, diffId },
        keep: { mediaType: layer.mediaType, take },
      });
    } catch (error) {
      // Also where it could not be unpacked, unless that was the disk's fault or the person's wish: it may be damaged.
      if (!(error instanceof StrataError) || !['CANCELLED', 'NO_SPACE', 'RUNTIME_FAILED'].includes(error.code))
        await rm(blob.archive, { force: true });
      throw error;
    }
  }
}
