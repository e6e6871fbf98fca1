import type { Container } from '../containers/container.ts';
import type { ContainerRegistry } from '../containers/registry.ts';
import type { ContentStore } from '../images/contentStore.ts';
import type { ImageStore } from '../images/imageStore.ts';
import type { LayerStore } from '../images/layerStore.ts';
import type { ContainerUsage, Digest, DiskUsage, ImageUsage } from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import type { UsageCounter } from './usageCounter.ts';

/** Containers whose files are counted at once. */
const walksAtOnce = 2;

/** Tells what images and containers take of the disk. Layers are counted by their records: nothing of an image is walked. */
export class DiskUsageService {
  readonly #content: ContentStore;
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  readonly #registry: ContainerRegistry;
  readonly #counter: UsageCounter;
  readonly #walks = new Slots(walksAtOnce);

  constructor(options: {
    content: ContentStore;
    images: ImageStore;
    layers: LayerStore;
    registry: ContainerRegistry;
    counter: UsageCounter;
  }) {
    this.#content = options.content;
    this.#images = options.images;
    this.#layers = options.layers;
    this.#registry = options.registry;
    this.#counter = options.counter;
  }

  async read(): Promise<DiskUsage> {
    const images = this.#imageUsages();
    const inUse = new Set(
      images.filter(({ containers }) => containers.length > 0).flatMap(({ id }) => this.#images.get(id)?.chainIds ?? []),
    );
    const layers = { count: 0, sizeBytes: 0, reclaimableBytes: 0 };
    const blobs = new Map<Digest, { sizeBytes: number; used: boolean }>();
    for (const chainId of this.#layers.all()) {
      const record = this.#layers.get(chainId);
      if (record === undefined) continue;
      const used = inUse.has(chainId);
      layers.count += 1;
      layers.sizeBytes += record.sizeBytes;
      if (!used) layers.reclaimableBytes += record.sizeBytes;
      if (record.blob === null) continue;
      const { digest, sizeBytes } = record.blob;
      blobs.set(digest, { sizeBytes, used: used || blobs.get(digest)?.used === true });
    }
    for (const digest of this.#images.usedBlobs()) blobs.set(digest, { sizeBytes: (await this.#content.sizeOf(digest)) ?? 0, used: true });
    const containers = await Promise.all(this.#registry.all().map((container) => this.#walks.run(() => this.#containerUsage(container))));
    return { images, containers, layers, blobs: sumOf([...blobs.values()]) };
  }

  #imageUsages(): ImageUsage[] {
    const images = this.#images.list().flatMap(({ id, references }) => {
      const image = this.#images.get(id);
      return image === undefined ? [] : [{ id, references, chainIds: new Set(image.chainIds) }];
    });
    const owners = new Map<Digest, number>();
    for (const { chainIds } of images) for (const chainId of chainIds) owners.set(chainId, (owners.get(chainId) ?? 0) + 1);
    return images.map(({ id, references, chainIds }) => {
      const usage = { sizeBytes: 0, sharedBytes: 0, uniqueBytes: 0, blobBytes: 0 };
      for (const chainId of chainIds) {
        const record = this.#layers.get(chainId);
        if (record === undefined) continue;
        usage.sizeBytes += record.sizeBytes;
        usage.blobBytes += record.blob?.sizeBytes ?? 0;
        if ((owners.get(chainId) ?? 0) > 1) usage.sharedBytes += record.sizeBytes;
        else usage.uniqueBytes += record.sizeBytes;
      }
      return { id, references, ...usage, containers: this.#registry.usersOf(id) };
    });
  }

  async #containerUsage({ id, record, paths, state }: Container): Promise<ContainerUsage> {
    const [upper, log] = [await this.#counter.of(paths.upper), await this.#counter.of(paths.log)];
    return { id, name: record.name, running: state.kind === 'running', upperBytes: upper.sizeBytes, logBytes: log.sizeBytes ?? 0 };
  }
}

function sumOf(blobs: readonly { readonly sizeBytes: number; readonly used: boolean }[]): DiskUsage['blobs'] {
  const sum = (of: typeof blobs): number => of.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
  return { count: blobs.length, sizeBytes: sum(blobs), reclaimableBytes: sum(blobs.filter(({ used }) => !used)) };
}
