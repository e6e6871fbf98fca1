import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { hasCode } from '../native/errors.ts';
import { type Digest, digestSchema, StrataError } from '../protocol/index.ts';
import { syncDirectory, writeFileDurable } from '../store/atomicFile.ts';
import type { Layout } from '../store/layout.ts';

export function digestOf(bytes: Uint8Array | string): Digest {
  return digestSchema.parse(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
}

/** image-spec's ChainID: of the bottom layer its diffID, above that the digest of "chain of below" + " " + diffID. */
export function chainIdsOf(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
  }
  return chain;
}

/**
 * Blobs by digest: configs and manifests of images, and layers as they came or as they are sent. What is in it was verified on its way in.
 *
 * Invariants: a file below `blobs` is complete (it was renamed there as a whole); who takes blobs in holds them until the record that names
 * them is on disk, and what is held is not removed.
 */
export class ContentStore {
  readonly #layout: Layout;
  readonly #held = new Map<Digest, number>();

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  async open(): Promise<void> {
    await mkdir(this.#layout.blobs, { recursive: true, mode: 0o700 });
  }

  async put(bytes: Uint8Array): Promise<Digest> {
    const digest = digestOf(bytes);
    if (!(await this.#holds(digest))) await writeFileDurable(this.#layout.blob(digest), bytes);
    return digest;
  }

  async get(digest: Digest): Promise<Uint8Array> {
    const bytes = await readFile(this.#layout.blob(digest));
    if (digestOf(bytes) !== digest) {
      throw new StrataError('IMAGE_INVALID', `the blob ${digest} is damaged on disk`, {
        hint: 'Remove the image and import it again.',
        details: { path: this.#layout.blob(digest) },
      });
    }
    return bytes;
  }

  path(digest: Digest): string {
    return this.#layout.blob(digest);
  }

  /** Undefined where it is not here. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(this.path(digest))).size;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** A file of the same file system that was verified, and whose bytes are on disk, becomes the blob. */
  async adopt(file: string, digest: Digest): Promise<void> {
    await rename(file, this.path(digest));
    await syncDirectory(this.#layout.blobs);
  }

  /** Nobody removes the blob until the function that is returned was called. */
  hold(digest: Digest): () => void {
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1);
    return () => {
      const left = (this.#held.get(digest) ?? 1) - 1;
      if (left === 0) this.#held.delete(digest);
      else this.#held.set(digest, left);
    };
  }

  async remove(digest: Digest): Promise<void> {
    if (!this.#held.has(digest)) await rm(this.path(digest), { force: true });
  }

  /** Blobs that nobody names, and halves of such: a crash left them between two writes. */
  async removeUnused(used: ReadonlySet<Digest>): Promise<void> {
    const kept = new Set([...used].map((digest) => basename(this.#layout.blob(digest))));
    for (const name of await readdir(this.#layout.blobs)) {
      if (!kept.has(name)) await rm(join(this.#layout.blobs, name), { force: true });
    }
  }

  /** Whole: to put a damaged blob again is how it heals. */
  async #holds(digest: Digest): Promise<boolean> {
    try {
      return digestOf(await readFile(this.#layout.blob(digest))) === digest;
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'EIO')) return false;
      throw error;
    }
  }
}
