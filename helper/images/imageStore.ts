import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { EventHub } from '../events/hub.ts';
import { imageSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import {
  type Digest,
  digestSchema,
  type ImageConfig,
  type ImageDetails,
  type ImageSummary,
  imageConfigSchema,
  maxPlatformLength,
  StrataError,
} from '../protocol/index.ts';
import { isTemporaryName } from '../store/atomicFile.ts';
import { hexOf, type Layout } from '../store/layout.ts';
import { DamagedRecordError, readRecord, writeRecordDurable } from '../store/record.ts';
import type { ContentStore } from './contentStore.ts';
import { cut, timeOf } from './imageText.ts';
import type { LayerStore } from './layerStore.ts';
import { type ImageRecord, imageFormat, type NamesRecord, namesFormat } from './records.ts';
import { imageSelectors } from './reference.ts';

/** An image as the rest of the helper sees it. */
export interface Image {
  readonly id: Digest;
  readonly config: ImageConfig;
  /** Bottom first. */
  readonly chainIds: readonly Digest[];
}

interface Entry extends Image {
  readonly record: ImageRecord;
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
  #names: NamesRecord = { references: {}, embedded: {} };

  constructor(options: { layout: Layout; content: ContentStore; layers: LayerStore; hub: EventHub; log: Logger }) {
    this.#layout = options.layout;
    this.#content = options.content;
    this.#layers = options.layers;
    this.#hub = options.hub;
    this.#log = options.log;
  }

  async open(): Promise<void> {
    await mkdir(this.#layout.images, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#layout.images)) {
      const path = join(this.#layout.images, name);
      if (isTemporaryName(name)) await this.#removeHalf(path);
      else if (/^[0-9a-f]{64}\.json$/.test(name)) await this.#load(digestSchema.parse(`sha256:${name.slice(0, 64)}`), path);
    }
    const names = await this.#readNames();
    if (names === undefined) return;
    const references = Object.entries(names.references).filter(([, id]) => this.#images.has(id) || this.#damaged.has(id));
    this.#names = { ...names, references: Object.fromEntries(references) };
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
    return { ...this.#summary(entry), config: entry.config, chainIds: [...entry.chainIds] };
  }

  get(id: Digest): Image | undefined {
    return this.#images.get(id);
  }

  /** Of the image that has this name, also where it cannot be read. */
  idOf(reference: string): Digest | undefined {
    return Object.hasOwn(this.#names.references, reference) ? this.#names.references[reference] : undefined;
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
    return Object.entries(this.#names.references)
      .filter(([, target]) => target === id)
      .map(([reference]) => reference)
      .sort();
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

  /** Keeps an image whose layers are in the store under a name; the name's old image loses it. */
  async add(
    record: ImageRecord,
    config: ImageConfig,
    { reference, came }: { reference: string; came: 'import' | 'pull' },
  ): Promise<ImageSummary> {
    const known = this.#images.get(record.id);
    if (known === undefined) {
      await writeRecordDurable(this.#layout.image(record.id), imageFormat, record);
      this.#images.set(record.id, this.#newEntry(record, config));
      this.#damaged.delete(record.id);
    }
    const before = this.idOf(reference);
    if (before !== record.id) {
      await this.#writeNames({ ...this.#names, references: { ...this.#names.references, [reference]: record.id } });
    }
    if (before !== undefined && before !== record.id) this.#changed(before, { action: 'untag', reference });
    const isOnlyName = came === 'import' && known !== undefined && before !== record.id;
    this.#changed(record.id, { action: isOnlyName ? 'tag' : came, reference });
    return this.summary(record.id);
  }

  async untag(references: readonly string[]): Promise<void> {
    const doomed = new Set(references);
    const touched = references.map((reference) => ({ reference, id: this.#names.references[reference] }));
    const left = Object.entries(this.#names.references).filter(([reference]) => !doomed.has(reference));
    await this.#writeNames({ ...this.#names, references: Object.fromEntries(left) });
    for (const { reference, id } of touched) if (id !== undefined) this.#changed(id, { action: 'untag', reference });
  }

  /** Forgets the image and its layers that nothing else uses. It has no name any more. */
  async remove(id: Digest): Promise<void> {
    const chainIds = this.#damaged.get(id) ?? this.#entry(id).chainIds;
    // Out of sight first: who asks from now on does not find it, so nobody can begin to use it.
    this.#images.delete(id);
    this.#damaged.delete(id);
    try {
      await rm(this.#layout.image(id), { force: true });
    } finally {
      this.#hub.publish('image.removed', { id });
    }
    await this.#content.remove(id);
    await this.#layers.removeUnused(chainIds.toReversed(), this.usedLayers());
  }

  /** Of all images, those that cannot be read too. */
  ids(): Set<Digest> {
    return new Set([...this.#images.keys(), ...this.#damaged.keys()]);
  }

  usedLayers(): Set<Digest> {
    const whole = [...this.#images.values()].flatMap((image) => image.chainIds);
    return new Set([...whole, ...[...this.#damaged.values()].flat()]);
  }

  embedded(name: string): NamesRecord['embedded'][string] | undefined {
    return Object.hasOwn(this.#names.embedded, name) ? this.#names.embedded[name] : undefined;
  }

  async rememberEmbedded(name: string, value: NamesRecord['embedded'][string]): Promise<void> {
    await this.#writeNames({ ...this.#names, embedded: { ...this.#names.embedded, [name]: value } });
  }

  get #namesPath(): string {
    return join(this.#layout.images, 'names.json');
  }

  /** Without its names an image is still there by its id; a table that cannot be read must not keep the helper from its start. */
  async #readNames(): Promise<NamesRecord | undefined> {
    try {
      return await readRecord(this.#namesPath, namesFormat);
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
      const aside = `${this.#namesPath}.damaged-${Date.now()}`;
      await rename(this.#namesPath, aside);
      this.#log.error({ err: error, path: aside }, 'the table of image names is damaged and was put aside: images have no names');
      return undefined;
    }
  }

  async #writeNames(names: NamesRecord): Promise<void> {
    await writeRecordDurable(this.#namesPath, namesFormat, names);
    this.#names = names;
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

  #changed(id: Digest, { action, reference }: { action: string; reference: string }): void {
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
