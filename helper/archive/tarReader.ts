import { StrataError } from '../protocol/index.ts';
import { BLOCK_BYTES, decodeBlock, decodePax, type RawHeader, type TarHeader, type TarKind } from './tarHeader.ts';

/** Where bytes of a sparse file belong. */
export interface TarPiece {
  readonly offset: number;
  readonly length: number;
}

export interface TarMember extends TarHeader {
  /** Of a sparse file: where its content goes, piece by piece; what is between them is zeros. */
  readonly pieces?: readonly TarPiece[];
  /** Of a file; to be read before the next member is asked for, what is left is skipped. */
  readonly content: AsyncIterable<Buffer>;
}

/** Names and pax records are held in memory: longer ones are nobody's. */
const MAX_EXTENSION_BYTES = 1024 * 1024;

/** The others are not held: an archive may have any number of them. */
const USED_RECORDS = new Set([
  'path',
  'linkpath',
  'size',
  'mtime',
  'uid',
  'gid',
  'GNU.sparse.major',
  'GNU.sparse.realsize',
  'GNU.sparse.name',
]);

/** Of a sparse file; as the native core takes. */
const MAX_PIECES = 1024 * 1024;

/** Zeros that fill the last record of an archive: read, so that who sends them sees that all was taken. */
const MAX_TRAILER_BYTES = 4 * 1024 * 1024;

const KINDS: Readonly<Record<string, TarKind>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '5': 'directory',
  '2': 'symlink',
  '1': 'hardlink',
};

/**
 * The members of an archive that comes from somebody who is not trusted, one after the other as its bytes come. Throws
 * ARCHIVE_CORRUPT where it is damaged or cut off.
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarMember> {
  const bytes = new ByteReader(source);
  let global = new Map<string, string>();
  let local = new Map<string, string>();
  try {
    for (;;) {
      const header = await nextHeader(bytes);
      if (header === undefined) {
        await bytes.drain(MAX_TRAILER_BYTES);
        return;
      }
      const { typeFlag, sizeBytes } = header;
      if (typeFlag === 'x' || typeFlag === 'g') {
        const records = decodePax(await extension(bytes, sizeBytes));
        if (records === undefined) throw corrupt('a pax header is damaged');
        const kept = [...records].filter(([key]) => USED_RECORDS.has(key));
        if (typeFlag === 'x') local = new Map([...local, ...kept]);
        else global = new Map([...global, ...kept]);
        continue;
      }
      if (typeFlag === 'L' || typeFlag === 'K') {
        const long = (await extension(bytes, sizeBytes)).toString('utf8').replace(/\0[\s\S]*$/, '');
        local.set(typeFlag === 'L' ? 'path' : 'linkpath', long);
        continue;
      }
      const records = new Map([...global, ...local]);
      const member = memberOf(header, records);
      local = new Map();
      if (member.kind === 'file' && records.get('GNU.sparse.major') === '1') {
        const sparse = await readSparse(bytes, member, records);
        yield { ...sparse.member, pieces: sparse.pieces, content: bytes.content(sparse.storedBytes) };
      } else {
        yield { ...member, content: bytes.content(member.sizeBytes) };
      }
      await bytes.skipRest();
    }
  } finally {
    await bytes.close();
  }
}

/** Undefined at the end: a block of zeros, or no more bytes where a header would begin. */
async function nextHeader(bytes: ByteReader): Promise<RawHeader | undefined> {
  const block = await bytes.take(BLOCK_BYTES);
  if (block === undefined || block.every((byte) => byte === 0)) return undefined;
  const header = decodeBlock(block);
  if (header === undefined) throw corrupt('it holds something that is no header');
  return header;
}

async function extension(bytes: ByteReader, sizeBytes: number): Promise<Buffer> {
  if (sizeBytes > MAX_EXTENSION_BYTES) throw corrupt(`a header of ${sizeBytes} bytes is too large`);
  const content = await bytes.take(sizeBytes + (-sizeBytes & (BLOCK_BYTES - 1)));
  if (content === undefined) throw corrupt('it is cut off');
  return content.subarray(0, sizeBytes);
}

/** GNU's format 1.0: before the data a map in decimal lines (count; offset and length of each piece), in whole blocks. */
async function readSparse(bytes: ByteReader, member: TarHeader, records: ReadonlyMap<string, string>) {
  const realSize = Number(records.get('GNU.sparse.realsize'));
  const name = records.get('GNU.sparse.name') ?? member.name;
  if (!Number.isSafeInteger(realSize) || realSize < 0) throw corrupt(`"${name}" has no valid size`);
  let text = '';
  let storedBytes = member.sizeBytes;
  const number = async (): Promise<number> => {
    while (!text.includes('\n')) {
      const block = storedBytes < BLOCK_BYTES || text.length > 32 ? undefined : await bytes.take(BLOCK_BYTES);
      if (block === undefined) throw corrupt(`the map of "${name}" is cut off`);
      storedBytes -= BLOCK_BYTES;
      text += block.toString('latin1');
    }
    const end = text.indexOf('\n');
    const value = /^\d+$/.test(text.slice(0, end)) ? Number(text.slice(0, end)) : Number.NaN;
    text = text.slice(end + 1);
    if (!Number.isSafeInteger(value)) throw corrupt(`the map of "${name}" is damaged`);
    return value;
  };
  const pieces: TarPiece[] = [];
  let mapped = 0;
  let at = 0;
  for (let left = await number(); left > 0; left -= 1) {
    const piece = { offset: await number(), length: await number() };
    if (piece.offset < at || piece.offset + piece.length > realSize || pieces.length >= MAX_PIECES)
      throw corrupt(`the map of "${name}" is damaged`);
    at = piece.offset + piece.length;
    mapped += piece.length;
    pieces.push(piece);
  }
  if (mapped !== storedBytes) throw corrupt(`the map of "${name}" does not fit its content`);
  return { member: { ...member, name, sizeBytes: realSize }, pieces, storedBytes };
}

function memberOf(header: RawHeader, records: ReadonlyMap<string, string>): TarHeader {
  const kind = KINDS[header.typeFlag] ?? 'other';
  const size = records.get('size');
  const sizeBytes = size === undefined ? header.sizeBytes : Number(size);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw corrupt(`"${size ?? ''}" is no size`);
  const mtime = Number(records.get('mtime') ?? Number.NaN);
  const name = records.get('path') ?? header.name;
  // What was written before there was a type for directories ends them with a slash.
  const isOldDirectory = kind === 'file' && header.typeFlag !== '7' && name.endsWith('/');
  const isEmpty = kind === 'directory' || kind === 'symlink' || kind === 'hardlink' || isOldDirectory;
  return {
    name,
    kind: isOldDirectory ? 'directory' : kind,
    sizeBytes: isEmpty ? 0 : sizeBytes,
    mode: header.mode,
    mtimeMs: Number.isFinite(mtime) ? mtime * 1000 : header.mtimeMs,
    linkName: records.get('linkpath') ?? header.linkName,
    uid: idOf(records.get('uid'), header.uid),
    gid: idOf(records.get('gid'), header.gid),
  };
}

function idOf(record: string | undefined, field = 0): number {
  const id = record === undefined ? field : Number(record);
  return Number.isInteger(id) && id >= 0 && id < 0xffff_ffff ? id : 0;
}

function corrupt(why: string): StrataError {
  return new StrataError('ARCHIVE_CORRUPT', `the archive cannot be read: ${why}`);
}

/** Bytes in the pieces that are asked for, whatever pieces they come in. */
class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #held: Buffer = Buffer.alloc(0);
  /** Of the present member: its content that was not read, and the zeros after it. */
  #rest = 0;
  #padding = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async drain(maxBytes: number): Promise<void> {
    let drained = this.#held.byteLength;
    this.#held = Buffer.alloc(0);
    while (drained <= maxBytes && (await this.#more())) {
      drained += this.#held.byteLength;
      this.#held = Buffer.alloc(0);
    }
  }

  /** Exactly so many bytes; undefined where there are none at all. Throws where there are some, but fewer. */
  async take(size: number): Promise<Buffer | undefined> {
    while (this.#held.byteLength < size) {
      if (await this.#more()) continue;
      if (this.#held.byteLength === 0) return undefined;
      throw corrupt('it is cut off');
    }
    return this.#cut(size);
  }

  content(size: number): AsyncIterable<Buffer> {
    this.#rest = size;
    this.#padding = -size & (BLOCK_BYTES - 1);
    return this.#content();
  }

  async skipRest(): Promise<void> {
    for await (const _ of this.#content());
    if (this.#padding > 0 && (await this.take(this.#padding)) === undefined) throw corrupt('it is cut off');
    this.#padding = 0;
  }

  async *#content(): AsyncGenerator<Buffer> {
    while (this.#rest > 0) {
      if (this.#held.byteLength === 0 && !(await this.#more())) throw corrupt('it is cut off');
      const piece = this.#cut(Math.min(this.#rest, this.#held.byteLength));
      this.#rest -= piece.byteLength;
      yield piece;
    }
  }

  #cut(size: number): Buffer {
    const piece = this.#held.subarray(0, size);
    this.#held = this.#held.subarray(size);
    return piece;
  }

  async #more(): Promise<boolean> {
    const next = await this.#chunks.next();
    if (next.done === true) return false;
    const { buffer, byteOffset, byteLength } = next.value;
    const chunk = Buffer.from(buffer, byteOffset, byteLength);
    this.#held = this.#held.byteLength === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    return true;
  }
}
