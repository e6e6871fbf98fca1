import type { ByteStream } from '../containers/byteStream.ts';
import type { ContainerRegistry } from '../containers/registry.ts';
import { stepsOfLayers } from '../images/history.ts';
import type { Image, ImageStore } from '../images/imageStore.ts';
import { cut, timeOf } from '../images/imageText.ts';
import type { LayerStore } from '../images/layerStore.ts';
import type { Addon } from '../native/addon.ts';
import { type Layer, type LayerEntry, type LayerReference, maxCreatedByLength, type Params, StrataError } from '../protocol/index.ts';
import { pathError, sendFile } from './layerFiles.ts';
import type { UsageCounter } from './usageCounter.ts';

/** The overlay stacks of containers and images, and the files of single layers. Paths below a layer are the addon's to resolve. */
export class LayerService {
  readonly #addon: Addon;
  readonly #registry: ContainerRegistry;
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  readonly #usage: UsageCounter;

  constructor(options: {
    addon: Addon;
    registry: ContainerRegistry;
    images: ImageStore;
    layers: LayerStore;
    counter: UsageCounter;
  }) {
    this.#addon = options.addon;
    this.#registry = options.registry;
    this.#images = options.images;
    this.#layers = options.layers;
    this.#usage = options.counter;
  }

  async stack(params: Params<'layer.stack'>): Promise<Layer[]> {
    if (params.kind === 'image') return await this.#imageLayers(this.#images.resolve(params.image).image, 0);
    const container = this.#registry.find(params.container);
    const image = this.#images.get(container.record.imageId);
    const own: Layer[] = [];
    for (const kind of ['upper', 'init'] as const) {
      const path = container.paths[kind];
      own.push({
        reference: { kind, container: container.id },
        role: kind,
        index: own.length,
        diffId: null,
        ...(await this.#usage.of(path)), // counted now: an upper changes all the time
        createdBy: null,
        createdAt: container.record.createdAt,
        path,
      });
    }
    return image === undefined ? own : [...own, ...(await this.#imageLayers(image, own.length))];
  }

  async list(reference: LayerReference, path: string): Promise<{ entries: LayerEntry[]; truncated: boolean }> {
    try {
      return await this.#addon.listLayer(await this.#rootOf(reference), path);
    } catch (error) {
      throw pathError(error, `list '${path}'`);
    }
  }

  async stat(reference: LayerReference, path: string): Promise<LayerEntry> {
    try {
      return await this.#addon.statLayer(await this.#rootOf(reference), path);
    } catch (error) {
      throw pathError(error, `look at '${path}'`);
    }
  }

  /** An open regular file and its size; `send` must follow, it closes the file. */
  async open(reference: LayerReference, path: string): Promise<{ sizeBytes: number; send(stream: ByteStream): void }> {
    const root = await this.#rootOf(reference);
    const entry = await this.stat(reference, path);
    if (entry.kind !== 'file') throw new StrataError('NOT_A_FILE', `'${path}' is a ${entry.kind}`, { details: { path, kind: entry.kind } });
    let fd: number;
    try {
      fd = await this.#addon.openLayerFile(root, path);
    } catch (error) {
      throw pathError(error, `open '${path}'`);
    }
    return { sizeBytes: entry.sizeBytes, send: (stream) => sendFile(fd, stream) };
  }

  async #rootOf(reference: LayerReference): Promise<string> {
    switch (reference.kind) {
      case 'image':
        return await this.#layers.directory(reference.chainId);
      case 'upper':
      case 'init': {
        const container = this.#registry.get(reference.container);
        if (container === undefined) throw new StrataError('LAYER_NOT_FOUND', `there is no container ${reference.container.slice(0, 12)}`);
        return container.paths[reference.kind];
      }
    }
  }

  async #imageLayers(image: Image, above: number): Promise<Layer[]> {
    const directories = await this.#layers.directories(image.chainIds);
    const steps = stepsOfLayers(image.config.history ?? [], image.chainIds.length);
    return image.chainIds
      .map((chainId, fromBottom): Layer => {
        const record = this.#layers.require(chainId);
        const history = steps[fromBottom];
        return {
          reference: { kind: 'image', chainId },
          role: 'image',
          index: above + image.chainIds.length - 1 - fromBottom,
          diffId: record.diffId,
          sizeBytes: record.sizeBytes,
          entries: record.entries,
          createdBy: history?.created_by === undefined ? null : cut(history.created_by, maxCreatedByLength),
          createdAt: timeOf(history?.created),
          path: directories[fromBottom] ?? '',
        };
      })
      .reverse();
  }
}
