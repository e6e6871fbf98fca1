// A small ustar writer (POSIX.1-1988) whose output depends on its input alone: the same tree gives the same bytes, hence
// the same diffID. Names of up to 100 bytes, as its users need no longer ones.

const blockSize = 512;
const typeFlags = { file: '0', symlink: '2', directory: '5' };

/** An octal field: digits, then NUL. */
const octal = (value, width) => `${value.toString(8).padStart(width - 1, '0')}\0`;

function header({ path, type, mode, uid = 0, gid = 0, target = '' }, size) {
  const name = type === 'directory' ? `${path}/` : path;
  for (const text of [name, target]) {
    if (Buffer.byteLength(text) > 100) throw new Error(`'${text}' is too long for a ustar header`);
  }
  const block = Buffer.alloc(blockSize);
  block.write(name, 0);
  block.write(octal(mode, 8), 100);
  block.write(octal(uid, 8), 108);
  block.write(octal(gid, 8), 116);
  block.write(octal(size, 12), 124);
  block.write(octal(0, 12), 136); // mtime: the epoch, always
  block.write(' '.repeat(8), 148); // the checksum counts its own field as blanks
  block.write(typeFlags[type], 156);
  block.write(target, 157);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 7)} `, 148);
  return block;
}

/**
 * @param {readonly {path: string, type: 'file'|'symlink'|'directory', mode: number, uid?: number, gid?: number,
 *   target?: string, content?: string|Buffer}[]} entries in any order; paths without a leading slash
 * @returns {Buffer} the archive, sorted by path, so that a directory comes before what it holds
 */
export function writeTar(entries) {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const blocks = [];
  for (const entry of sorted) {
    const content = Buffer.from(entry.content ?? '');
    blocks.push(header(entry, content.length), content, Buffer.alloc(-content.length & (blockSize - 1)));
  }
  blocks.push(Buffer.alloc(2 * blockSize)); // the end of the archive
  return Buffer.concat(blocks);
}
