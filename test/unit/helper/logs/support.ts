import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { ByteStream } from '../../../../helper/containers/byteStream.ts';
import type { LogItem } from '../../../../helper/containers/logs/cursor.ts';
import type { LogChannel, StreamBytes } from '../../../../helper/containers/logs/records.ts';
import type { Channel } from '../../../../helper/protocol/index.ts';

export const startMs = 1_700_000_000_123;
export const startNs = BigInt(startMs) * 1_000_000n;

/** docs/logs.md, "On disk". */
export function record(text: string | Buffer, channel: number = 1, timeNs: bigint = startNs): Buffer {
  const payload = Buffer.from(text);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt8(channel, 4);
  header.writeBigUInt64LE(timeNs, 8);
  return Buffer.concat([header, payload]);
}

export function lost(bytes: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeBigUInt64LE(BigInt(bytes));
  return record(payload, 3);
}

export interface Write {
  readonly text: string;
  readonly channel?: LogChannel;
  readonly atMs?: number;
}

const lengthOf = (writes: readonly Write[], wanted: LogChannel): number =>
  writes.reduce((sum, { text, channel = 1 }) => sum + (channel === wanted ? Buffer.byteLength(text) : 0), 0);

/** Segments as the supervisor writes them. */
export class WrittenLog {
  readonly path: string;
  #before: StreamBytes = { 1: 0, 2: 0 };
  #last: readonly Write[] = [];
  readonly #inLine = { 1: false, 2: false };
  readonly names: string[] = [];

  constructor(directory: string) {
    this.path = join(directory, 'log');
  }

  /** The next segment; a later one can come behind the end of this one only. */
  add(writes: readonly Write[]): this {
    const total = this.#before[1] + this.#before[2];
    const name = this.names.length === 0 ? this.path : `${this.path}.${String(total).padStart(20, '0')}`;
    const parts = writes.map(({ text, channel = 1, atMs = startMs }) => record(text, channel, BigInt(atMs) * 1_000_000n));
    writeFileSync(name, Buffer.concat([...(this.names.length === 0 ? [] : [this.#start()]), ...parts]));
    this.names.push(name);
    this.#before = { 1: this.#before[1] + lengthOf(writes, 1), 2: this.#before[2] + lengthOf(writes, 2) };
    this.#last = writes;
    for (const { text, channel = 1 } of writes) if (text !== '') this.#inLine[channel] = !text.endsWith('\n');
    return this;
  }

  /** The oldest one is rotated away. */
  drop(): void {
    const oldest = this.names.shift();
    if (oldest !== undefined) rmSync(oldest);
  }

  #start(): Buffer {
    const start = Buffer.alloc(40);
    const times = this.#last.length === 0 ? [0] : this.#last.map(({ atMs = startMs }) => atMs);
    start.writeBigUInt64LE(BigInt(this.#before[1]), 0);
    start.writeBigUInt64LE(BigInt(this.#before[2]), 8);
    start.writeBigUInt64LE(BigInt(Math.min(...times)) * 1_000_000n, 16);
    start.writeBigUInt64LE(BigInt(Math.max(...times)) * 1_000_000n, 24);
    start.writeUInt8((this.#inLine[1] ? 1 : 0) | (this.#inLine[2] ? 2 : 0), 32);
    return record(start, 0);
  }
}

/** A directory for each test. */
export function useDirectory(): { readonly path: string } {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'strata-log-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  return {
    get path() {
      return directory;
    },
  };
}

export function textOf(items: readonly LogItem[], channel?: LogChannel): string {
  const wanted = items.flatMap((item) => (item.kind === 'output' && (channel ?? item.channel) === item.channel ? [item.payload] : []));
  return Buffer.concat(wanted).toString();
}

/** A reader that notes what comes. */
export class Recorder implements ByteStream {
  readonly id = 1;
  readonly abort = new AbortController();
  readonly signal = this.abort.signal;
  readonly written: string[] = [];
  closed = Promise.withResolvers<unknown>();
  /** While this is pending nothing is taken. */
  taken: Promise<void> = Promise.resolve();
  async write(channel: Channel, bytes: Uint8Array): Promise<void> {
    this.written.push(`${channel}:${Buffer.from(bytes).toString()}`);
    await this.taken;
  }
  end(): void {}
  close(error?: unknown): void {
    this.closed.resolve(error);
  }
  consume(): void {}
}
