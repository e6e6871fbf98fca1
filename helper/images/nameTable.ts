import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import type { Digest } from '../protocol/index.ts';
import type { Layout } from '../store/layout.ts';
import { DamagedRecordError, readRecord, writeRecordDurable } from '../store/record.ts';
import { type NamesRecord, namesFormat } from './records.ts';

type Embedded = NamesRecord['embedded'][string];

/** Which name points to which image. Memory is what disk says: a change is written before it is to be seen. */
export class NameTable {
  readonly #path: string;
  readonly #log: Logger;
  #names: NamesRecord = { references: {}, embedded: {} };
  /** The same by image, sorted: a list of a thousand images asks for each. */
  #byImage: ReadonlyMap<Digest, readonly string[]> = new Map();

  constructor({ layout, log }: { layout: Layout; log: Logger }) {
    this.#path = join(layout.images, 'names.json');
    this.#log = log;
  }

  /** Reads the table, without names of what `exists` does not know. */
  async open(exists: (id: Digest) => boolean): Promise<void> {
    const names = await this.#read();
    if (names === undefined) return;
    this.#take({ ...names, references: Object.fromEntries(Object.entries(names.references).filter(([, id]) => exists(id))) });
  }

  get(reference: string): Digest | undefined {
    return Object.hasOwn(this.#names.references, reference) ? this.#names.references[reference] : undefined;
  }

  /** Sorted. */
  of(id: Digest): string[] {
    return [...(this.#byImage.get(id) ?? [])];
  }

  async set(reference: string, id: Digest): Promise<void> {
    await this.#write({ ...this.#names, references: { ...this.#names.references, [reference]: id } });
  }

  async remove(references: ReadonlySet<string>): Promise<void> {
    const left = Object.entries(this.#names.references).filter(([reference]) => !references.has(reference));
    await this.#write({ ...this.#names, references: Object.fromEntries(left) });
  }

  embedded(name: string): Embedded | undefined {
    return Object.hasOwn(this.#names.embedded, name) ? this.#names.embedded[name] : undefined;
  }

  async rememberEmbedded(name: string, value: Embedded): Promise<void> {
    await this.#write({ ...this.#names, embedded: { ...this.#names.embedded, [name]: value } });
  }

  async #write(names: NamesRecord): Promise<void> {
    await writeRecordDurable(this.#path, namesFormat, names);
    this.#take(names);
  }

  #take(names: NamesRecord): void {
    const byImage = new Map<Digest, string[]>();
    for (const [reference, id] of Object.entries(names.references).sort(([a], [b]) => (a < b ? -1 : 1))) {
      const references = byImage.get(id);
      if (references === undefined) byImage.set(id, [reference]);
      else references.push(reference);
    }
    this.#names = names;
    this.#byImage = byImage;
  }

  /** Without its names an image is still there by its id; a table that cannot be read must not keep the helper from its start. */
  async #read(): Promise<NamesRecord | undefined> {
    try {
      return await readRecord(this.#path, namesFormat);
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
      const aside = `${this.#path}.damaged-${Date.now()}`;
      await rename(this.#path, aside);
      this.#log.error({ err: error, path: aside }, 'the table of image names is damaged and was put aside: images have no names');
      return undefined;
    }
  }
}
