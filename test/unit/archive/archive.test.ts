import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packTree } from '../../../helper/archive/packTree.ts';
import { BLOCK_BYTES, decodeBlock, encodeHeader, padding, type TarHeader } from '../../../helper/archive/tarHeader.ts';
import { readTar, type TarMember } from '../../../helper/archive/tarReader.ts';
import { unpackTree } from '../../../helper/archive/unpackTree.ts';

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'strata-archive-'));
});
afterEach(() => rmSync(place, { recursive: true, force: true }));

const long = `${'long-directory-name/'.repeat(8)}größe-€`;

/** A tree with everything that an archive can hold: names of every length, links, an empty file and a large one. */
function makeTree(): string {
  const tree = join(place, 'tree');
  mkdirSync(join(tree, long, 'empty'), { recursive: true });
  writeFileSync(join(tree, long, 'file'), 'deep');
  writeFileSync(join(tree, 'empty'), '');
  writeFileSync(join(tree, 'large'), Buffer.alloc(700_001, 'strata'));
  writeFileSync(join(tree, 'program'), '#!/bin/sh\n');
  chmodSync(join(tree, 'program'), 0o755);
  symlinkSync('large', join(tree, 'link'));
  symlinkSync(`../${'x'.repeat(150)}`, join(tree, 'far-link'));
  utimesSync(join(tree, 'large'), 1_700_000_000, 1_700_000_000);
  return tree;
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** An archive as it would come over a wire: in pieces that have nothing to do with its blocks. */
async function* inPieces(bytes: Buffer, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

function archive(...members: readonly (Partial<TarHeader> & { readonly name: string; readonly content?: string })[]): Buffer {
  const blocks = members.map(({ content = '', ...header }) => {
    const kind = header.kind ?? 'file';
    if (kind === 'other') throw new Error('an archive of this test has none of those');
    const whole = { mode: 0o644, mtimeMs: 0, linkName: '', ...header, kind, sizeBytes: Buffer.byteLength(content) };
    return Buffer.concat([encodeHeader(whole), Buffer.from(content), padding(Buffer.byteLength(content))]);
  });
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)]);
}

async function names(bytes: Buffer): Promise<string[]> {
  const found: string[] = [];
  for await (const member of readTar(inPieces(bytes))) found.push(member.name);
  return found;
}

describe('packing', () => {
  it('is understood by tar', async () => {
    const file = join(place, 'archive.tar');
    writeFileSync(file, await collect(packTree([{ path: makeTree(), name: 'out' }])));
    mkdirSync(join(place, 'there'));
    execFileSync('tar', ['-xf', file, '-C', join(place, 'there')]);
    execFileSync('diff', ['-r', '--no-dereference', join(place, 'tree'), join(place, 'there/out')]);
    expect(statSync(join(place, 'there/out/program')).mode & 0o777).toBe(0o755);
    expect(statSync(join(place, 'there/out/large')).mtimeMs).toBe(1_700_000_000_000);
    expect(execFileSync('tar', ['-tvf', file, '--numeric-owner'], { encoding: 'utf8' })).toMatch(/^-rwxr-xr-x 0\/0 .* out\/program$/m);
  });

  it('says what has no place in it, and what cannot be read', async () => {
    execFileSync('mkfifo', [join(place, 'pipe')]);
    const skipped: string[] = [];
    const bytes = await collect(packTree([{ path: place, name: 'all' }], { skipped: (path) => skipped.push(path) }));
    expect(skipped).toEqual([join(place, 'pipe')]);
    expect(await names(bytes)).toEqual(['all/']);
    await expect(collect(packTree([{ path: join(place, 'missing'), name: 'x' }]))).rejects.toMatchObject({ code: 'PATH_NOT_FOUND' });
  });
});

describe('unpacking', () => {
  it.each(['gnu', 'pax', 'ustar'])('understands what tar writes in its format %s', async (format) => {
    const file = join(place, 'archive.tar');
    const tree = makeTree();
    // ustar has no room for a link that is so long.
    if (format === 'ustar') rmSync(join(tree, 'far-link'));
    execFileSync('ln', [join(tree, 'large'), join(tree, 'other-name')]);
    execFileSync('tar', ['-cf', file, `--format=${format}`, '-C', place, 'tree']);
    const there = join(place, 'there');
    mkdirSync(there);
    const result = await unpackTree(there, inPieces(readFileSync(file)), { rename: { from: 'tree', to: 'renamed' } });
    execFileSync('diff', ['-r', '--no-dereference', tree, join(there, 'renamed')]);
    expect(result.bytes).toBe(700_001 + 4 + 10);
    expect(statSync(join(there, 'renamed/large')).ino).toBe(statSync(join(there, 'renamed/other-name')).ino);
    expect(statSync(join(there, 'renamed/program')).mode & 0o777).toBe(0o755);
    expect(Math.trunc(statSync(join(there, 'renamed/large')).mtimeMs)).toBe(1_700_000_000_000);
  });

  it('replaces files and links, merges directories, and never one by the other', async () => {
    mkdirSync(join(place, 'd'), { mode: 0o750 });
    writeFileSync(join(place, 'd/old'), 'stays');
    writeFileSync(join(place, 'outside'), 'untouched');
    symlinkSync('../outside', join(place, 'd/link'));
    await unpackTree(place, inPieces(archive({ name: 'd/', kind: 'directory', mode: 0o777 }, { name: 'd/link', content: 'new' })));
    expect(readdirSync(join(place, 'd'))).toEqual(['link', 'old']);
    expect([readFileSync(join(place, 'd/link'), 'utf8'), readFileSync(join(place, 'outside'), 'utf8')]).toEqual(['new', 'untouched']);
    expect(statSync(join(place, 'd')).mode & 0o777).toBe(0o750);
    await expect(unpackTree(place, inPieces(archive({ name: 'd', content: 'x' })))).rejects.toThrow(
      `${place}/d is a directory, where a file`,
    );
    await expect(unpackTree(place, inPieces(archive({ name: 'outside/x' })))).rejects.toThrow('outside is a file, where a directory');
  });

  it.each<[string, Buffer]>([
    ['a name that leads up', archive({ name: '../evil', content: 'x' })],
    ['a name that leads up later', archive({ name: 'a/../../evil', content: 'x' })],
    ['a link that came before', archive({ name: 'way', kind: 'symlink', linkName: '..' }, { name: 'way/evil', content: 'x' })],
    ['a link to a file', archive({ name: 'way', kind: 'hardlink', linkName: '../outside' })],
    [
      'a link through a link',
      archive({ name: 'up', kind: 'symlink', linkName: '..' }, { name: 'way', kind: 'hardlink', linkName: 'up/outside' }),
    ],
  ])('writes nothing outside by %s', async (_, bytes) => {
    const inside = join(place, 'inside');
    mkdirSync(inside);
    writeFileSync(join(place, 'outside'), 'untouched');
    await expect(unpackTree(inside, inPieces(bytes))).rejects.toThrow();
    expect(readdirSync(place).toSorted()).toEqual(['inside', 'outside']);
    expect(existsSync(join(inside, 'way')) && lstatSync(join(inside, 'way')).isFile()).toBe(false);
  });

  it('takes an absolute name as one below the directory, and a link as it is', async () => {
    await unpackTree(
      place,
      inPieces(archive({ name: '/etc/passwd', content: 'x', mode: 0o4755 }, { name: 'l', kind: 'symlink', linkName: '/etc' })),
    );
    expect(statSync(join(place, 'etc/passwd')).mode & 0o7777).toBe(0o755);
    expect(readlinkSync(join(place, 'l'))).toBe('/etc');
  });

  it('says so where an archive is cut off or damaged, wherever that is', async () => {
    const bytes = archive({ name: 'a', content: 'x'.repeat(600) }, { name: 'y'.repeat(150), content: 'z' });
    for (const end of [100, 700, 1500, 1700, 2600]) {
      await expect(names(bytes.subarray(0, end)), `cut at ${end}`).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
    }
    const damaged = Buffer.from(bytes);
    damaged.writeUInt8(0x41, 3);
    await expect(names(damaged)).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });
});

describe('headers', () => {
  it('come back as they were written', async () => {
    const name = fc.array(fc.stringMatching(/^[^/\0]{1,80}$/), { minLength: 1, maxLength: 8 }).map((parts) => parts.join('/'));
    await fc.assert(
      fc.asyncProperty(name, fc.nat(0o7777), fc.nat(4_000_000_000), name, async (path, mode, seconds, linkName) => {
        const header = { name: path, kind: 'symlink' as const, mode, mtimeMs: seconds * 1000, linkName, sizeBytes: 0 };
        const bytes = Buffer.concat([encodeHeader(header), Buffer.alloc(2 * BLOCK_BYTES)]);
        const found: TarMember[] = [];
        for await (const member of readTar(inPieces(bytes, 333))) found.push(member);
        expect(found).toMatchObject([header]);
      }),
      { numRuns: 200 },
    );
  });

  it('hold sizes that octal digits do not', async () => {
    const sizeBytes = 10 * 1024 ** 3;
    const bytes = encodeHeader({ name: 'huge', kind: 'file', mode: 0o644, mtimeMs: 0, linkName: '', sizeBytes });
    const [member] = await readTar(inPieces(bytes))
      .next()
      .then(({ value }) => [value as TarMember]);
    expect(member?.sizeBytes).toBe(sizeBytes);
  });

  it('are never made of noise', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: BLOCK_BYTES, maxLength: BLOCK_BYTES }),
        (bytes) => decodeBlock(Buffer.from(bytes)) === undefined,
      ),
    );
    expect(decodeBlock(Buffer.alloc(BLOCK_BYTES, 0xff))).toBeUndefined();
  });
});

describe('owners', () => {
  it('are kept where that is wanted, however large their numbers are', async () => {
    const file = join(place, 'file');
    writeFileSync(file, 'x');
    const { uid, gid } = statSync(file);
    const owners = async (bytes: Buffer): Promise<unknown[]> => {
      const found: unknown[] = [];
      for await (const member of readTar(inPieces(bytes))) found.push([member.uid, member.gid]);
      return found;
    };
    expect(await owners(await collect(packTree([{ path: file, name: 'f' }], { keepOwners: true })))).toEqual([[uid, gid]]);
    expect(await owners(await collect(packTree([{ path: file, name: 'f' }])))).toEqual([[0, 0]]);
    expect(await owners(archive({ name: 'f', uid: 3_000_000, gid: 7 }))).toEqual([[3_000_000, 7]]);
  });
});

describe('a sparse file', () => {
  const record = (key: string, value: string): string => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    const length = rest + String(rest + 2).length;
    return `${length} ${key}=${value}\n`;
  };
  /** GNU's format 1.0, as the native core writes it. */
  function sparse(map: string, data: string, realSize = 1_000_000): Buffer {
    const records = ['major', 'minor', 'name', 'realsize']
      .map((key, at) => record(`GNU.sparse.${key}`, ['1', '0', 'holes', String(realSize)][at] ?? ''))
      .join('');
    const content = map.padEnd(Math.ceil(map.length / BLOCK_BYTES) * BLOCK_BYTES, '\0') + data;
    const pax = Buffer.from(encodeHeader({ name: 'pax', kind: 'file', mode: 0o644, mtimeMs: 0, linkName: '', sizeBytes: records.length }));
    pax.write('x', 156);
    pax.write('        ', 148);
    pax.write(
      `${pax
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    );
    return Buffer.concat([pax, Buffer.from(records), padding(records.length), archive({ name: 'GNUSparseFile.0/holes', content })]);
  }

  it('is unpacked with its holes', async () => {
    await unpackTree(place, inPieces(sparse('3\n0\n3\n500000\n4\n1000000\n0\n', 'abcdefg')), { rename: { from: 'holes', to: 'there' } });
    const text = readFileSync(join(place, 'there'));
    expect(text.byteLength).toBe(1_000_000);
    expect(text.subarray(0, 4).toString()).toBe('abc\0');
    expect(text.subarray(499_999, 500_005).toString()).toBe('\0defg\0');
    expect(statSync(join(place, 'there')).blocks).toBeLessThan(64);
  });

  it.each([
    ['pieces out of order', '2\n10\n3\n0\n4\n'],
    ['pieces behind its end', '1\n999999\n7\n'],
    ['a map of another length than its data', '1\n0\n5\n'],
    ['a map that is no map', 'x\n0\n7\n'],
    ['a map that is cut off', '1'],
  ])('is refused with %s', async (_, map) => {
    await expect(unpackTree(place, inPieces(sparse(map, 'abcdefg')))).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });
});

it('refuses what is not what was asked for', async () => {
  const bytes = archive({ name: 'asked' }, { name: 'other' });
  await expect(unpackTree(place, inPieces(bytes), { rename: { from: 'asked', to: 'named' } })).rejects.toMatchObject({
    code: 'ARCHIVE_UNSAFE',
  });
  expect(existsSync(join(place, 'other'))).toBe(false);
});
