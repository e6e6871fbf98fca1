import type { EventHub } from '../events/hub.ts';
import { type Attributes, containerSubject } from '../events/subjects.ts';
import type { Copied, PathStat } from '../protocol/index.ts';
import type { ArchiveRequest } from './archiveProcess.ts';
import { type ArchiveRuns, named } from './archiveRuns.ts';
import type { ByteStream } from './byteStream.ts';
import type { Container } from './container.ts';
import type { ContainerRegistry } from './registry.ts';

/** Of what an event carries of a path. */
const maxPathLength = 1024;

/** The files that Strata gives every container, which are no part of its image: an export has them empty, as other engines' exports do. */
export const ownFiles = ['etc/hosts', 'etc/hostname', 'etc/resolv.conf'];

interface Asked {
  readonly path: string;
  readonly follow: boolean;
}

/** Copies in and out of containers, running or not, each by a process of its own. */
export class ContainerCopies {
  readonly #runs: ArchiveRuns;
  readonly #registry: ContainerRegistry;
  readonly #hub: EventHub;

  constructor(options: { runs: ArchiveRuns; registry: ContainerRegistry; hub: EventHub }) {
    this.#runs = options.runs;
    this.#registry = options.registry;
    this.#hub = options.hub;
  }

  async stat(reference: string, { path, follow }: Asked, signal: AbortSignal): Promise<PathStat> {
    const container = this.#registry.find(reference);
    return await this.#runs.with(container, 'reading', signal, async ({ view, copy }) => {
      const process = this.#runs.start({ action: 'stat', view, path, follow }, `look at '${path}' in ${named(container)}`);
      return await this.#runs.until(process, [copy.signal, signal], () => process.stat);
    });
  }

  /** The archive goes on the stream, which is closed at its end. */
  async get(reference: string, { path, follow }: Asked, stream: ByteStream, signal: AbortSignal): Promise<PathStat> {
    const container = this.#registry.find(reference);
    const entered = await this.#runs.enter(container, 'reading', signal);
    const { view } = entered;
    const request = { action: 'get', view, path, follow, name: memberName(path) } as const;
    const doing = `copy '${path}' from ${named(container)}`;
    const stat = await this.#runs.send(request, doing, { entered, stream, signal }, (process) => process.stat);
    this.#tell(container, 'archive-path', { path: path.slice(0, maxPathLength) });
    return stat;
  }

  async export(reference: string, stream: ByteStream, signal: AbortSignal): Promise<void> {
    const container = this.#registry.find(reference);
    const entered = await this.#runs.enter(container, 'reading', signal);
    const request = { action: 'export', view: entered.view, emptied: ownFiles } as const;
    await this.#runs.send(request, `export ${named(container)}`, { entered, stream, signal }, () => Promise.resolve());
    this.#tell(container, 'export');
  }

  /** What it has changed, as lines of JSON. */
  async changes(reference: string, details: boolean, stream: ByteStream, signal: AbortSignal): Promise<void> {
    const container = this.#registry.find(reference);
    const { upper } = container.paths;
    const request = async (): Promise<ArchiveRequest> => ({ action: 'changes', upper, lower: await this.#runs.lower(container), details });
    await this.#sendUpper(container, request, `compare ${named(container)} with its image`, stream, signal);
  }

  /** What it has changed, as a layer's tar. */
  async exportChanges(reference: string, stream: ByteStream, signal: AbortSignal): Promise<void> {
    const container = this.#registry.find(reference);
    const request = { action: 'layer', upper: container.paths.upper, leftOut: ownFiles } as const;
    await this.#sendUpper(container, () => Promise.resolve(request), `export the changes of ${named(container)}`, stream, signal);
    this.#tell(container, 'export');
  }

  /** What a process makes of its upper directory, which nothing has to be mounted for. */
  async #sendUpper(
    container: Container,
    request: () => Promise<ArchiveRequest>,
    doing: string,
    stream: ByteStream,
    signal: AbortSignal,
  ): Promise<void> {
    const entered = { copy: this.#runs.enterUpper(container) };
    let asked: ArchiveRequest;
    try {
      asked = await request();
    } catch (error) {
      entered.copy.leave();
      throw error;
    }
    await this.#runs.send(asked, doing, { entered, stream, signal }, () => Promise.resolve());
  }

  async put(
    reference: string,
    { path, keepOwners, source }: { readonly path: string; readonly keepOwners: boolean; readonly source: AsyncIterable<Uint8Array> },
    signal: AbortSignal,
  ): Promise<Copied> {
    const container = this.#registry.find(reference);
    const doing = `copy to '${path}' in ${named(container)}`;
    const copied = await this.#runs.take(container, { doing, source, signal }, (view) => ({ action: 'put', view, path, keepOwners }));
    this.#tell(container, 'extract-to-dir', { path: path.slice(0, maxPathLength) });
    return copied;
  }

  #tell(container: Container, action: string, attributes: Attributes = {}): void {
    this.#hub.note(containerSubject(container.summary()), action, attributes);
  }
}

/** What the first member of an archive of this path is called; "." where it has no name of its own. Pure. */
export function memberName(path: string): string {
  const last = path.split('/').findLast((part) => part !== '') ?? '.';
  return last === '..' ? '.' : last;
}
