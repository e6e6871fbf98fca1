import { once } from 'node:events';
import type { LayerStore } from '../images/layerStore.ts';
import type { Logger } from '../log.ts';
import { Channel, type ContainerId, type Copied, StrataError } from '../protocol/index.ts';
import type { Layout } from '../store/layout.ts';
import type { KeyedMutex } from '../store/mutex.ts';
import { ArchiveProcess, type ArchiveRequest, type ArchiveView } from './archiveProcess.ts';
import type { ByteStream } from './byteStream.ts';
import type { Container } from './container.ts';
import { type Copy, CopyGate, type CopyKind } from './copyGate.ts';
import type { ContainerDrafts } from './drafts.ts';
import type { ContainerEndings } from './endings.ts';
import type { ContainerRegistry } from './registry.ts';
import { aborted } from './waiting.ts';

/** Each is a process: a helper that is asked for more refuses. Who may only look takes no place away from who may copy. */
const maxCopies = 64;
const maxComparisons = 16;

export interface Entered {
  readonly copy: Copy;
  readonly view: ArchiveView;
}

/**
 * The way to a container's files, running or not: processes of the runtime, each for one thing that is done with them.
 *
 * Invariants: CopyGate's; a start or a removal ends what is under way, and waits for its end; nothing begins in a moment in which a container is
 * started or removed.
 */
export class ArchiveRuns {
  readonly #turns: KeyedMutex<ContainerId>;
  readonly #registry: ContainerRegistry;
  readonly #drafts: ContainerDrafts;
  readonly #endings: ContainerEndings;
  readonly #layers: LayerStore;
  readonly #layout: Layout;
  readonly #runtime: string;
  readonly #log: Logger;
  readonly #gates = new Map<ContainerId, CopyGate>();
  readonly #processes = new Set<ArchiveProcess>();
  #closing = false;

  constructor(options: {
    turns: KeyedMutex<ContainerId>;
    registry: ContainerRegistry;
    drafts: ContainerDrafts;
    endings: ContainerEndings;
    layers: LayerStore;
    layout: Layout;
    runtime: string;
    log: Logger;
  }) {
    this.#turns = options.turns;
    this.#registry = options.registry;
    this.#drafts = options.drafts;
    this.#endings = options.endings;
    this.#layers = options.layers;
    this.#layout = options.layout;
    this.#runtime = options.runtime;
    this.#log = options.log;
  }

  /** For who reads the upper directory as it is: nothing keeps anybody from it. */
  enterUpper(container: Container): Copy {
    const copy = this.#gate(container).tryEnter('changes');
    if (copy === undefined) throw new Error('nothing keeps anybody from reading the upper directory');
    return this.#tidied(container, copy);
  }

  /** For who reads its upper directory as it is. `removed` is aborted when the container is about to be removed, which waits until `read` is over. */
  async whileReadingUpper<T>(container: Container, read: (removed: AbortSignal) => Promise<T>): Promise<T> {
    const copy = this.enterUpper(container);
    try {
      const result = await read(copy.signal);
      // A removal that began before: what was read may be half of it.
      if (container.gone || this.#registry.isGoing(container)) throw wasRemoved(container);
      return result;
    } finally {
      copy.leave();
    }
  }

  /** For who is about to start or remove the container, which nobody else may do meanwhile. */
  async end(container: Container, what: 'started' | 'removed'): Promise<void> {
    const kinds: readonly CopyKind[] =
      what === 'started' ? ['running', 'reading', 'writing'] : ['running', 'reading', 'writing', 'changes'];
    await this.#gates.get(container.id)?.end(`${named(container)} was ${what}`, kinds);
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const process of this.#processes) process.kill();
    await Promise.all([...this.#processes].map(({ ended }) => ended));
  }

  /** Enters, and leaves when `action` is over. */
  async with<T>(
    container: Container,
    kind: 'reading' | 'writing',
    signal: AbortSignal,
    action: (entered: Entered) => Promise<T>,
  ): Promise<T> {
    const entered = await this.enter(container, kind, signal);
    try {
      return await action(entered);
    } finally {
      entered.copy.leave();
    }
  }

  /** Waits for a start that is under way, and for copies that this one cannot go along with. */
  async enter(container: Container, kind: 'reading' | 'writing', signal: AbortSignal): Promise<Entered> {
    for (;;) {
      const entering = this.#tryEnter(container, kind, signal);
      try {
        const entered = await Promise.race([aborted(signal), entering]);
        if (entered !== undefined) return entered;
      } catch (error) {
        void entering.then(
          (late) => late?.copy.leave(),
          () => {},
        );
        throw error;
      }
      await Promise.race([aborted(signal), this.#gates.get(container.id)?.whenLeft()]);
    }
  }

  async #tryEnter(container: Container, kind: 'reading' | 'writing', signal: AbortSignal): Promise<Entered | undefined> {
    const { state } = container;
    if (state.kind === 'running' && container.starting === undefined) {
      const copy = this.#gate(container).tryEnter('running');
      return copy && { copy: this.#tidied(container, copy), view: { pid: state.pid, cgroupPath: container.cgroup } };
    }
    return await this.#turns.run(container.id, async () => {
      if (container.gone || this.#registry.isGoing(container)) throw wasRemoved(container);
      if (signal.aborted || container.state.kind === 'running') return undefined;
      await this.#endings.supervisorGone(container);
      if (signal.aborted) return undefined;
      const view = await this.#stoppedView(container, kind);
      const copy = this.#gate(container).tryEnter(kind);
      return copy && { copy: this.#tidied(container, copy), view };
    });
  }

  async #stoppedView(container: Container, kind: 'reading' | 'writing'): Promise<ArchiveView> {
    const { paths, plan } = container;
    const { uidMappings, gidMappings } = plan.config.linux;
    const lower = await this.lower(container);
    const overlay =
      kind === 'reading'
        ? { lower: [paths.upper, ...lower] }
        : { lower, upper: paths.upper, work: paths.work, readOnly: plan.config.root.readonly };
    return { overlay, uidMappings, gidMappings, privatePlace: this.#layout.copyPlace };
  }

  /** Its layers but the upper, top first. */
  async lower(container: Container): Promise<string[]> {
    const { chainIds } = this.#drafts.imageOf(container.record);
    return [container.paths.init, ...(await this.#layers.directories(chainIds.toReversed()))];
  }

  #gate({ id }: Container): CopyGate {
    const gate = this.#gates.get(id) ?? new CopyGate();
    this.#gates.set(id, gate);
    return gate;
  }

  /** The last one to leave takes the gate along. */
  #tidied({ id }: Container, copy: Copy): Copy {
    return {
      signal: copy.signal,
      leave: () => {
        copy.leave();
        if (this.#gates.get(id)?.isIdle === true) this.#gates.delete(id);
      },
    };
  }

  /** A process that copies; TOO_MANY_REQUESTS. */
  start(request: ArchiveRequest, doing: string): ArchiveProcess {
    if (this.#closing) throw new StrataError('CONNECTION_CLOSED', 'the helper is ending');
    const compares = request.action === 'changes';
    const most = compares ? maxComparisons : maxCopies;
    const sameKind = [...this.#processes].filter(({ action }) => (action === 'changes') === compares);
    if (sameKind.length >= most) {
      const what = compares ? 'comparisons' : 'copies';
      throw new StrataError('TOO_MANY_REQUESTS', `${most} ${what} are under way already`, { hint: 'Wait for one of them to end.' });
    }
    const process = new ArchiveProcess(this.#runtime, request, doing);
    this.#processes.add(process);
    void process.ended.then(() => this.#processes.delete(process));
    return process;
  }

  /** Kills the process, and waits no longer, as soon as one of these is aborted. It is gone then in any case. */
  async until<T>(process: ArchiveProcess, signals: readonly AbortSignal[], action: () => Promise<T>): Promise<T> {
    const any = AbortSignal.any([...signals]);
    try {
      return await Promise.race([action(), aborted(any)]);
    } catch (error) {
      process.kill();
      throw any.reason instanceof StrataError ? any.reason : error;
    } finally {
      await process.ended;
    }
  }

  /** What the process gives goes on the stream; `first` is what is answered before. */
  async send<T>(
    request: ArchiveRequest,
    doing: string,
    { entered, stream, signal }: { readonly entered: { readonly copy: Copy }; readonly stream: ByteStream; readonly signal: AbortSignal },
    first: (process: ArchiveProcess) => Promise<T>,
  ): Promise<T> {
    const { copy } = entered;
    const begun = Promise.withResolvers<void>();
    let process: ArchiveProcess;
    try {
      process = this.start(request, doing);
    } catch (error) {
      copy.leave();
      throw error;
    }
    const sending = this.until(process, [copy.signal, stream.signal], async () => {
      await begun.promise;
      await pump(process, stream);
    });
    void sending.catch((error: unknown) => this.#closeFailed(stream, error, doing)).finally(() => copy.leave());
    try {
      const answer = await Promise.race([first(process), aborted(AbortSignal.any([signal, stream.signal, copy.signal]))]);
      begun.resolve();
      return answer;
    } catch (error) {
      begun.reject(error);
      throw copy.signal.aborted ? copy.signal.reason : error;
    }
  }

  #closeFailed(stream: ByteStream, error: unknown, doing: string): void {
    if (stream.signal.aborted) return;
    if (error instanceof StrataError) {
      stream.close(error);
      return;
    }
    this.#log.error({ err: error, doing }, 'a copy failed unexpectedly');
    stream.close(new StrataError('INTERNAL', `${doing} failed`, { cause: error }));
  }

  /** For an action that takes what `source` gives. Given up, it takes back what it has half of. */
  async take(
    container: Container,
    { doing, source, signal }: { readonly doing: string; readonly source: AsyncIterable<Uint8Array>; readonly signal: AbortSignal },
    request: (view: ArchiveView) => ArchiveRequest,
  ): Promise<Copied> {
    return await this.with(container, 'writing', signal, async ({ view, copy }) => {
      const process = this.start(request(view), doing);
      try {
        await this.#feed(process, source, copy.signal);
        return await Promise.race([process.done, aborted(AbortSignal.any([copy.signal, signal]))]);
      } catch (error) {
        await process.cutOff();
        throw copy.signal.aborted ? copy.signal.reason : error;
      } finally {
        await process.ended;
      }
    });
  }

  /** For an action that neither takes nor gives anything. */
  async change(container: Container, doing: string, signal: AbortSignal, request: (view: ArchiveView) => ArchiveRequest): Promise<void> {
    await this.with(container, 'writing', signal, async ({ view, copy }) => {
      const process = this.start(request(view), doing);
      await this.until(process, [copy.signal, signal], () => process.done);
    });
  }

  async #feed(process: ArchiveProcess, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const { input } = process;
    if (input === null) {
      await process.done;
      return;
    }
    const stopped = new AbortController();
    const stop = (): void => stopped.abort();
    signal.addEventListener('abort', stop, { once: true });
    void process.ended.then(stop);
    const stops = aborted(stopped.signal);
    stops.catch(() => {});
    const chunks = source[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await Promise.race([chunks.next(), stops]);
        if (next.done === true) break;
        if (!input.write(next.value)) await Promise.race([once(input, 'drain'), stops]);
      }
      input.end();
    } catch (error) {
      if (signal.aborted || !(stopped.signal.aborted || input.errored !== null)) throw error;
      // It ended before it had all: its answer tells why.
      await process.done;
    } finally {
      signal.removeEventListener('abort', stop);
      chunks.return?.().then(undefined, () => {});
    }
  }
}

async function pump(process: ArchiveProcess, stream: ByteStream): Promise<void> {
  stream.consume({ data: () => {} });
  const output: AsyncIterable<Buffer> | null = process.output; // without an encoding it gives buffers
  if (output !== null) for await (const bytes of output) await stream.write(Channel.bytes, bytes);
  await process.done;
  stream.end(Channel.bytes);
  stream.close();
}

function wasRemoved(container: Container): StrataError {
  return new StrataError('CONTAINER_NOT_FOUND', `${named(container)} was removed`, { details: { container: container.id } });
}

/** As errors call it. */
export function named({ record }: Container): string {
  return `container "${record.name}"`;
}
