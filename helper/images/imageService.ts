import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import type { Addon } from '../native/addon.ts';
import { type Digest, type ImageConfig, type ImageSummary, StrataError } from '../protocol/index.ts';
import type { Layout } from '../store/layout.ts';
import { KeyedMutex } from '../store/mutex.ts';
import type { ContentStore } from './contentStore.ts';
import type { ImageNaming, ImageStore } from './imageStore.ts';
import type { LayerPin } from './layerPins.ts';
import type { LayerStore } from './layerStore.ts';
import type { Descriptor } from './manifest.ts';
import type { BlobRecord, ImageRecord } from './records.ts';
import { newName } from './reference.ts';

/** Containers that hold an image, for people: names. */
export type ImageUsers = (id: Digest) => readonly string[];

/** What makes an image, its layers aside: the bytes as they came, whose digests are its names. */
export interface ImageParts {
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  readonly manifest?: { readonly bytes: Uint8Array; readonly mediaType: string; readonly layers: readonly Descriptor[] };
  /** "registry/repository@sha256:…" */
  readonly repositoryDigest?: string;
}

export interface PruneOptions {
  /** Also those that have names. */
  readonly all: boolean;
  /** Made before this time, in milliseconds since the epoch. */
  readonly untilMs: number | undefined;
  /** All of them: "key" or "key=value". */
  readonly labels: readonly string[];
  /** Only tells what it would do. */
  readonly dryRun: boolean;
}

export interface Pruned {
  readonly untagged: string[];
  readonly removed: Digest[];
  /** Of layers and their blobs that nothing else uses. */
  readonly reclaimedBytes: number;
}

/** Puts images together, names and removes them. Nothing is visible before it is complete on disk, and nothing stays of what failed. */
export class ImageService {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #store: ImageStore;
  readonly #users: ImageUsers;
  readonly #log: Logger;
  /** Changes of names and removals take turns: each looks at who uses what and then acts on it. */
  readonly #turns = new KeyedMutex<'names'>();

  constructor(options: {
    layout: Layout;
    addon: Addon;
    content: ContentStore;
    layers: LayerStore;
    store: ImageStore;
    users: ImageUsers;
    log: Logger;
  }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#content = options.content;
    this.#layers = options.layers;
    this.#store = options.store;
    this.#users = options.users;
    this.#log = options.log;
  }

  /** Reads what is there, and removes what a crash left of imports and removals. */
  async open(): Promise<void> {
    await mkdir(this.#layout.temporary, { recursive: true, mode: 0o700 });
    await this.#content.open();
    await this.#layers.open();
    await this.#store.open();
    try {
      await this.#sweep();
    } catch (error) {
      // A disk that became read-only must not keep anybody from what runs.
      this.#log.warn({ err: error }, 'cannot remove what a crash left of imports; the next start tries again');
    }
    this.#layers.unpackAllSoon();
  }

  /** Nothing is under way yet, so what no image names is of no use. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(this.#layout.temporary)) await this.#addon.removeTree(join(this.#layout.temporary, name));
    const used = this.#store.usedLayers();
    await this.#layers.removeUnused(this.#layers.all(), () => used);
    await this.#content.removeUnused(new Set([...this.#store.usedBlobs(), ...this.#layers.usedBlobs()]));
  }

  /**
   * Keeps an image, under a name where it has one. `bring` puts its layers into the store, pins them and names them in `chain`, bottom first: they are held
   * until they belong to the image, and of one that fails none stays.
   */
  async assemble(naming: ImageNaming, bring: (pin: LayerPin, chain: Digest[]) => Promise<ImageParts>): Promise<ImageSummary> {
    return await this.holding(async (pin, chain) => {
      const parts = await bring(pin, chain);
      return await this.#turns.run('names', async () => {
        const record = await this.#record(parts, chain);
        return await this.#store.add(record, parts.config, naming);
      });
    });
  }

  /** Layers in `chain`, bottom first, that were pinned stay until `use` is over, and go then where no image has them. */
  async holding<T>(use: (pin: LayerPin, chain: Digest[]) => Promise<T>): Promise<T> {
    const pin = this.#layers.pin();
    const chain: Digest[] = [];
    try {
      return await use(pin, chain);
    } finally {
      pin.release();
      await this.#layers.removeUnused(chain.toReversed(), () => this.#store.usedLayers());
    }
  }

  async tag(text: string, name: string): Promise<ImageSummary> {
    const reference = newName(name);
    return await this.#turns.run('names', async () => await this.#store.tag(this.#store.resolve(text).image.id, reference));
  }

  /** Remembers that a registry has it: "registry/repository@sha256:…". Of an image that was removed meanwhile there is nothing to remember. */
  async noteRepositoryDigest(id: Digest, repositoryDigest: string): Promise<void> {
    await this.#turns.run('names', async () => {
      if (this.#store.get(id) !== undefined) await this.#store.noteRepositoryDigest(id, repositoryDigest);
    });
  }

  /** Takes a name away, and with the last one the image. */
  async remove(text: string, force: boolean): Promise<{ untagged: string[]; removed: Digest[] }> {
    return await this.#turns.run('names', async () => {
      const { id, reference } = this.#store.identify(text);
      const all = this.#store.referencesOf(id);
      const doomed = force || reference === undefined ? all : [reference];
      if (reference === undefined && all.length > 1 && !force) {
        throw new StrataError('IMAGE_IN_USE', `image ${text} has ${all.length} names: ${all.join(', ')}`, {
          hint: 'Remove the names one by one, or force the removal of all.',
        });
      }
      const last = doomed.length === all.length;
      if (last) this.#requireUnused(id, text);
      await this.#store.untag(doomed);
      if (!last) return { untagged: doomed, removed: [] };
      // A container may have begun to use it while the names were written: then the image stays, without a name.
      if (this.#users(id).length > 0) return { untagged: doomed, removed: [] };
      await this.#store.remove(id);
      return { untagged: doomed, removed: [id] };
    });
  }

  /** Removes images that no container uses: those without a name, or all. */
  async prune({ all, untilMs, labels, dryRun }: PruneOptions): Promise<Pruned> {
    return await this.#turns.run('names', async () => {
      const doomed = this.#store
        .list()
        .filter(({ id, references, createdAt }) => {
          if ((!all && references.length > 0) || this.#users(id).length > 0) return false;
          if (untilMs !== undefined && (createdAt === null || Date.parse(createdAt) >= untilMs)) return false;
          return hasLabels(this.#store.get(id)?.config, labels);
        })
        .map(({ id }) => id);
      const pruned: Pruned = {
        untagged: doomed.flatMap((id) => this.#store.referencesOf(id)),
        removed: doomed,
        reclaimedBytes: this.#ownBytes(new Set(doomed)),
      };
      if (dryRun) return pruned;
      await this.#store.untag(pruned.untagged);
      const removed: Digest[] = [];
      for (const id of doomed) {
        // A container may have begun to use it meanwhile.
        if (this.#users(id).length > 0) continue;
        await this.#store.remove(id);
        removed.push(id);
      }
      return { ...pruned, removed };
    });
  }

  /** Of the layers, with their blobs, that no other image has. */
  #ownBytes(ids: ReadonlySet<Digest>): number {
    const others = this.#store.usedLayers(ids);
    const own = new Set([...ids].flatMap((id) => this.#store.get(id)?.chainIds ?? []).filter((chainId) => !others.has(chainId)));
    return [...own].reduce((sum, chainId) => {
      const layer = this.#layers.get(chainId);
      return sum + (layer === undefined ? 0 : layer.sizeBytes + (layer.blob?.sizeBytes ?? 0));
    }, 0);
  }

  #requireUnused(id: Digest, text: string): void {
    const users = this.#users(id);
    if (users.length === 0) return;
    throw new StrataError(
      'IMAGE_IN_USE',
      `image "${text}" is used by ${users.length === 1 ? 'the container' : 'the containers'} ${users.slice(0, 5).join(', ')}`,
      {
        details: { containers: users.length },
      },
    );
  }

  async #record({ configBytes, manifest, repositoryDigest }: ImageParts, chainIds: readonly Digest[]): Promise<ImageRecord> {
    return {
      id: await this.#content.put(configBytes),
      chainIds: [...chainIds],
      importedAt: new Date().toISOString(),
      manifest: manifest === undefined ? null : await this.#keepManifest(manifest, chainIds),
      repositoryDigests: repositoryDigest === undefined ? [] : [repositoryDigest],
    };
  }

  /** Null where a layer was here already, as other bytes: a manifest without its blobs is of no use to anyone. */
  async #keepManifest(
    { bytes, mediaType, layers }: NonNullable<ImageParts['manifest']>,
    chainIds: readonly Digest[],
  ): Promise<BlobRecord | null> {
    const whole = layers.every(({ digest }, index) => {
      const chainId = chainIds[index];
      return chainId !== undefined && this.#layers.get(chainId)?.blob?.digest === digest;
    });
    return whole ? { digest: await this.#content.put(bytes), mediaType, sizeBytes: bytes.byteLength } : null;
  }
}

function hasLabels(config: ImageConfig | undefined, wanted: readonly string[]): boolean {
  const labels = new Map(Object.entries(config?.config?.Labels ?? {}));
  return wanted.every((label) => {
    const at = label.indexOf('=');
    return at === -1 ? labels.has(label) : labels.get(label.slice(0, at)) === label.slice(at + 1);
  });
}
