import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { arch } from 'node:os';
import { join } from 'node:path';
import type { Logger } from '../log.ts';
import type { Addon } from '../native/addon.ts';
import { fromNative, isSystemError } from '../native/errors.ts';
import { type Digest, digestSchema, type ImageConfig, type ImageSummary, normalizeReference, StrataError } from '../protocol/index.ts';
import type { Layout } from '../store/layout.ts';
import { KeyedMutex } from '../store/mutex.ts';
import type { ContentStore } from './contentStore.ts';
import type { ImageStore } from './imageStore.ts';
import type { LayerPin, LayerSource, LayerStore } from './layerStore.ts';
import { readOciLayout } from './ociLayout.ts';

/** What a client sends as an archive: chunks until the end. */
export type ByteSource = AsyncIterable<Uint8Array>;

export interface ImportOptions {
  readonly reference: string | undefined;
  readonly command: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

/** Containers that hold an image, for people: names. */
export type ImageUsers = (id: Digest) => readonly string[];

/** GOARCH names, as image-spec wants them. */
export function imageArchitecture(): string {
  const machine = arch();
  return machine === 'x64' ? 'amd64' : machine;
}

/** Imports and removes images. Nothing is visible before it is complete on disk, and nothing stays of what failed. */
export class ImageService {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #content: ContentStore;
  readonly #layers: LayerStore;
  readonly #store: ImageStore;
  readonly #users: ImageUsers;
  readonly #log: Logger;
  /** Changes of names and removals take turns: each looks at who uses what and then acts on it. */
  readonly #turns = new KeyedMutex<'names'>();

  constructor(options: {
    layout: Layout;
    addon: Addon;
    content: ContentStore;
    layers: LayerStore;
    store: ImageStore;
    users: ImageUsers;
    log: Logger;
  }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#content = options.content;
    this.#layers = options.layers;
    this.#store = options.store;
    this.#users = options.users;
    this.#log = options.log;
  }

  /** Reads what is there, and removes what a crash left of imports and removals. */
  async open(): Promise<void> {
    await mkdir(this.#layout.temporary, { recursive: true, mode: 0o700 });
    await this.#content.open();
    await this.#layers.open();
    await this.#store.open();
    try {
      await this.#sweep();
    } catch (error) {
      // A disk that became read-only must not keep anybody from what runs.
      this.#log.warn({ err: error }, 'cannot remove what a crash left of imports; the next start tries again');
    }
  }

  /** Nothing is under way yet, so what no image names is of no use. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(this.#layout.temporary)) await this.#addon.removeTree(join(this.#layout.temporary, name));
    await this.#layers.removeUnused(this.#layers.all(), this.#store.usedLayers());
    await this.#content.removeUnused(this.#store.ids());
  }

  /** Keeps a pulled image under a name; `bring` puts its layers into the store, pins them and names them in `chain`, bottom first. */
  async assemble(
    reference: string,
    bring: (pin: LayerPin, chain: Digest[]) => Promise<{ configBytes: Uint8Array; config: ImageConfig }>,
  ): Promise<ImageSummary> {
    return await this.#withLayers(async (pin, chain) => {
      const { configBytes, config } = await bring(pin, chain);
      return await this.#keep(configBytes, config, chain, { reference, came: 'pull' });
    });
  }

  async importStream(source: ByteSource, options: ImportOptions): Promise<ImageSummary> {
    const reference = requireReference(options.reference);
    return await this.#withSpool(async (spool) => {
      await spoolFrom(source, spool.file, options.signal);
      return await this.#importRootfs({ archive: spool.path, name: 'the archive', whiteouts: false }, { ...options, reference });
    });
  }

  /** A rootfs tar of the host. */
  async importFile(path: string, options: ImportOptions): Promise<ImageSummary> {
    const reference = requireReference(options.reference);
    return await this.#importRootfs({ archive: path, name: `'${path}'`, whiteouts: false }, { ...options, reference });
  }

  async importDirectory(path: string, options: ImportOptions): Promise<ImageSummary> {
    const reference = requireReference(options.reference);
    await requireDirectory(path);
    return await this.#withSpool(async (spool) => {
      try {
        await this.#addon.packDirectory(path, spool.file.fd, { signal: options.signal });
      } catch (error) {
        if (options.signal.aborted) throw new StrataError('CANCELLED', `the import of '${path}' was cancelled`);
        throw fromNative(error, `read the directory '${path}'`, { LIMIT_REJECTED: 'ARCHIVE_TOO_LARGE' });
      }
      return await this.#importRootfs({ archive: spool.path, name: `'${path}'`, whiteouts: false }, { ...options, reference });
    });
  }

  async importOciLayout(path: string, name: string | undefined, options: ImportOptions): Promise<ImageSummary> {
    await requireDirectory(path);
    const oci = await readOciLayout(path, { name, architecture: imageArchitecture() });
    const reference = normalizeReference(options.reference ?? oci.name ?? '');
    return await this.#withLayers(async (pin, chain) => {
      for (const layer of oci.layers) {
        const source: LayerSource = { archive: layer.path, name: `layer ${layer.digest}`, whiteouts: true };
        chain.push((await this.#layers.add(source, chain, { pin, signal: options.signal, expected: layer })).chainId);
      }
      return await this.#keep(oci.configBytes, oci.config, chain, { reference, came: 'import' });
    });
  }

  /** Takes a name away, and with the last one the image. */
  async remove(text: string, force: boolean): Promise<{ untagged: string[]; removed: Digest[] }> {
    return await this.#turns.run('names', async () => {
      const { id, reference } = this.#store.identify(text);
      const all = this.#store.referencesOf(id);
      const doomed = force || reference === undefined ? all : [reference];
      if (reference === undefined && all.length > 1 && !force) {
        throw new StrataError('IMAGE_IN_USE', `image ${text} has ${all.length} names: ${all.join(', ')}`, {
          hint: 'Remove the names one by one, or force the removal of all.',
        });
      }
      const last = doomed.length === all.length;
      if (last) this.#requireUnused(id, text);
      await this.#store.untag(doomed);
      if (!last) return { untagged: doomed, removed: [] };
      // A container may have begun to use it while the names were written: then the image stays, without a name.
      if (this.#users(id).length > 0) return { untagged: doomed, removed: [] };
      await this.#store.remove(id);
      return { untagged: doomed, removed: [id] };
    });
  }

  #requireUnused(id: Digest, text: string): void {
    const users = this.#users(id);
    if (users.length === 0) return;
    throw new StrataError(
      'IMAGE_IN_USE',
      `image "${text}" is used by ${users.length === 1 ? 'the container' : 'the containers'} ${users.slice(0, 5).join(', ')}`,
      {
        details: { containers: users.length },
      },
    );
  }

  async #importRootfs(source: LayerSource, options: ImportOptions & { reference: string }): Promise<ImageSummary> {
    return await this.#withLayers(async (pin, chain) => {
      const layer = await this.#layers.add(source, [], { pin, signal: options.signal });
      chain.push(layer.chainId);
      await this.#requireRootfs(layer.chainId, source.name);
      const config = rootfsConfig(layer.diffId, source.name, options.command);
      const bytes = new TextEncoder().encode(JSON.stringify(config));
      return await this.#keep(bytes, config, chain, { reference: options.reference, came: 'import' });
    });
  }

  /** An archive of images is no root file system: taken for one it would make an image in which nothing can start. */
  async #requireRootfs(chainId: Digest, name: string): Promise<void> {
    const { entries } = await this.#addon.listLayer(this.#layout.layerDiff(chainId), '/');
    const names = new Set(entries.map((entry) => entry.name));
    if (names.has('oci-layout')) {
      throw new StrataError('IMAGE_INVALID', `${name} holds an OCI image layout, not a root file system`, {
        hint: 'Unpack it into a directory and import that directory.',
      });
    }
    if (names.has('manifest.json') && !['bin', 'etc', 'usr', 'lib'].some((directory) => names.has(directory))) {
      throw new StrataError('IMAGE_INVALID', `${name} holds saved images ("docker save"), not a root file system`, {
        hint: 'Import what "docker export" writes, or make an OCI layout of it: skopeo copy docker-archive:FILE oci:DIRECTORY:NAME',
      });
    }
  }

  async #keep(
    configBytes: Uint8Array,
    config: ImageConfig,
    chainIds: Digest[],
    naming: { reference: string; came: 'import' | 'pull' },
  ): Promise<ImageSummary> {
    return await this.#turns.run('names', async () => {
      const id = await this.#content.put(configBytes);
      return await this.#store.add({ id, chainIds, importedAt: new Date().toISOString() }, config, naming);
    });
  }

  /** Layers that `add` puts into `chain` are held until they belong to an image; of a failed import none stays. */
  async #withLayers<T>(add: (pin: LayerPin, chain: Digest[]) => Promise<T>): Promise<T> {
    const pin = this.#layers.pin();
    const chain: Digest[] = [];
    try {
      return await add(pin, chain);
    } finally {
      pin.release();
      await this.#layers.removeUnused(chain.toReversed(), this.#store.usedLayers());
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
