import { type Digest, StrataError } from '../protocol/index.ts';
import { type ContentStore, digestOf } from './contentStore.ts';
import type { ImageService } from './imageService.ts';
import type { Image, ImageStore } from './imageStore.ts';
import type { LayerBlobs } from './layerBlobs.ts';
import type { LayerStore } from './layerStore.ts';
import { type Descriptor, manifestSchema, ociConfigType, ociLayerType, ociManifestType } from './manifest.ts';
import type { BlobRecord } from './records.ts';

/** An image as registries and archives take it. */
export interface ImageContent {
  readonly id: Digest;
  /** The name that was asked for; undefined where it was an id. */
  readonly reference: string | undefined;
  /** As it came, or, where none did, an OCI manifest of what is here. */
  readonly manifest: { readonly bytes: Uint8Array; readonly descriptor: Descriptor };
  readonly config: { readonly bytes: Uint8Array; readonly descriptor: Descriptor };
  /** Bottom first; `path` is the blob's file. */
  readonly layers: readonly LayerContent[];
}

export interface LayerContent {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  readonly chainId: Digest;
  readonly path: string;
}

/** Lends images to who sends them on. */
export class ImageContents {
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #store: ImageStore;
  readonly #service: ImageService;
  readonly #blobs: LayerBlobs;

  constructor(options: { content: ContentStore; layers: LayerStore; store: ImageStore; service: ImageService; blobs: LayerBlobs }) {
    this.#content = options.content;
    this.#layers = options.layers;
    this.#store = options.store;
    this.#service = options.service;
    this.#blobs = options.blobs;
  }

  /** Nothing of the image goes until `use` is over, even when somebody removes it meanwhile. */
  async lend<T>(text: string, signal: AbortSignal, use: (content: ImageContent) => Promise<T>): Promise<T> {
    return await this.#service.holding(async (pin, chain) => {
      const { image, reference } = this.#store.resolve(text);
      const kept = this.#store.manifestOf(image.id);
      for (const chainId of image.chainIds) pin.add(chainId);
      chain.push(...image.chainIds);
      const configBytes = await this.#content.get(image.id);
      const manifestBytes = kept === null ? undefined : await this.#content.get(kept.digest);
      const blobs: BlobRecord[] = [];
      for (const chainId of image.chainIds) blobs.push(await this.#blobs.of(chainId, signal));
      const layers = image.chainIds.map((chainId, index) => this.#layer(chainId, blobs[index]));
      const config = { bytes: configBytes, descriptor: { mediaType: ociConfigType, digest: image.id, size: configBytes.byteLength } };
      const content =
        kept === null || manifestBytes === undefined
          ? made(config, layers)
          : asItCame(image, { bytes: manifestBytes, mediaType: kept.mediaType }, { bytes: configBytes, layers });
      return await use({ id: image.id, reference, ...content });
    });
  }

  #layer(chainId: Digest, blob: BlobRecord | undefined): LayerContent {
    if (blob === undefined) throw new StrataError('INTERNAL', `the layer ${chainId} has no blob`);
    const { digest, mediaType, sizeBytes } = blob;
    return {
      descriptor: { mediaType, digest, size: sizeBytes },
      diffId: this.#layers.require(chainId).diffId,
      chainId,
      path: this.#content.path(digest),
    };
  }
}

type Parts = Omit<ImageContent, 'id' | 'reference'>;

function made(config: Parts['config'], layers: readonly LayerContent[]): Parts {
  const typed = layers.map((layer) => ({
    ...layer,
    descriptor: { ...layer.descriptor, mediaType: ociLayerType(layer.descriptor.mediaType) },
  }));
  const manifest = {
    schemaVersion: 2,
    mediaType: ociManifestType,
    config: config.descriptor,
    layers: typed.map(({ descriptor }) => descriptor),
  };
  const bytes = new TextEncoder().encode(JSON.stringify(manifest));
  return { manifest: { bytes, descriptor: descriptorOf(bytes, ociManifestType) }, config, layers: typed };
}

/** Its descriptors say more than digest and size: they go on as they came. */
function asItCame(
  { id }: Image,
  { bytes, mediaType }: { bytes: Uint8Array; mediaType: string },
  { bytes: configBytes, layers }: { bytes: Uint8Array; layers: readonly LayerContent[] },
): Parts {
  const manifest = manifestSchema.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
  if (!manifest.success || manifest.data.config.digest !== id || manifest.data.layers.length !== layers.length) {
    throw new StrataError('IMAGE_INVALID', `the manifest that is kept of image ${id} is not its own`, {
      hint: 'Pull or load the image again.',
    });
  }
  return {
    manifest: { bytes, descriptor: descriptorOf(bytes, mediaType) },
    config: { bytes: configBytes, descriptor: manifest.data.config },
    layers: layers.map((layer, index) => ({ ...layer, descriptor: manifest.data.layers[index] ?? layer.descriptor })),
  };
}

function descriptorOf(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
}
