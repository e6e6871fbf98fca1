import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Addon } from '../native/addon.ts';
import { fromNative, isSystemError } from '../native/errors.ts';
import { type Digest, digestSchema, type ImageConfig, type ImageSummary, normalizeReference, StrataError } from '../protocol/index.ts';
import type { Layout } from '../store/layout.ts';
import type { ImageLoads } from './archives/imageLoads.ts';
import type { ImageService } from './imageService.ts';
import type { LayerSource } from './layerMaking.ts';
import type { LayerStore } from './layerStore.ts';
import { imageArchitecture } from './platforms.ts';

/** What a client sends as an archive: chunks until the end. */
export type ByteSource = AsyncIterable<Uint8Array>;

export interface ImportOptions {
  readonly reference: string | undefined;
  readonly command: readonly string[] | undefined;
  readonly signal: AbortSignal;
  /** What it is, for messages and the image's history; absent: its path. */
  readonly title?: string;
}

/** Makes images of root file systems and of what other tools wrote. */
export class ImageImports {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #layers: LayerStore;
  readonly #service: ImageService;
  readonly #loads: ImageLoads;

  constructor(options: { layout: Layout; addon: Addon; layers: LayerStore; service: ImageService; loads: ImageLoads }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#layers = options.layers;
    this.#service = options.service;
    this.#loads = options.loads;
  }

  async stream(source: ByteSource, options: ImportOptions): Promise<ImageSummary> {
    const reference = requireReference(options.reference);
    return await this.#withSpool(async (spool) => {
      await spoolFrom(source, spool.file, options.signal);
      return await this.#rootfs({ archive: spool.path, name: 'the archive', whiteouts: false }, { ...options, reference, foreign: true });
    });
  }

  /** A rootfs tar of the host. */
  async file(path: string, options: ImportOptions): Promise<ImageSummary> {
    const reference = requireReference(options.reference);
    return await this.#rootfs(
      { archive: path, name: options.title ?? `'${path}'`, whiteouts: false },
      { ...options, reference, foreign: true },
    );
  }

  async directory(path: string, options: ImportOptions): Promise<ImageSummary> {
    const reference = requireReference(options.reference);
    await requireDirectory(path);
    return await this.#withSpool(async (spool) => {
      try {
        await this.#addon.packDirectory(path, spool.file.fd, { signal: options.signal });
      } catch (error) {
        if (options.signal.aborted) throw new StrataError('CANCELLED', `the import of '${path}' was cancelled`);
        throw fromNative(error, `read the directory '${path}'`, { LIMIT_REJECTED: 'ARCHIVE_TOO_LARGE' });
      }
      return await this.#rootfs({ archive: spool.path, name: options.title ?? `'${path}'`, whiteouts: false }, { ...options, reference });
    });
  }

  /** An OCI image layout of the host, or the one image of several that has this name. */
  async ociLayout(path: string, name: string | undefined, options: ImportOptions): Promise<ImageSummary> {
    await requireDirectory(path);
    const reference = options.reference === undefined ? undefined : normalizeReference(options.reference);
    return await this.#loads.single(path, { image: name, reference, signal: options.signal });
  }

  async #rootfs(source: LayerSource, options: ImportOptions & { reference: string; foreign?: true }): Promise<ImageSummary> {
    const { reference, signal, foreign } = options;
    return await this.#service.assemble({ reference, came: 'import' }, async (pin, chain) => {
      const layer = await this.#layers.add(source, [], { pin, signal, foreign });
      chain.push(layer.chainId);
      await this.#requireRootfs(layer.chainId, source.name);
      const config = rootfsConfig(layer.diffId, source.name, options.command);
      return { configBytes: new TextEncoder().encode(JSON.stringify(config)), config };
    });
  }

  /** An archive of images is no root file system: taken for one it would make an image in which nothing can start. */
  async #requireRootfs(chainId: Digest, name: string): Promise<void> {
    const directory = await this.#layers.directory(chainId);
    const { entries } = await this.#addon.listLayer(directory, '/');
    const names = new Set(entries.map((entry) => entry.name));
    if (names.has('oci-layout')) {
      throw new StrataError('IMAGE_INVALID', `${name} holds an OCI image layout, not a root file system`, {
        hint: 'Load it: strata load -i FILE',
      });
    }
    if (names.has('manifest.json') && !['bin', 'etc', 'usr', 'lib'].some((directory) => names.has(directory))) {
      throw new StrataError('IMAGE_INVALID', `${name} holds saved images ("docker save"), not a root file system`, {
        hint: 'Load them: strata load -i FILE',
      });
    }
  }

  async #withSpool<T>(use: (spool: { path: string; file: FileHandle }) => Promise<T>): Promise<T> {
    const path = join(this.#layout.temporary, `spool-${randomBytes(8).toString('hex')}`);
    const file = await open(path, 'wx', 0o600);
    try {
      return await use({ path, file });
    } finally {
      await file.close();
      await rm(path, { force: true });
    }
  }
}

async function spoolFrom(source: ByteSource, file: FileHandle, signal: AbortSignal): Promise<void> {
  try {
    for await (const chunk of source) {
      if (signal.aborted) throw new StrataError('CANCELLED', 'the import was cancelled');
      await file.write(chunk);
    }
  } catch (error) {
    throw fromNative(error, 'receive the archive');
  }
}

function rootfsConfig(diffId: Digest, name: string, command: readonly string[] | undefined): ImageConfig {
  const created = new Date().toISOString();
  return {
    created,
    architecture: imageArchitecture(),
    os: 'linux',
    config: command === undefined ? {} : { Cmd: [...command] },
    rootfs: { type: 'layers', diff_ids: [digestSchema.parse(diffId)] },
    history: [{ created, created_by: 'strata import', comment: `imported from ${name}` }],
  };
}

function requireReference(reference: string | undefined): string {
  if (reference === undefined)
    throw new StrataError('REFERENCE_INVALID', 'the image needs a name', { hint: 'Give a name such as "debian:12".' });
  return normalizeReference(reference);
}

async function requireDirectory(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory()) return;
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new StrataError('PATH_NOT_FOUND', `'${path}' cannot be read on the host (${error.code})`, {
      hint: "The path is the host's on which the helper runs.",
      details: { path },
    });
  }
  throw new StrataError('PATH_NOT_FOUND', `'${path}' is not a directory`, { details: { path } });
}
