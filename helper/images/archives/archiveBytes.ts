import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { BLOCK_BYTES, encodeHeader, padding } from '../../archive/tarHeader.ts';
import { StrataError } from '../../protocol/index.ts';
import type { ArchiveFile } from './archivePlan.ts';

const chunkBytes = 256 * 1024;
const end = Buffer.alloc(2 * BLOCK_BYTES);

function header({ name, sizeBytes }: ArchiveFile): Buffer {
  return encodeHeader({ name, kind: 'file', sizeBytes, mode: 0o644, mtimeMs: 0, linkName: '' });
}

/** Of the tar that `archiveBytes` gives. Pure. */
export function archiveSize(files: readonly ArchiveFile[]): number {
  return files.reduce((sum, file) => sum + header(file).byteLength + file.sizeBytes + padding(file.sizeBytes).byteLength, end.byteLength);
}

/** The files as a tar without times and owners. Throws IMAGE_INVALID where a blob is no longer what its digest says. */
export async function* archiveBytes(files: readonly ArchiveFile[]): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    const { sizeBytes, content } = file;
    yield header(file);
    if (content.kind === 'bytes') yield content.bytes;
    else yield* blobBytes(content, sizeBytes);
    if (sizeBytes % BLOCK_BYTES !== 0) yield padding(sizeBytes);
  }
  yield end;
}

async function* blobBytes(
  { path, digest }: { readonly path: string; readonly digest: string },
  sizeBytes: number,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  const file = await open(path);
  let left = sizeBytes;
  try {
    while (left > 0) {
      const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(Math.min(left, chunkBytes)));
      if (bytesRead === 0) break;
      const bytes = buffer.subarray(0, bytesRead);
      hash.update(bytes);
      left -= bytesRead;
      yield bytes;
    }
  } finally {
    await file.close();
  }
  if (left > 0 || `sha256:${hash.digest('hex')}` !== digest) {
    throw new StrataError('IMAGE_INVALID', `the blob ${digest} is damaged on disk`, {
      hint: 'Remove the image, and pull or load it again.',
      details: { path },
    });
  }
}
