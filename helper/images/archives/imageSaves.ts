import type { ByteStream } from '../../containers/byteStream.ts';
import type { Logger } from '../../log.ts';
import { fromNative } from '../../native/errors.ts';
import { Channel, type Digest, StrataError } from '../../protocol/index.ts';
import type { ImageContent, ImageContents } from '../imageContent.ts';
import type { ImageStore } from '../imageStore.ts';
import { archiveBytes, archiveSize } from './archiveBytes.ts';
import { type ArchiveFormat, planArchive, type SavedImage } from './archivePlan.ts';

/** Images as one archive that docker, podman, skopeo, containerd and `load` take. */
export class ImageSaves {
  readonly #store: ImageStore;
  readonly #contents: ImageContents;
  readonly #log: Logger;

  constructor(options: { store: ImageStore; contents: ImageContents; log: Logger }) {
    this.#store = options.store;
    this.#contents = options.contents;
    this.#log = options.log;
  }

  /** Resolves with the size of the archive when its first byte can be sent; the images are held until the stream is over. */
  async save(images: readonly string[], format: ArchiveFormat, stream: ByteStream): Promise<{ sizeBytes: number }> {
    const begun = Promise.withResolvers<{ sizeBytes: number }>();
    const wanted = this.#namesById(images);
    const sent = this.#withContents([...wanted.keys()], [], stream.signal, async (contents) => {
      const saved = contents.map((content, index): SavedImage => ({ content, references: [...wanted.values()][index] ?? [] }));
      const files = planArchive(saved, format);
      begun.resolve({ sizeBytes: archiveSize(files) });
      stream.consume({ data: () => {} });
      for await (const bytes of archiveBytes(files)) await stream.write(Channel.bytes, bytes);
      stream.end(Channel.bytes);
      stream.close();
    });
    sent.catch((error: unknown) => {
      begun.reject(error);
      if (!stream.signal.aborted) stream.close(this.#told(error));
    });
    return await begun.promise;
  }

  /** Of each image once, in the order they were asked for: the names that it was asked for by. */
  #namesById(images: readonly string[]): Map<Digest, string[]> {
    const names = new Map<Digest, string[]>();
    for (const text of images) {
      const { image, reference } = this.#store.resolve(text);
      const known = names.get(image.id) ?? [];
      names.set(image.id, reference === undefined || known.includes(reference) ? known : [...known, reference]);
    }
    return names;
  }

  async #withContents(
    [id, ...others]: readonly Digest[],
    held: readonly ImageContent[],
    signal: AbortSignal,
    use: (contents: readonly ImageContent[]) => Promise<void>,
  ): Promise<void> {
    if (id === undefined) {
      await use(held);
      return;
    }
    await this.#contents.lend(id, signal, (content) => this.#withContents(others, [...held, content], signal, use));
  }

  #told(error: unknown): StrataError {
    if (!(error instanceof StrataError)) this.#log.error({ err: error }, 'images cannot be saved');
    return fromNative(error, 'save the images');
  }
}
