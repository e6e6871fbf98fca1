import { type Digest, type ImageConfig, type ImageSummary, StrataError } from '../protocol/index.ts';
import { configBytesOf, historyOf } from './childConfig.ts';
import type { ImageService } from './imageService.ts';
import type { ImageStore } from './imageStore.ts';
import type { LayerStore } from './layerStore.ts';
import { newName } from './reference.ts';

export interface SquashRequest {
  readonly reference: string | undefined;
  /** Layers at the bottom that stay as they are. */
  readonly keep: number;
  readonly message: string | undefined;
  /** RFC 3339. */
  readonly created: string;
}

/** Makes images with fewer layers: those above a base become one that shows the same. The image itself stays as it is. */
export class ImageSquashes {
  readonly #store: ImageStore;
  readonly #layers: LayerStore;
  readonly #service: ImageService;

  constructor(options: { store: ImageStore; layers: LayerStore; service: ImageService }) {
    this.#store = options.store;
    this.#layers = options.layers;
    this.#service = options.service;
  }

  async squash(text: string, request: SquashRequest, signal: AbortSignal): Promise<ImageSummary> {
    const reference = request.reference === undefined ? undefined : newName(request.reference);
    return await this.#service.assemble({ reference, came: 'squash' }, async (pin, chain) => {
      const { image } = this.#store.resolve(text);
      for (const chainId of image.chainIds) pin.add(chainId);
      const above = image.chainIds.slice(request.keep);
      requireSeveral(text, above, image.chainIds.length);
      chain.push(...image.chainIds.slice(0, request.keep));
      const layer = await this.#layers.addMerged({ chainIds: above.toReversed(), name: `image "${text}"` }, [...chain], { pin, signal });
      chain.push(layer.chainId);
      const config = squashedConfig(image.config, request, layer.diffId);
      return { configBytes: configBytesOf(config), config };
    });
  }
}

function requireSeveral(text: string, above: readonly Digest[], count: number): void {
  if (above.length > 1) return;
  throw new StrataError(
    'INVALID_REQUEST',
    `image "${text}" has ${count} layers: there is nothing to squash above the ${count - above.length} that stay`,
    {
      hint: 'At least two layers become one: keep fewer.',
    },
  );
}

/** Pure. Of the layers that stay their steps stay; the rest of the history becomes one step. What the steps told of the config is in the config. */
export function squashedConfig(config: ImageConfig, { keep, created, message }: SquashRequest, diffId: Digest): ImageConfig {
  const history = historyOf(config);
  const ends = history.flatMap((step, index) => (step.empty_layer === true ? [] : [index + 1]));
  const kept = history.slice(0, keep === 0 ? 0 : ends[keep - 1]);
  const step = { created, created_by: 'strata squash', ...(message === undefined ? {} : { comment: message }) };
  return {
    ...config,
    created,
    rootfs: { ...config.rootfs, diff_ids: [...config.rootfs.diff_ids.slice(0, keep), diffId] },
    history: [...kept, step],
  };
}
