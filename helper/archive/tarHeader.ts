/** The blocks of a tar archive: ustar (POSIX.1-1988) with pax records (POSIX.1-2001) for what it has no room for. */
export const BLOCK_BYTES = 512;

export type TarKind = 'file' | 'directory' | 'symlink' | 'hardlink' | 'other';

export interface TarHeader {
  /** As the archive has it: any path at all. */
  readonly name: string;
  readonly kind: TarKind;
  readonly sizeBytes: number;
  /** Permission bits, set-id and sticky bits included. */
  readonly mode: number;
  readonly mtimeMs: number;
  /** Of links; else empty. */
  readonly linkName: string;
  /** Absent: root. */
  readonly uid?: number;
  readonly gid?: number;
}

const TYPE_FLAGS: Readonly<Record<Exclude<TarKind, 'other'>, string>> = { file: '0', directory: '5', symlink: '2', hardlink: '1' };
const MAX_NAME_BYTES = 100;
/** What eleven octal digits hold. */
const MAX_OCTAL_SIZE = 8 ** 11 - 1;
/** What seven of them hold. */
const MAX_OCTAL_ID = 8 ** 7 - 1;

export interface RawHeader {
  readonly name: string;
  /** POSIX's type, one character. */
  readonly typeFlag: string;
  readonly sizeBytes: number;
  readonly mode: number;
  readonly mtimeMs: number;
  readonly linkName: string;
  readonly uid?: number;
  readonly gid?: number;
}

/** The blocks that come before the content of a member. */
export function encodeHeader(header: TarHeader & { readonly kind: Exclude<TarKind, 'other'> }): Buffer {
  const records: [string, string][] = [];
  if (Buffer.byteLength(header.name) > MAX_NAME_BYTES) records.push(['path', header.name]);
  if (Buffer.byteLength(header.linkName) > MAX_NAME_BYTES) records.push(['linkpath', header.linkName]);
  if (header.sizeBytes > MAX_OCTAL_SIZE) records.push(['size', String(header.sizeBytes)]);
  for (const id of ['uid', 'gid'] as const) if ((header[id] ?? 0) > MAX_OCTAL_ID) records.push([id, String(header[id])]);
  const block = encodeBlock({ ...header, typeFlag: TYPE_FLAGS[header.kind] });
  if (records.length === 0) return block;
  const pax = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
  const paxHeader = encodeBlock({ name: 'PaxHeader', typeFlag: 'x', sizeBytes: pax.byteLength, mode: 0o644, mtimeMs: 0, linkName: '' });
  return Buffer.concat([paxHeader, pax, padding(pax.byteLength), block]);
}

export function padding(sizeBytes: number): Buffer {
  return Buffer.alloc(-sizeBytes & (BLOCK_BYTES - 1));
}

function encodeBlock({ name, typeFlag, sizeBytes, mode, mtimeMs, linkName, uid = 0, gid = 0 }: RawHeader): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  // Cut off where a pax record has the whole.
  Buffer.from(name).copy(block, 0, 0, MAX_NAME_BYTES);
  block.write(octal(mode & 0o7777, 8), 100);
  block.write(octal(Math.min(uid, MAX_OCTAL_ID), 8), 108);
  block.write(octal(Math.min(gid, MAX_OCTAL_ID), 8), 116);
  block.write(octal(Math.min(sizeBytes, MAX_OCTAL_SIZE), 12), 124);
  block.write(octal(Math.max(0, Math.floor(mtimeMs / 1000)), 12), 136);
  block.write(typeFlag, 156);
  Buffer.from(linkName).copy(block, 157, 0, MAX_NAME_BYTES);
  block.write('ustar\x0000', 257, 'latin1');
  block.write(`${octal(checksum(block), 7)} `, 148);
  return block;
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`;
}

/** "30 path=...\n": the number counts itself. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return Buffer.from(`${length} ${key}=${value}\n`);
}

/** The sum of all bytes, its own field counted as blanks. */
function checksum(block: Buffer): number {
  let sum = 0;
  for (let at = 0; at < BLOCK_BYTES; at += 1) sum += at >= 148 && at < 156 ? 0x20 : (block[at] ?? 0);
  return sum;
}

/** Undefined where the block is no header: its checksum is wrong, or a number is none. */
export function decodeBlock(block: Buffer): RawHeader | undefined {
  const mode = number(block, 100, 8);
  const sizeBytes = number(block, 124, 12);
  const mtime = number(block, 136, 12);
  if (number(block, 148, 8) !== checksum(block) || mode === undefined || sizeBytes === undefined || mtime === undefined) return undefined;
  const isUstar = block.toString('latin1', 257, 262) === 'ustar';
  const prefix = isUstar && block[263] !== 0x20 ? text(block, 345, 155) : '';
  const name = text(block, 0, MAX_NAME_BYTES);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    typeFlag: String.fromCharCode(block[156] ?? 0),
    sizeBytes,
    mode: mode & 0o7777,
    mtimeMs: mtime * 1000,
    linkName: text(block, 157, MAX_NAME_BYTES),
    uid: number(block, 108, 8) ?? 0,
    gid: number(block, 116, 8) ?? 0,
  };
}

function text(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString('utf8', start, end === -1 ? start + length : Math.min(end, start + length));
}

/** Octal digits, or GNU's base 256 where the first bit is set; undefined for what is neither, or too large. */
function number(block: Buffer, start: number, length: number): number | undefined {
  const first = block[start] ?? 0;
  if ((first & 0x80) !== 0) {
    if (first !== 0x80) return undefined; // negative
    let value = 0;
    for (let at = start + 1; at < start + length; at += 1) value = value * 256 + (block[at] ?? 0);
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const digits = block.toString('latin1', start, start + length).replaceAll(/^[ \0]+|[ \0][\s\S]*$/g, '');
  if (!/^[0-7]*$/.test(digits)) return undefined;
  const value = digits === '' ? 0 : Number.parseInt(digits, 8);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The records of a pax header; undefined where they are damaged. */
export function decodePax(bytes: Buffer): ReadonlyMap<string, string> | undefined {
  const records = new Map<string, string>();
  let at = 0;
  while (at < bytes.byteLength) {
    const blank = bytes.indexOf(0x20, at);
    const length = Number(bytes.toString('latin1', at, blank));
    const equals = bytes.indexOf(0x3d, blank);
    if (
      blank === -1 ||
      !Number.isInteger(length) ||
      length <= 0 ||
      at + length > bytes.byteLength ||
      equals === -1 ||
      equals >= at + length
    )
      return undefined;
    records.set(bytes.toString('utf8', blank + 1, equals), bytes.toString('utf8', equals + 1, at + length - 1));
    at += length;
  }
  return records;
}
