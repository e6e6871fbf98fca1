import { randomBytes } from 'node:crypto';
import { link } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../log.ts';
import type { Addon } from '../../native/addon.ts';
import { fromNative } from '../../native/errors.ts';
import { type Digest, type ImageSummary, type LayerProgress, StrataError } from '../../protocol/index.ts';
import { Slots } from '../../slots.ts';
import type { Layout } from '../../store/layout.ts';
import { allOrNone } from '../allOrNone.ts';
import { chainIdsOf } from '../contentStore.ts';
import type { ImageParts, ImageService } from '../imageService.ts';
import { plain } from '../imageText.ts';
import type { LayerPin } from '../layerPins.ts';
import type { LayerStore } from '../layerStore.ts';
import { parsePlatform } from '../platforms.ts';
import { type ArchivedImage, type ArchivedLayer, type Choice, titleOf } from './archivedImage.ts';
import { findImages } from './archivedImages.ts';
import { inflated } from './inflated.ts';
import { DirectoryFiles, type LayoutFiles } from './layoutFiles.ts';
import { MemberFiles } from './memberFiles.ts';

export interface LoadOptions {
  /** Which of several images: a name of it, or the start of a digest. All where absent. */
  readonly image: string | undefined;
  /** "os/architecture[/variant]" */
  readonly platform: string | undefined;
  readonly signal: AbortSignal;
  /** Called on every step, with the layers, bottom first, of the image that is being brought. */
  readonly onProgress: (layers: readonly LayerProgress[]) => void;
}

/** An image that was loaded, and the names that it was given. */
export interface LoadedImage {
  readonly image: ImageSummary;
  readonly references: string[];
}

/** Copied, unpacked or on their way to the disk; the layer store says how many are unpacked. */
const layersAtOnce = 6;

/**
 * Brings images from archives and layout directories: what `docker save` writes, OCI image layouts, and archives of these.
 *
 * Invariants: nothing is brought before all that was asked for is known to be there, up to the layers' digests; an image is to be seen when it is whole; what
 * is under way lies below `tmp`, which a crash leaves to the next start.
 */
export class ImageLoads {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #layers: LayerStore;
  readonly #service: ImageService;
  readonly #log: Logger;

  constructor(options: { layout: Layout; addon: Addon; layers: LayerStore; service: ImageService; log: Logger }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#layers = options.layers;
    this.#service = options.service;
    this.#log = options.log;
  }

  /** An archive, maybe compressed. */
  async stream(source: AsyncIterable<Uint8Array>, options: LoadOptions): Promise<LoadedImage[]> {
    const choice = choiceOf(options);
    const directory = join(this.#layout.temporary, `load-${randomBytes(8).toString('hex')}`);
    try {
      const files = await MemberFiles.extract(inflated(source, this.#addon), directory, options.signal);
      return await this.#load(files, choice, options);
    } finally {
      await this.#removeTree(directory);
    }
  }

  /** A directory of the host that holds the same files. */
  async directory(path: string, options: LoadOptions): Promise<LoadedImage[]> {
    return await this.#load(new DirectoryFiles(path), choiceOf(options), options);
  }

  /** The one image of a directory of the host, or that of this name; `reference` in the place of the names that it brings. */
  async single(
    path: string,
    {
      image,
      reference,
      signal,
    }: { readonly image: string | undefined; readonly reference: string | undefined; readonly signal: AbortSignal },
  ): Promise<ImageSummary> {
    const files = new DirectoryFiles(path);
    const [found, ...others] = await findImages(files, { image, platform: undefined });
    if (found === undefined || others.length > 0) {
      const titles = [found, ...others].flatMap((one) => (one === undefined ? [] : [titleOf(one)]));
      throw new StrataError('INVALID_REQUEST', `${files.title} holds ${titles.length} images: ${plain(titles.join(', '))}`, {
        hint: `Say which one, for instance with "--image ${found?.references[0] ?? 'NAME'}", or load them all: strata load -i DIRECTORY`,
      });
    }
    const references = reference === undefined ? found.references.slice(0, 1) : [reference];
    if (references.length === 0) {
      throw new StrataError('REFERENCE_INVALID', `the image of ${files.title} brings no name`, {
        hint: 'Give a name such as "debian:12".',
      });
    }
    try {
      const progress = new LoadProgress(found, () => {});
      return (await this.#keep({ ...found, references }, 'import', { files, progress, signal })).image;
    } catch (error) {
      throw about(found, error, signal);
    }
  }

  async #load(files: LayoutFiles, choice: Choice, { signal, onProgress }: LoadOptions): Promise<LoadedImage[]> {
    const images = await findImages(files, choice);
    const loaded: LoadedImage[] = [];
    for (const one of images) {
      try {
        loaded.push(await this.#keep(one, 'load', { files, progress: new LoadProgress(one, onProgress), signal }));
      } catch (error) {
        throw about(one, error, signal);
      }
    }
    return loaded;
  }

  async #keep(image: ArchivedImage, came: 'import' | 'load', source: Source): Promise<LoadedImage> {
    const [reference, ...others] = image.references;
    let summary = await this.#service.assemble({ reference, came }, async (pin, chain) => {
      await this.#bringLayers(image, { ...source, pin, chain });
      return partsOf(image);
    });
    for (const other of others) summary = await this.#service.tag(summary.id, other);
    return { image: summary, references: [...image.references] };
  }

  /** All of them, or none: the first that fails ends the others. */
  async #bringLayers(image: ArchivedImage, bringing: Bringing): Promise<void> {
    const chainIds = chainIdsOf(image.layers.map(({ diffId }) => diffId));
    const slots = new Slots(layersAtOnce);
    try {
      await allOrNone(image.layers, bringing.signal, async (layer, index, signal) => {
        await slots.run(async () => {
          signal.throwIfAborted();
          await this.#bringLayer(layer, { ...bringing, signal }, chainIds.slice(0, index));
          const chainId = chainIds[index];
          if (chainId !== undefined) bringing.chain.push(chainId);
        });
      });
    } catch (error) {
      throw fromNative(error, 'unpack its layers');
    }
    bringing.chain.splice(0, bringing.chain.length, ...chainIds);
  }

  async #bringLayer(layer: ArchivedLayer, { files, pin, progress, signal }: Bringing, below: readonly Digest[]): Promise<void> {
    const chainId = chainIdsOf([...below.slice(-1), layer.diffId]).at(-1);
    const known = chainId === undefined ? undefined : this.#layers.get(chainId);
    // One that has a blob keeps it, also where this one is compressed in another way.
    if (known !== undefined && known.blob !== null) {
      pin.add(known.chainId);
      progress.tell(layer, 'present');
      return;
    }
    progress.tell(layer, 'unpacking');
    const archive = files.take === 'move' ? await ownName(layer.path) : layer.path;
    await this.#layers.add({ archive, name: `the layer ${layer.digest ?? layer.diffId}`, whiteouts: true }, below, {
      pin,
      signal,
      expected: { digest: layer.digest, diffId: layer.diffId },
      keep: { mediaType: layer.mediaType, take: files.take },
    });
    progress.tell(layer, 'done');
  }

  async #removeTree(path: string): Promise<void> {
    try {
      await this.#addon.removeTree(path);
    } catch (error) {
      this.#log.warn({ err: error, path }, 'cannot remove a temporary directory; the next start tries again');
    }
  }
}

interface Source {
  readonly files: LayoutFiles;
  readonly progress: LoadProgress;
  readonly signal: AbortSignal;
}

interface Bringing extends Source {
  readonly pin: LayerPin;
  readonly chain: Digest[];
}

/** How far each layer of an image is. */
class LoadProgress {
  readonly #layers: readonly ArchivedLayer[];
  readonly #states: LayerProgress[];
  readonly #report: LoadOptions['onProgress'];

  constructor({ layers }: ArchivedImage, report: LoadOptions['onProgress']) {
    this.#layers = layers;
    this.#states = this.#layers.map(({ digest, diffId, sizeBytes }) => ({
      digest: digest ?? diffId,
      state: 'waiting',
      doneBytes: 0,
      totalBytes: sizeBytes,
    }));
    this.#report = report;
  }

  tell(layer: ArchivedLayer, state: LayerProgress['state']): void {
    const index = this.#layers.indexOf(layer);
    const before = this.#states[index];
    if (before === undefined) return;
    this.#states[index] = { ...before, state, doneBytes: state === 'unpacking' ? 0 : before.totalBytes };
    this.#report(this.#states);
  }
}

function choiceOf({ image, platform }: LoadOptions): Choice {
  return { image, platform: platform === undefined ? undefined : parsePlatform(platform) };
}

function partsOf({ configBytes, config, manifest }: ArchivedImage): ImageParts {
  return { configBytes, config, ...(manifest === undefined ? {} : { manifest }) };
}

/** One file may be the layer of several images, and the store takes it away: each has a name of its own for it. */
async function ownName(path: string): Promise<string> {
  const own = `${path}-${randomBytes(4).toString('hex')}`;
  await link(path, own);
  return own;
}

function about(image: ArchivedImage, error: unknown, signal: AbortSignal): StrataError {
  if (signal.aborted) return new StrataError('CANCELLED', 'the load was cancelled');
  const { code, message, hint, details } = fromNative(error, 'keep it');
  return new StrataError(code, `cannot load the image ${titleOf(image)}: ${message}`, { hint, details, cause: error });
}
