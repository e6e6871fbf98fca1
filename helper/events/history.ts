import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Logger } from '../log.ts';
import { type EventRecord, eventRecordSchema } from '../protocol/index.ts';
import { type Known, KnownThings, knownSchema } from './known.ts';

export interface HistoryBounds {
  /** A file that is larger is followed by another. */
  readonly fileBytes: number;
  readonly files: number;
  /** More that wait for the disk are given up. */
  readonly waiting: number;
}

const usualBounds: HistoryBounds = { fileBytes: 4 * 1024 * 1024, files: 4, waiting: 10_000 };

/** Written at once; each line has some hundred bytes, with labels up to a hundred KiB. */
const writtenAtOnce = 128;

/** The first line of each file: what the files before it, which go, have told. */
const checkpointSchema = z.strictObject({
  checkpoint: z.strictObject({ seq: z.int().min(0), known: knownSchema }),
});
type Checkpoint = z.infer<typeof checkpointSchema>['checkpoint'];
type Line = { readonly kind: 'record'; readonly record: EventRecord } | { readonly kind: 'checkpoint'; readonly checkpoint: Checkpoint };

/**
 * Events on disk: lines of JSON in numbered files, of which the oldest goes when there are too many.
 *
 * Invariants: lines are written in order, after what they tell is on disk; nobody waits for the disk but who reads here; what
 * cannot be written is left out, and its number is missing. A line that a crash tore is no line. Nothing is synced: what a
 * power loss takes is the end, and whoever saw it is gone with it.
 */
export class EventHistory {
  /** Of the last event that was found at the start. */
  readonly lastSeq: number;
  /** What was told before this start; undefined: nothing was ever told here. */
  readonly before: Known | undefined;
  readonly #directory: string;
  readonly #bounds: HistoryBounds;
  readonly #log: Logger;
  readonly #known = new KnownThings();
  readonly #listeners = new Set<() => void>();
  #waiting: Line[] = [];
  #isWriting = false;
  #number: number;
  #file: FileHandle | undefined;
  #sizeBytes = 0;
  /** The file may end within a line. */
  #isTorn = true;
  #isFailing = false;
  #settled: number;

  /** Never throws: without a disk events are told all the same. */
  static async open(options: { directory: string; log: Logger; bounds?: Partial<HistoryBounds> }): Promise<EventHistory> {
    const found = await findLast(options.directory, options.log);
    return new EventHistory({ ...options, bounds: { ...usualBounds, ...options.bounds } }, found);
  }

  private constructor(options: { directory: string; log: Logger; bounds: HistoryBounds }, found: Found) {
    this.#directory = options.directory;
    this.#bounds = options.bounds;
    this.#log = options.log;
    this.#number = found.number;
    this.lastSeq = found.seq;
    this.#settled = found.seq;
    this.before = found.known;
    if (found.known !== undefined) this.#known.replace(found.known);
  }

  /** Of the last event that is on disk, or that never will be. */
  get settledSeq(): number {
    return this.#settled;
  }

  /** Called each time `settledSeq` has grown. */
  onSettled(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  append(record: EventRecord): void {
    this.#push({ kind: 'record', record });
  }

  /** What was there before anything was told. */
  begin(seq: number, known: Known): void {
    this.#push({ kind: 'checkpoint', checkpoint: { seq, known } });
  }

  /** Every event on disk, oldest first, in lists of some. What comes meanwhile may be missing. */
  async *read(): AsyncGenerator<EventRecord[]> {
    for (const number of await fileNumbers(this.#directory)) {
      let list: EventRecord[] = [];
      for await (const line of readLines(pathOf(this.#directory, number))) {
        if (line.kind !== 'record') continue;
        list.push(line.record);
        if (list.length < writtenAtOnce) continue;
        yield list;
        list = [];
      }
      if (list.length > 0) yield list;
    }
  }

  /** When everything was written. */
  async close(): Promise<void> {
    if (this.#isWriting) {
      await new Promise<void>((resolve) => {
        const off = this.onSettled(() => {
          if (this.#waiting.length > 0) return;
          off();
          resolve();
        });
      });
    }
    await this.#file?.close();
    this.#file = undefined;
  }

  #push(line: Line): void {
    if (this.#waiting.length >= this.#bounds.waiting) {
      this.#failed(new Error(`the disk has taken none of ${this.#waiting.length} events`));
      this.#waiting = [];
    }
    this.#waiting.push(line);
    if (!this.#isWriting) void this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    // Those of one turn go together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const lines = this.#waiting.splice(0, writtenAtOnce);
      await this.#write(lines).catch((error: unknown) => this.#failed(error));
      const last = lines.findLast(({ kind }) => kind === 'record');
      if (last?.kind === 'record') this.#settled = last.record.seq;
      if (this.#waiting.length === 0) this.#isWriting = false;
      for (const listener of this.#listeners) listener();
    }
  }

  async #write(lines: readonly Line[]): Promise<void> {
    const text = lines.map((line) => `${encode(line)}\n`).join('');
    await this.#makeRoom();
    await this.#append(text);
    for (const line of lines) {
      if (line.kind === 'record') this.#known.apply(line.record);
      else this.#known.replace(line.checkpoint.known);
    }
    if (this.#isFailing) this.#log.info('events are written to disk again');
    this.#isFailing = false;
  }

  async #append(text: string): Promise<void> {
    this.#file ??= await this.#openFile();
    const bytes = Buffer.from(this.#isTorn ? `\n${text}` : text);
    this.#isTorn = true;
    await this.#file.appendFile(bytes);
    this.#isTorn = false;
    this.#sizeBytes += bytes.byteLength;
  }

  async #openFile(): Promise<FileHandle> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const path = pathOf(this.#directory, this.#number);
    const isNew = !existsSync(path);
    const file = await open(path, 'a', 0o600);
    try {
      this.#sizeBytes = (await file.stat()).size;
      if (isNew) {
        await file.appendFile(`${encode({ kind: 'checkpoint', checkpoint: { seq: this.#settled, known: this.#known.all() } })}\n`);
        this.#isTorn = false;
      }
      return file;
    } catch (error) {
      await file.close();
      // Without its first line it would hide what the files before it tell.
      if (isNew) await rm(path, { force: true });
      throw error;
    }
  }

  async #makeRoom(): Promise<void> {
    if (this.#file === undefined || this.#sizeBytes < this.#bounds.fileBytes) return;
    await this.#file.close();
    this.#file = undefined;
    this.#number += 1;
    for (const number of await fileNumbers(this.#directory)) {
      if (number <= this.#number - this.#bounds.files) await rm(pathOf(this.#directory, number), { force: true });
    }
  }

  /** Once, until it goes on. */
  #failed(error: unknown): void {
    if (!this.#isFailing)
      this.#log.error({ err: error }, 'events cannot be written to disk: those who listen hear of them, and nobody later');
    this.#isFailing = true;
  }
}

interface Found {
  readonly number: number;
  readonly seq: number;
  readonly known: Known | undefined;
}

/** From the last file whose first line is whole to the end. */
async function findLast(directory: string, log: Logger): Promise<Found> {
  const known = new KnownThings();
  let seq = 0;
  let isThere = false;
  let number = 1;
  try {
    const numbers = await fileNumbers(directory);
    number = numbers.at(-1) ?? 1;
    for (const each of await fromLastCheckpoint(directory, numbers)) {
      for await (const line of readLines(pathOf(directory, each))) {
        isThere = true;
        if (line.kind === 'record') known.apply(line.record);
        else known.replace(line.checkpoint.known);
        seq = Math.max(seq, line.kind === 'record' ? line.record.seq : line.checkpoint.seq);
      }
    }
  } catch (error) {
    log.error({ err: error }, 'the events of earlier helpers cannot be read');
  }
  return { number, seq, known: isThere ? known.all() : undefined };
}

async function fromLastCheckpoint(directory: string, numbers: readonly number[]): Promise<readonly number[]> {
  for (let index = numbers.length - 1; index >= 0; index -= 1) {
    for await (const line of readLines(pathOf(directory, numbers[index] ?? 0))) {
      if (line.kind === 'checkpoint') return numbers.slice(index);
      break;
    }
  }
  return numbers;
}

function pathOf(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(8, '0')}.jsonl`);
}

async function fileNumbers(directory: string): Promise<number[]> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
  return names
    .flatMap((name) => /^(\d{8,12})\.jsonl$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}

/** The lines of a file that are whole; none where it has gone meanwhile. */
async function* readLines(path: string): AsyncGenerator<Line> {
  try {
    let rest = '';
    // A type of its own: with an encoding a stream gives text, of which its declaration does not know.
    for await (const chunk of createReadStream(path, { encoding: 'utf8' }) as AsyncIterable<string>) {
      const texts = (rest + chunk).split('\n');
      rest = texts.pop() ?? '';
      yield* texts.flatMap((text) => parseLine(text) ?? []);
    }
    yield* [parseLine(rest) ?? []].flat();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}

function encode(line: Line): string {
  return JSON.stringify(line.kind === 'record' ? line.record : { checkpoint: line.checkpoint });
}

function parseLine(text: string): Line | undefined {
  if (text === '') return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // torn by a crash
  }
  const record = eventRecordSchema.safeParse(value);
  if (record.success) return { kind: 'record', record: record.data };
  const checkpoint = checkpointSchema.safeParse(value);
  return checkpoint.success ? { kind: 'checkpoint', checkpoint: checkpoint.data.checkpoint } : undefined;
}
