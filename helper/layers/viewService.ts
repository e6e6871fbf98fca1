import type { ArchiveRuns } from '../containers/archiveRuns.ts';
import type { ByteStream } from '../containers/byteStream.ts';
import type { Container } from '../containers/container.ts';
import type { ContainerTree } from '../containers/containerTree.ts';
import type { ContainerRegistry } from '../containers/registry.ts';
import type { ImageStore } from '../images/imageStore.ts';
import type { LayerStore } from '../images/layerStore.ts';
import type { Addon } from '../native/addon.ts';
import { type Digest, StrataError, type ViewEntry, type ViewReference } from '../protocol/index.ts';
import { pathError, sendFile } from './layerFiles.ts';

/**
 * What the layers of a container or an image show together. Of a container that runs its own mounts are the truth, and a process looks there; all else is
 * read from the directories of the layers, without a mount.
 */
export class ViewService {
  readonly #addon: Addon;
  readonly #registry: ContainerRegistry;
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  readonly #runs: ArchiveRuns;
  readonly #tree: ContainerTree;

  constructor(options: {
    addon: Addon;
    registry: ContainerRegistry;
    images: ImageStore;
    layers: LayerStore;
    runs: ArchiveRuns;
    tree: ContainerTree;
  }) {
    this.#addon = options.addon;
    this.#registry = options.registry;
    this.#images = options.images;
    this.#layers = options.layers;
    this.#runs = options.runs;
    this.#tree = options.tree;
  }

  async list(view: ViewReference, path: string, signal: AbortSignal): Promise<{ entries: ViewEntry[]; truncated: boolean }> {
    const running = this.#running(view);
    if (running !== undefined) return await this.#tree.list(running, path, signal);
    return await this.#inLayers(view, `list '${path}'`, async (layers) => await this.#addon.listMerged(layers, path));
  }

  async stat(view: ViewReference, { path, follow }: { path: string; follow: boolean }, signal: AbortSignal): Promise<ViewEntry> {
    const running = this.#running(view);
    if (running !== undefined) return { name: nameOf(path), ...(await this.#tree.stat(running, { path, follow }, signal)) };
    const entry = await this.#inLayers(view, `look at '${path}'`, async (layers) => await this.#addon.statMerged(layers, path, { follow }));
    return this.#isReadOnly(view) ? { ...entry, readOnly: true } : entry;
  }

  /** The content goes on the stream, which is closed at its end. */
  async read(view: ViewReference, path: string, stream: ByteStream, signal: AbortSignal): Promise<{ sizeBytes: number }> {
    const running = this.#running(view);
    if (running !== undefined) {
      const { sizeBytes } = await this.#tree.read(running, path, stream, signal);
      return { sizeBytes };
    }
    return await this.#inLayers(view, `open '${path}'`, async (layers) => {
      const { sizeBytes } = await this.#addon.statMerged(layers, path, { follow: true });
      sendFile(await this.#addon.openMergedFile(layers, path), stream);
      return { sizeBytes };
    });
  }

  #running(view: ViewReference): Container | undefined {
    if (view.kind !== 'container' || view.layers !== undefined) return undefined;
    const container = this.#registry.find(view.container);
    return container.state.kind === 'running' || container.starting !== undefined ? container : undefined;
  }

  #isReadOnly(view: ViewReference): boolean {
    return view.kind === 'image' || view.layers !== undefined || this.#registry.find(view.container).plan.config.root.readonly;
  }

  async #inLayers<T>(view: ViewReference, doing: string, look: (layers: readonly string[]) => Promise<T>): Promise<T> {
    try {
      if (view.kind === 'image') return await look(await this.#imageLayers(view));
      const container = this.#registry.find(view.container);
      return await this.#runs.whileReadingUpper(container, async () => {
        const stack = [container.paths.upper, ...(await this.#runs.lower(container))];
        return await look(lowest(stack, view.layers));
      });
    } catch (error) {
      throw pathError(error, doing);
    }
  }

  async #imageLayers({ image, layers }: Extract<ViewReference, { kind: 'image' }>): Promise<readonly string[]> {
    const { chainIds } = this.#images.resolve(image).image;
    return await this.#layers.directories(lowest<Digest>(chainIds.toReversed(), layers));
  }
}

/** Of a stack, top first. */
function lowest<T>(stack: readonly T[], count = stack.length): readonly T[] {
  if (count > stack.length) throw new StrataError('LAYER_NOT_FOUND', `there are ${stack.length} layers, not ${count}`);
  return stack.slice(stack.length - count);
}

function nameOf(path: string): string {
  return path.split('/').findLast((part) => part !== '') ?? '/';
}
