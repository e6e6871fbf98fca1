import { setTimeout as delay } from 'node:timers/promises';
import type { EventHub } from '../events/hub.ts';
import type { Logger } from '../log.ts';
import type { Addon, DirectoryWatch } from '../native/addon.ts';
import { fromNative } from '../native/errors.ts';
import { Channel, type ContainerId, StrataError } from '../protocol/index.ts';
import type { ByteStream } from './byteStream.ts';
import type { Container } from './container.ts';
import type { ContainerRegistry } from './registry.ts';

/** Each is a thread that waits. */
const maxWatched = 32;

/** So long changes are gathered: what a container writes meanwhile costs nothing. */
const gatherMs = 150;

const line = Buffer.from('{"changed":true}\n');

/**
 * Tells clients that a container has changed files.
 *
 * Invariants: a container is watched once, and only while somebody listens; who is told is told after the next watch has begun, so that what was changed before can be
 * seen, and what is changed after is told again.
 */
export class FileWatches {
  readonly #addon: Addon;
  readonly #registry: ContainerRegistry;
  readonly #log: Logger;
  readonly #watched = new Map<ContainerId, Watched>();

  constructor({ addon, registry, hub, log }: { addon: Addon; registry: ContainerRegistry; hub: EventHub; log: Logger }) {
    this.#addon = addon;
    this.#registry = registry;
    this.#log = log;
    hub.subscribe((event, params) => {
      if (event === 'container.removed' && 'id' in params && typeof params.id === 'string') this.#removed(params.id);
    });
  }

  /** Until either side closes the stream, or the container is removed. */
  watch(reference: string, stream: ByteStream): void {
    const container = this.#registry.find(reference);
    const present = this.#watched.get(container.id);
    if (present !== undefined) {
      present.add(stream);
      return;
    }
    if (this.#watched.size >= maxWatched) {
      throw new StrataError('TOO_MANY_REQUESTS', `${maxWatched} containers are watched already`, {
        hint: 'Close the changes of another container.',
      });
    }
    const watched = new Watched(this.#open(container), () => this.#watched.delete(container.id));
    this.#watched.set(container.id, watched);
    watched.add(stream);
    void watched
      .follow(() => this.#open(container))
      .catch((error: unknown) => {
        this.#log.error({ err: error, container: container.id }, 'a container is no longer watched');
        watched.end(fromNative(error, `watch container "${container.record.name}"`));
      });
  }

  close(): void {
    for (const watched of this.#watched.values()) watched.end(new StrataError('CONNECTION_CLOSED', 'the helper is ending'));
  }

  #open({ paths, record }: Container): DirectoryWatch {
    try {
      return new this.#addon.DirectoryWatch(paths.upper);
    } catch (error) {
      throw fromNative(error, `watch container "${record.name}"`, { UNSUPPORTED: 'FEATURE_MISSING' });
    }
  }

  #removed(id: string): void {
    for (const [watchedId, watched] of this.#watched) {
      if (watchedId === id)
        watched.end(new StrataError('CONTAINER_NOT_FOUND', 'the container was removed', { details: { container: id } }));
    }
  }
}

class Watched {
  readonly #streams = new Map<ByteStream, Teller>();
  readonly #ended = new AbortController();
  readonly #left: () => void;
  #watch: DirectoryWatch;

  constructor(watch: DirectoryWatch, left: () => void) {
    this.#watch = watch;
    this.#left = left;
  }

  add(stream: ByteStream): void {
    const teller = new Teller(stream);
    this.#streams.set(stream, teller);
    stream.consume({
      data: () => {},
      closed: () => {
        this.#streams.delete(stream);
        if (this.#streams.size === 0) this.end();
      },
    });
    teller.tell();
  }

  async follow(open: () => DirectoryWatch): Promise<void> {
    while (await this.#watch.changed()) {
      this.#watch.close();
      await delay(gatherMs, undefined, { signal: this.#ended.signal }).catch(() => {});
      if (this.#ended.signal.aborted) return;
      this.#watch = open();
      for (const teller of this.#streams.values()) teller.tell();
    }
  }

  end(error?: StrataError): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#watch.close();
    this.#left();
    for (const stream of this.#streams.keys()) stream.close(error);
    this.#streams.clear();
  }
}

/** Tells one client; what it does not read in time is told once. */
class Teller {
  readonly #stream: ByteStream;
  #isTelling = false;
  #isDue = false;

  constructor(stream: ByteStream) {
    this.#stream = stream;
  }

  tell(): void {
    this.#isDue = true;
    if (!this.#isTelling) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isTelling = true;
    try {
      while (this.#isDue) {
        this.#isDue = false;
        await this.#stream.write(Channel.bytes, line);
      }
    } catch {
      // It is closed: nobody has to be told.
    } finally {
      this.#isTelling = false;
    }
  }
}
