import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { EventHub } from '../events/hub.ts';
import { imageSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import {
  type Digest,
  digestSchema,
  type HistoryEntry,
  type ImageConfig,
  type ImageDetails,
  type ImageSummary,
  imageConfigSchema,
  maxPlatformLength,
  StrataError,
} from '../protocol/index.ts';
import { isTemporaryName } from '../store/atomicFile.ts';
import { hexOf, type Layout } from '../store/layout.ts';
import { readRecord, writeRecordDurable } from '../store/record.ts';
import type { ContentStore } from './contentStore.ts';
import { imageHistory } from './history.ts';
import { cut, timeOf } from './imageText.ts';
import type { LayerStore } from './layerStore.ts';
import { NameTable } from './nameTable.ts';
import { type BlobRecord, type ImageRecord, imageFormat, type NamesRecord } from './records.ts';
import { imageSelectors } from './reference.ts';

/** Under which name an image is kept, and by what it came here. */
export interface ImageNaming {
  readonly reference: string | undefined;
  readonly came: 'import' | 'load' | 'pull' | 'commit' | 'squash';
}

/** Where the blobs of an image's layers are, too. */
export interface KnownBlobs {
  /** "registry/repository@sha256:…", the newest last. */
  readonly repositoryDigests: readonly string[];
  readonly blobs: readonly Digest[];
}

/** An image as the rest of the helper sees it. */
export interface Image {
  readonly id: Digest;
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly chainIds: readonly Digest[];
}

interface Entry extends Image {
  record: ImageRecord;
  readonly sizeBytes: number;
  revision: number;
}

/**
 * Images and their names. Memory is what disk says: every change is written before it is visible.
 *
 * Invariants: an image's layers are here. An image that cannot be read keeps its record, its names and its layers: containers
 * may run on them, and an import of the same content makes it whole again.
 */
export class ImageStore {
  readonly #layout: Layout;
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #images = new Map<Digest, Entry>();
  /** Layers of the images that cannot be read. */
  readonly #damaged = new Map<Digest, readonly Digest[]>();
  readonly #names: NameTable;

  constructor(options: { layout: Layout; content: ContentStore; layers: LayerStore; hub: EventHub; log: Logger }) {
    this.#layout = options.layout;
    this.#content = options.content;
    this.#layers = options.layers;
    this.#hub = options.hub;
    this.#log = options.log;
    this.#names = new NameTable({ layout: options.layout, log: options.log });
  }

  async open(): Promise<void> {
    await mkdir(this.#layout.images, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#layout.images)) {
      const path = join(this.#layout.images, name);
      if (isTemporaryName(name)) await this.#removeHalf(path);
      else if (/^[0-9a-f]{64}\.json$/.test(name)) await this.#load(digestSchema.parse(`sha256:${name.slice(0, 64)}`), path);
    }
    await this.#names.open((id) => this.#images.has(id) || this.#damaged.has(id));
  }

  /** What a crash left of a write. A disk that became read-only must not keep the helper from its start. */
  async #removeHalf(path: string): Promise<void> {
    try {
      await rm(path, { force: true });
    } catch (error) {
      this.#log.warn({ err: error, path }, 'cannot remove a half-written file; the next start tries again');
    }
  }

  list(): ImageSummary[] {
    return [...this.#images.values()].map((entry) => this.#summary(entry)).sort((a, b) => compare(a.references[0], b.references[0]));
  }

  summary(id: Digest): ImageSummary {
    return this.#summary(this.#entry(id));
  }

  details(id: Digest): ImageDetails {
    const entry = this.#entry(id);
    const { manifest, repositoryDigests } = entry.record;
    return {
      ...this.#summary(entry),
      config: entry.config,
      chainIds: [...entry.chainIds],
      manifest: manifest?.digest ?? null,
      repositoryDigests: [...repositoryDigests],
    };
  }

  /** Newest first. */
  history(id: Digest): HistoryEntry[] {
    const { config, chainIds } = this.#entry(id);
    return imageHistory(
      config,
      chainIds.map((chainId) => this.#layers.require(chainId)),
    );
  }

  get(id: Digest): Image | undefined {
    return this.#images.get(id);
  }

  /** Whose blob is here, and all that it names; null for an image that was made here. */
  manifestOf(id: Digest): BlobRecord | null {
    return this.#entry(id).record.manifest;
  }

  /** Of the image that has this name, also where it cannot be read. */
  idOf(reference: string): Digest | undefined {
    return this.#names.get(reference);
  }

  /** Those that are here and cannot be read. */
  damaged(): Digest[] {
    return [...this.#damaged.keys()];
  }

  /** Whether there is such an image, but one that cannot be read. */
  isDamaged(id: Digest): boolean {
    return this.#damaged.has(id);
  }

  referencesOf(id: Digest): string[] {
    return this.#names.of(id);
  }

  /** What a person named, and by which name where it was one. */
  resolve(text: string): { image: Image; reference: string | undefined } {
    const { id, reference } = this.identify(text);
    return { image: this.#entry(id), reference };
  }

  /** The same, for what can be done to an image that cannot be read, too. */
  identify(text: string): { id: Digest; reference: string | undefined } {
    for (const selector of imageSelectors(text)) {
      if (selector.kind === 'reference') {
        const id = this.idOf(selector.reference);
        if (id !== undefined) return { id, reference: selector.reference };
        continue;
      }
      const found = [...this.#images.keys(), ...this.#damaged.keys()].filter((id) => hexOf(id).startsWith(selector.prefix));
      if (found.length > 1) throw new StrataError('IMAGE_AMBIGUOUS', `"${text}" is the start of ${found.length} image ids`);
      if (found[0] !== undefined) return { id: found[0], reference: undefined };
    }
    throw new StrataError('IMAGE_NOT_FOUND', `there is no image "${text}"`, { details: { image: text } });
  }

  /** Keeps an image whose layers are in the store, under a name where it has one; the name's old image loses it. */
  async add(record: ImageRecord, config: ImageConfig, { reference, came }: ImageNaming): Promise<ImageSummary> {
    const known = this.#images.get(record.id);
    const kept = known === undefined ? record : merge(known.record, record);
    if (kept !== known?.record) {
      await writeRecordDurable(this.#layout.image(record.id), imageFormat, kept);
      if (known === undefined) this.#images.set(record.id, this.#newEntry(record, config));
      else known.record = kept;
      this.#damaged.delete(record.id);
    }
    const moved = reference !== undefined && (await this.#point(reference, record.id));
    const isOnlyName = came !== 'pull' && came !== 'load' && known !== undefined && moved;
    this.#changed(record.id, { action: isOnlyName ? 'tag' : came, reference });
    return this.summary(record.id);
  }

  /** Gives an image one more name; the name's old image loses it. */
  async tag(id: Digest, reference: string): Promise<ImageSummary> {
    const { id: target } = this.#entry(id);
    if (await this.#point(reference, target)) this.#changed(target, { action: 'tag', reference });
    return this.summary(target);
  }

  /** What registries are known to have of each image, and the blobs of its layers that are here. */
  blobsInRegistries(): KnownBlobs[] {
    return [...this.#images.values()].map(({ chainIds, record }) => ({
      repositoryDigests: record.repositoryDigests,
      blobs: chainIds.flatMap((chainId) => this.#layers.get(chainId)?.blob?.digest ?? []),
    }));
  }

  /** Remembers that a registry has it: "registry/repository@sha256:…". */
  async noteRepositoryDigest(id: Digest, repositoryDigest: string): Promise<void> {
    const entry = this.#entry(id);
    const record = merge(entry.record, { ...entry.record, repositoryDigests: [repositoryDigest] });
    if (record === entry.record) return;
    await writeRecordDurable(this.#layout.image(id), imageFormat, record);
    entry.record = record;
  }

  /** Whether the name is a new one of this image. */
  async #point(reference: string, id: Digest): Promise<boolean> {
    const before = this.idOf(reference);
    if (before === id) return false;
    await this.#names.set(reference, id);
    if (before !== undefined) this.#changed(before, { action: 'untag', reference });
    return true;
  }

  async untag(references: readonly string[]): Promise<void> {
    const touched = references.map((reference) => ({ reference, id: this.idOf(reference) }));
    await this.#names.remove(new Set(references));
    for (const { reference, id } of touched) if (id !== undefined) this.#changed(id, { action: 'untag', reference });
  }

  /** Forgets the image and its layers that nothing else uses. It has no name any more. */
  async remove(id: Digest): Promise<void> {
    const chainIds = this.#damaged.get(id) ?? this.#entry(id).chainIds;
    const manifest = this.#images.get(id)?.record.manifest?.digest;
    // Out of sight first: who asks from now on does not find it, so nobody can begin to use it.
    this.#images.delete(id);
    this.#damaged.delete(id);
    try {
      await rm(this.#layout.image(id), { force: true });
    } finally {
      this.#hub.publish('image.removed', { id });
    }
    await this.#content.remove(id);
    if (manifest !== undefined && !this.usedBlobs().has(manifest)) await this.#content.remove(manifest);
    await this.#layers.removeUnused(chainIds.toReversed(), () => this.usedLayers());
  }

  /** Of all images, those that cannot be read too. */
  ids(): Set<Digest> {
    return new Set([...this.#images.keys(), ...this.#damaged.keys()]);
  }

  /** Blobs of the content store that are an image's own: those of its layers are the layers'. */
  usedBlobs(): Set<Digest> {
    const manifests = [...this.#images.values()].flatMap(({ record }) => (record.manifest === null ? [] : [record.manifest.digest]));
    return new Set([...this.ids(), ...manifests]);
  }

  /** By all images, or by those that are not among `without`. */
  usedLayers(without: ReadonlySet<Digest> = new Set()): Set<Digest> {
    const whole = [...this.#images.values()].filter(({ id }) => !without.has(id)).flatMap((image) => image.chainIds);
    return new Set([...whole, ...[...this.#damaged.values()].flat()]);
  }

  embedded(name: string): NamesRecord['embedded'][string] | undefined {
    return this.#names.embedded(name);
  }

  async rememberEmbedded(name: string, value: NamesRecord['embedded'][string]): Promise<void> {
    await this.#names.rememberEmbedded(name, value);
  }

  async #load(id: Digest, path: string): Promise<void> {
    let record: ImageRecord | undefined;
    try {
      record = await readRecord(path, imageFormat);
      if (record === undefined) return;
      this.#images.set(id, await this.#read(record));
    } catch (error) {
      this.#log.error({ err: error, image: id }, 'an image cannot be read and is not shown: import it again, or remove it by its id');
      // Which layers are its own only its record knows.
      this.#damaged.set(id, record?.chainIds ?? this.#layers.all());
    }
  }

  async #read(record: ImageRecord): Promise<Entry> {
    const missing = record.chainIds.find((chainId) => this.#layers.get(chainId) === undefined);
    if (missing !== undefined) {
      throw new StrataError('LAYER_NOT_FOUND', `image ${record.id} has lost its layer ${missing}`, { details: { chainId: missing } });
    }
    const text = new TextDecoder().decode(await this.#content.get(record.id));
    return this.#newEntry(record, imageConfigSchema.parse(JSON.parse(text)));
  }

  #newEntry(record: ImageRecord, config: ImageConfig): Entry {
    const sizeBytes = record.chainIds.reduce((sum, chainId) => sum + (this.#layers.get(chainId)?.sizeBytes ?? 0), 0);
    return { id: record.id, config, chainIds: record.chainIds, record, sizeBytes, revision: 0 };
  }

  #changed(id: Digest, { action, reference }: { action: string; reference: string | undefined }): void {
    const entry = this.#images.get(id);
    if (entry === undefined) return;
    entry.revision += 1;
    const image = this.#summary(entry);
    this.#hub.publish('image.changed', { image }, { action, subject: imageSubject(image, reference) });
  }

  #entry(id: Digest): Entry {
    const entry = this.#images.get(id);
    if (entry !== undefined) return entry;
    if (this.#damaged.has(id)) throw damaged(id);
    throw new StrataError('IMAGE_NOT_FOUND', `there is no image ${id}`, { details: { image: id } });
  }

  #summary(entry: Entry): ImageSummary {
    return {
      id: entry.id,
      references: this.referencesOf(entry.id),
      sizeBytes: entry.sizeBytes,
      createdAt: timeOf(entry.config.created) ?? entry.record.importedAt,
      architecture: cut(entry.config.architecture, maxPlatformLength),
      os: cut(entry.config.os, maxPlatformLength),
      layerCount: entry.chainIds.length,
      revision: entry.revision,
    };
  }
}

const mostRepositoryDigests = 50;

/** What is known of an image after it came once more; the same object where that is nothing new. */
function merge(known: ImageRecord, { manifest, repositoryDigests }: ImageRecord): ImageRecord {
  const isNew = manifest !== null && manifest.digest !== known.manifest?.digest;
  const before = known.repositoryDigests;
  const added = repositoryDigests.filter((digest) => !before.includes(digest));
  if (!isNew && added.length === 0) return known;
  return {
    ...known,
    manifest: isNew ? manifest : known.manifest,
    repositoryDigests: [...before, ...added].slice(-mostRepositoryDigests),
  };
}

export function damaged(id: Digest): StrataError {
  return new StrataError('IMAGE_INVALID', `the image ${id} is damaged on disk`, {
    hint: "Import it again; the helper's log says what is wrong.",
    details: { image: id },
  });
}

/** By name; what has none comes last. */
function compare(a: string | undefined, b: string | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return 1;
  return b === undefined || a < b ? -1 : 1;
}
