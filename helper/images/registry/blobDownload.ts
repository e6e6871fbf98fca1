import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { fromNative, hasCode, isSystemError } from '../../native/errors.ts';
import { StrataError } from '../../protocol/index.ts';
import { EarlySync } from '../../store/earlySync.ts';
import type { Descriptor } from '../manifest.ts';
import { ConnectionError, cancelled } from './http.ts';
import type { RegistryClient } from './registryClient.ts';

/** Connections in a row that may break without having brought anything. */
const maxBarren = 4;

/** The file that a blob comes into, there and no larger than the blob: who follows it may open it now. */
export async function preparePartial(path: string, sizeBytes: number): Promise<void> {
  try {
    const file = await open(path, 'a', 0o600);
    try {
      if ((await file.stat()).size > sizeBytes) await file.truncate(0);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fromNative(error, 'keep a blob');
  }
}

/**
 * Brings a blob into a file and goes on where an earlier attempt was cut off, of this process or one before. What is in the
 * file is not verified: whoever unpacks it compares the digest. The file only grows, for somebody may be reading it.
 */
export async function downloadBlob(
  client: RegistryClient,
  repository: string,
  { digest, size }: Descriptor,
  options: { readonly path: string; readonly signal: AbortSignal; readonly onProgress: (bytes: number) => void },
): Promise<void> {
  const { path, signal, onProgress } = options;
  let have = await sizeOf(path);
  for (let barren = 0; have < size; ) {
    onProgress(have);
    const headers = have === 0 ? {} : { range: `bytes=${have}-` };
    const answer = await client.get(repository, `blobs/${digest}`, { what: `blob ${digest}`, headers, signal });
    const from = have;
    // A registry may not know ranges and begin anew.
    const skipBytes = answer.statusCode === 206 ? 0 : have;
    try {
      await appendTo(path, answer, { skipBytes, mostBytes: size - have }, (bytes) => onProgress(from + bytes), signal);
    } catch (error) {
      if (signal.aborted) throw cancelled();
      if (error instanceof StrataError) {
        if (error.code === 'IMAGE_INVALID') await rm(path, { force: true });
        throw error;
      }
      if (!isSystemError(error)) throw error;
      if ((await sizeOf(path)) === from && barren >= maxBarren) throw new ConnectionError(new URL(`https://${client.host}`), error);
    }
    have = await sizeOf(path);
    barren = have > from ? 0 : barren + 1;
    if (have < size && barren > maxBarren) {
      throw new StrataError('REGISTRY_FAILED', `${client.host} ends the blob ${digest} after ${have} of ${size} bytes, again and again`);
    }
  }
  onProgress(size);
}

/** What comes is written as it comes, so that little is lost when the connection breaks. */
async function appendTo(
  path: string,
  answer: IncomingMessage,
  { skipBytes, mostBytes }: { skipBytes: number; mostBytes: number },
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  let written = 0;
  let skipLeft = skipBytes;
  const file = await open(path, 'a', 0o600).catch((error: unknown) => {
    throw fromNative(error, 'keep a blob');
  });
  const early = new EarlySync(file);
  try {
    for await (const chunk of answer) {
      signal.throwIfAborted();
      const all = chunk as Buffer; // no encoding is set
      const bytes = all.subarray(Math.min(skipLeft, all.byteLength));
      skipLeft -= all.byteLength - bytes.byteLength;
      if (written + bytes.byteLength > mostBytes) {
        answer.destroy();
        throw new StrataError('IMAGE_INVALID', 'the registry sends more for a blob than its descriptor says');
      }
      await writeAll(file, bytes);
      written += bytes.byteLength;
      early.written(bytes.byteLength);
      onProgress(written);
    }
    await early.settle().catch((error: unknown) => {
      throw fromNative(error, 'keep a blob');
    });
  } finally {
    await early.settle().catch(() => {}); // told above, or there is another error to tell
    await file.close();
  }
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  try {
    await file.writeFile(bytes);
  } catch (error) {
    throw fromNative(error, 'keep a blob');
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0;
    throw error;
  }
}
