import type { ContainerRegistry } from '../containers/registry.ts';
import type { ImageService } from '../images/imageService.ts';
import type { ImageStore } from '../images/imageStore.ts';
import type { Logger } from '../log.ts';
import type { Addon, IndexedLayer, LayerIndex } from '../native/addon.ts';
import { fromNative } from '../native/errors.ts';
import type { Digest, Layer, LayerCheck, Params } from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import { ByteBudget } from './byteBudget.ts';
import { findAll } from './findings.ts';
import type { LayerService } from './layerService.ts';

/** An index takes memory while it is there, some 100 bytes an entry. */
const checksAtOnce = 1;
const maxEntries = 4_000_000;
const mostPaths = 100;
const mostPathBytes = 512 * 1024;

type StackLayer = Pick<Layer, 'reference' | 'role' | 'diffId' | 'createdBy' | 'path'>;

/** Checks stacks of layers: an index is built, asked and given back. The layers of an image are held meanwhile, so that a removal waits. */
export class LayerChecks {
  readonly #addon: Pick<Addon, 'LayerIndex'>;
  readonly #registry: ContainerRegistry;
  readonly #images: ImageStore;
  readonly #imageService: ImageService;
  readonly #layers: LayerService;
  readonly #log: Logger;
  readonly #slots = new Slots(checksAtOnce);

  constructor(options: {
    addon: Pick<Addon, 'LayerIndex'>;
    registry: ContainerRegistry;
    images: ImageStore;
    imageService: ImageService;
    layers: LayerService;
    log: Logger;
  }) {
    this.#addon = options.addon;
    this.#registry = options.registry;
    this.#images = options.images;
    this.#imageService = options.imageService;
    this.#layers = options.layers;
    this.#log = options.log;
  }

  async check(params: Params<'layer.check'>, signal: AbortSignal): Promise<LayerCheck> {
    return await this.#slots.run(async () => {
      signal.throwIfAborted();
      const { imageId, own, name } = this.#stackOf(params);
      return await this.#imageService.holding(async (pin, chain) => {
        const image = this.#images.get(imageId);
        for (const chainId of image?.chainIds ?? []) {
          pin.add(chainId);
          chain.push(chainId);
        }
        // Of a container: its record outlives an image that cannot be read.
        const below = image === undefined ? [] : await this.#layers.stack({ kind: 'image', image: imageId });
        const check = await this.#checkStack([...own, ...below], name, signal);
        if (image === undefined) check.limitations.push('Its image cannot be read: only what the container changed is checked.');
        return check;
      });
    });
  }

  /** What is a container's alone is not counted here: the index counts it. */
  #stackOf(params: Params<'layer.check'>): { imageId: Digest; own: readonly StackLayer[]; name: string } {
    if (params.kind === 'image') {
      return { imageId: this.#images.resolve(params.image).image.id, own: [], name: `image "${params.image}"` };
    }
    const container = this.#registry.find(params.container);
    const own = (['upper', 'init'] as const).map((kind) => ({
      reference: { kind, container: container.id },
      role: kind,
      diffId: null,
      createdBy: null,
      path: container.paths[kind],
    }));
    return { imageId: container.record.imageId, own, name: `container "${container.record.name}"` };
  }

  async #checkStack(stack: readonly StackLayer[], name: string, signal: AbortSignal): Promise<LayerCheck> {
    const index = new this.#addon.LayerIndex();
    try {
      const started = performance.now();
      const { layers, paths, memoryBytes } = await index.build(
        stack.map(({ path }) => path),
        { maxEntries, signal },
      );
      this.#log.debug({ name, paths, memoryBytes, ms: Math.round(performance.now() - started) }, 'indexed the layers');
      signal.throwIfAborted();
      return await this.#ask(index, stack, layers, signal);
    } catch (error) {
      throw fromNative(error, `check ${name}`);
    } finally {
      index.close();
    }
  }

  async #ask(index: LayerIndex, stack: readonly StackLayer[], totals: readonly IndexedLayer[], signal: AbortSignal): Promise<LayerCheck> {
    const { diveScore, diveWastedBytes, wastedPaths, worst } = await index.efficiency({ mostPaths, signal });
    const found = await findAll(index, signal);
    const room = new ByteBudget(mostPathBytes);
    const sum = (of: (layer: IndexedLayer) => number): number => totals.reduce((all, layer) => all + of(layer), 0);
    const storedBytes = sum((layer) => layer.storedBytes);
    const seenBytes = sum((layer) => layer.seenBytes);
    // The lowest layer is what an image was made from.
    const userBytes = storedBytes - (totals.at(-1)?.storedBytes ?? 0);
    return {
      layers: stack.flatMap(({ reference, role, diffId, createdBy }, at) => {
        const total = totals[at];
        if (total === undefined) return [];
        const { redirects: _redirects, metacopies: _metacopies, ...figures } = total;
        return [{ reference, role, index: at, diffId, createdBy, ...figures }];
      }),
      storedBytes,
      seenBytes,
      efficiency: storedBytes === 0 ? 1 : seenBytes / storedBytes,
      dive: {
        efficiency: diveScore,
        wastedBytes: diveWastedBytes,
        userWastedPercent: userBytes === 0 ? 0 : diveWastedBytes / userBytes,
      },
      wastedPaths,
      worst: worst.filter((path) => room.takeText(path)),
      ...found,
      limitations: limitationsOf(sum((layer) => layer.redirects)),
    };
  }
}

function limitationsOf(redirects: number): string[] {
  if (redirects === 0) return [];
  return [
    `${redirects} directories were renamed by an overlay with redirect_dir: what they show of the layers below counts as hidden, though it is seen.`,
  ];
}
