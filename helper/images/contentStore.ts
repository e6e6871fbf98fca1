import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { hasCode } from '../native/errors.ts';
import { type Digest, digestSchema, StrataError } from '../protocol/index.ts';
import { writeFileDurable } from '../store/atomicFile.ts';
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

/** Small blobs by digest: image configs and manifests. Layers are kept unpacked and not as blobs. */
export class ContentStore {
  readonly #layout: Layout;

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

  async remove(digest: Digest): Promise<void> {
    await rm(this.#layout.blob(digest), { force: true });
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
