import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { EventHub } from '../events/hub.ts';
import { imageSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import { fromNative } from '../native/errors.ts';
import {
  type Digest,
  digestSchema,
  type LayerProgress,
  type MethodResult,
  normalizeReference,
  type RegistryCredentials,
  repositoryOf,
  StrataError,
} from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import { KeyedMutex } from '../store/mutex.ts';
import type { ImageContent, ImageContents } from './imageContent.ts';
import type { ImageService } from './imageService.ts';
import type { ImageStore } from './imageStore.ts';
import { mountSources } from './mountSources.ts';
import { type BlobArrival, type BlobSource, pushScopes, uploadBlob } from './registry/blobUpload.ts';
import { type RegistryClient, reachRegistry } from './registry/registryClient.ts';
import type { RegistrySettings } from './registry/registrySettings.ts';
import { type RemoteName, remoteName } from './registry/remoteName.ts';

export interface PushOptions {
  readonly credentials: RegistryCredentials | undefined;
  readonly signal: AbortSignal;
  /** Called on every step, with all layers, bottom first. */
  readonly onProgress: (layers: readonly LayerProgress[]) => void;
}

/** More connections for one image make no registry faster. */
const uploadsAtOnce = 3;
const readAtOnceBytes = 256 * 1024;

/**
 * Sends images to registries: only blobs that are not there, several at once, the manifest last.
 *
 * Invariants: what is sent stays here until it was; nobody sees an image in the registry before all of it is there; a blob is sent to a
 * repository by one push at a time, others that send it wait and find it there.
 */
export class ImagePushes {
  readonly #settings: RegistrySettings;
  readonly #contents: ImageContents;
  readonly #store: ImageStore;
  readonly #service: ImageService;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #turns = new KeyedMutex<string>();
  readonly #uploads = new Slots(uploadsAtOnce);

  constructor(options: {
    settings: RegistrySettings;
    contents: ImageContents;
    store: ImageStore;
    service: ImageService;
    hub: EventHub;
    log: Logger;
  }) {
    this.#settings = options.settings;
    this.#contents = options.contents;
    this.#store = options.store;
    this.#service = options.service;
    this.#hub = options.hub;
    this.#log = options.log;
  }

  /** The name says what to send and where to. */
  async push(text: string, options: PushOptions): Promise<MethodResult<'image.push'>> {
    const reference = normalizeReference(text);
    requireNamed(this.#store, reference);
    const name = remoteName(reference);
    const endpoints = await this.#settings.endpoints(name.registry);
    try {
      return await this.#contents.lend(reference, options.signal, async (content) => {
        const client = await reachRegistry(endpoints, options.credentials, options.signal);
        try {
          await this.#send(client, name, content, options);
        } finally {
          client.close();
        }
        await this.#note(content, reference);
        const { digest, size } = content.manifest.descriptor;
        return { reference, digest, sizeBytes: size };
      });
    } catch (error) {
      throw ofPush(error, reference, options.signal);
    }
  }

  async #send(client: RegistryClient, name: RemoteName, content: ImageContent, options: PushOptions): Promise<void> {
    const { target, repository } = name;
    const { bytes, descriptor } = content.manifest;
    if (target.kind === 'digest' && target.digest !== descriptor.digest) {
      throw new StrataError('REFERENCE_INVALID', `the manifest that is here is ${descriptor.digest}, which cannot be pushed as another`, {
        hint: 'Push it by a name with a tag: "strata tag" gives it one.',
      });
    }
    await this.#sendBlobs(client, name, content, options);
    const reference = target.kind === 'tag' ? target.tag : target.digest;
    const answer = await client.request(client.url(repository, `manifests/${reference}`), {
      method: 'PUT',
      scopes: pushScopes(repository),
      what: `the manifest ${repository}:${reference}`,
      headers: { 'content-type': descriptor.mediaType },
      body: { sizeBytes: bytes.byteLength, open: () => Readable.from([bytes]) },
      signal: options.signal,
    });
    answer.resume();
    const told = digestSchema.safeParse(answer.headers['docker-content-digest']);
    if (told.success && told.data !== descriptor.digest) {
      throw new StrataError(
        'REGISTRY_FAILED',
        `${client.host} keeps the manifest ${descriptor.digest} as ${told.data}, which is not what was sent`,
      );
    }
  }

  /** All of them, or none: the first that fails ends the others. */
  async #sendBlobs(client: RegistryClient, name: RemoteName, content: ImageContent, options: PushOptions): Promise<void> {
    const progress: LayerProgress[] = content.layers.map(({ descriptor: { digest, size } }) => ({
      digest,
      state: 'waiting',
      doneBytes: 0,
      totalBytes: size,
    }));
    const tell = (digest: Digest, change: Partial<LayerProgress>): void => {
      // One blob may be several layers.
      for (const [index, before] of progress.entries()) if (before.digest === digest) progress[index] = { ...before, ...change };
      options.onProgress(progress);
    };
    const sources = mountSources(this.#store.blobsInRegistries(), name);
    const failed = new AbortController();
    const signal = AbortSignal.any([options.signal, failed.signal]);
    let firstError: unknown;
    const send = async (blob: BlobSource): Promise<void> => {
      try {
        const arrival = await this.#sendBlob(client, name, blob, {
          mountFrom: sources.get(blob.digest) ?? [],
          signal,
          onProgress: (doneBytes) => tell(blob.digest, { state: 'uploading', doneBytes }),
        });
        tell(blob.digest, { state: arrival === 'uploaded' ? 'done' : arrival, doneBytes: blob.sizeBytes });
      } catch (error) {
        firstError ??= error;
        failed.abort();
      }
    };
    // The config, a small one, finds out who we have to be before several ask at once.
    await send(bytesSource(content.config.descriptor.digest, content.config.bytes));
    if (firstError === undefined) await Promise.all(blobsOf(content).map(send));
    if (firstError !== undefined) throw fromNative(firstError, `push to ${name.repository}`);
  }

  async #sendBlob(
    client: RegistryClient,
    { registry, repository }: RemoteName,
    blob: BlobSource,
    options: Parameters<typeof uploadBlob>[3],
  ): Promise<BlobArrival> {
    return await this.#turns.run(`${registry}/${repository}@${blob.digest}`, async () =>
      this.#uploads.run(async () => {
        if (options.signal.aborted) throw new StrataError('CANCELLED', 'the push was cancelled');
        return await uploadBlob(client, repository, blob, options);
      }),
    );
  }

  /** The registry has it by now, whatever becomes of the note. */
  async #note({ id, manifest }: ImageContent, reference: string): Promise<void> {
    const { digest } = manifest.descriptor;
    try {
      await this.#service.noteRepositoryDigest(id, `${repositoryOf(reference)}@${digest}`);
    } catch (error) {
      this.#log.warn({ err: error, image: id, reference }, 'an image was pushed, and where to cannot be remembered');
    }
    this.#hub.note(imageSubject({ id, references: [] }, reference), 'push', { digest });
  }
}

function requireNamed(store: ImageStore, reference: string): void {
  if (store.idOf(reference) !== undefined) return;
  throw new StrataError('IMAGE_NOT_FOUND', `there is no image "${reference}" here to push`, {
    hint: 'List the images with "strata images"; "strata tag IMAGE NAME" gives one the name of where it shall go.',
    details: { image: reference },
  });
}

/** Each once. */
function blobsOf({ layers }: ImageContent): BlobSource[] {
  const found = new Map<Digest, BlobSource>();
  for (const { descriptor, path } of layers) found.set(descriptor.digest, fileSource(descriptor.digest, descriptor.size, path));
  return [...found.values()];
}

function fileSource(digest: Digest, sizeBytes: number, path: string): BlobSource {
  return {
    digest,
    sizeBytes,
    open: (start, end) => createReadStream(path, { start, end: end - 1, highWaterMark: readAtOnceBytes }),
  };
}

function bytesSource(digest: Digest, bytes: Uint8Array): BlobSource {
  return { digest, sizeBytes: bytes.byteLength, open: (start, end) => Readable.from([Buffer.from(bytes.subarray(start, end))]) };
}

function ofPush(error: unknown, reference: string, signal: AbortSignal): unknown {
  if (signal.aborted) return new StrataError('CANCELLED', `the push of ${reference} was cancelled`);
  if (!(error instanceof StrataError)) return error;
  const { code, message, hint, details } = error;
  return new StrataError(code, `cannot push ${reference}: ${message}`, { hint, details, cause: error });
}
