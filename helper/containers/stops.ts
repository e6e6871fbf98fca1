import type { EventHub } from '../events/hub.ts';
import { containerSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import { type Exit, SIGNALS, StrataError, signalNumber, signalOf } from '../protocol/index.ts';
import type { KeyedMutex } from '../store/mutex.ts';
import type { Container } from './container.ts';
import type { ContainerFiles } from './containerFiles.ts';
import type { EndingNote, StopNote } from './endingNote.ts';
import type { ContainerEndings } from './endings.ts';
import { requireRunning } from './launcher.ts';
import type { ContainerPauses } from './pauses.ts';
import type { ContainerRestarts } from './restarts.ts';
import { aborted, within } from './waiting.ts';

/** `abort`: who asks waits no longer; what was begun goes on. */
export interface StopRequest {
  /** Who asks. */
  readonly user: string;
  readonly signal?: string | undefined;
  readonly graceMs?: number | undefined;
  readonly abort: AbortSignal;
}

/** Most starts are over by then. */
const leastPatienceMs = 100;

/** By which people ask a program to end, whatever its image says that it listens to. */
const endingSignals: ReadonlySet<number> = new Set([SIGNALS.SIGKILL, SIGNALS.SIGTERM, SIGNALS.SIGINT, SIGNALS.SIGQUIT]);

export function isEndingSignal(signal: number, stopSignal: string): boolean {
  return endingSignals.has(signal) || signal === signalNumber(stopSignal);
}

/**
 * How people end containers.
 *
 * Invariants: what runs is ended without waiting for its turn, since an update or a pause may hold it; a stop that comes
 * while the container is being started ends it all the same; after a stop its restart policy rests.
 */
export class ContainerStops {
  readonly #turns: KeyedMutex<Container['id']>;
  readonly #files: ContainerFiles;
  readonly #endings: ContainerEndings;
  readonly #pauses: ContainerPauses;
  readonly #restarts: ContainerRestarts;
  readonly #hub: EventHub;
  readonly #log: Logger;

  constructor(options: {
    turns: KeyedMutex<Container['id']>;
    files: ContainerFiles;
    endings: ContainerEndings;
    pauses: ContainerPauses;
    restarts: ContainerRestarts;
    hub: EventHub;
    log: Logger;
  }) {
    this.#turns = options.turns;
    this.#files = options.files;
    this.#endings = options.endings;
    this.#pauses = options.pauses;
    this.#restarts = options.restarts;
    this.#hub = options.hub;
    this.#log = options.log;
  }

  async stop(container: Container, request: StopRequest): Promise<Exit> {
    const noted = this.#noteStop(container);
    const exit = await this.#stop(container, { ...request, by: 'stop' });
    await noted;
    return exit;
  }

  /** Without a word to its policy, which the start that follows asks anew. */
  async stopToRestart(container: Container, request: StopRequest): Promise<Exit> {
    return await this.#stop(container, { ...request, by: 'restart' });
  }

  async #stop(container: Container, request: StopRequest & Pick<EndingNote, 'by'>): Promise<Exit> {
    const { by, user } = request;
    const graceMs = request.graceMs ?? container.plan.stopTimeoutMs;
    if (container.state.kind !== 'running') await this.#startOver(container, { graceMs, abort: request.abort });
    if (container.state.kind === 'exited') return container.state.exit;
    if (container.state.kind === 'running' && container.client === undefined)
      return await this.#told(container, this.#endings.end(container, { by, user }));
    requireRunning(container);
    const note = { by, user, asked: signalOf(request.signal ?? container.plan.stopSignal), graceMs };
    const ending = this.#told(container, this.#end(container, note));
    // Who gives up waiting has still asked for an end: what ignores its signal is killed for them, too.
    ending.catch((error: unknown) => {
      if (request.abort.aborted) this.#log.warn({ err: error, container: container.id }, 'a stop that nobody waits for any more failed');
    });
    return await Promise.race([ending, aborted(request.abort)]);
  }

  async kill(container: Container, signal: string | undefined, user: string): Promise<void> {
    // A start that does not come to its end may be given up.
    if (container.starting === undefined || container.client === undefined) requireRunning(container);
    const number = signalOf(signal ?? 'SIGKILL');
    const noted = isEndingSignal(number, container.plan.stopSignal) ? this.#noteStop(container) : undefined;
    const heard = await this.#endings.signal(container, number, { by: 'kill', user });
    await noted;
    if (heard) return;
    throw new StrataError('RUNTIME_FAILED', `the supervisor of container "${container.record.name}" does not answer`, {
      hint: 'SIGKILL ends it, too.',
      details: { container: container.id },
    });
  }

  /** A start that is under way holds the turn. One that takes longer than a stop may is given up, also when it begins only then. */
  async #startOver(container: Container, { graceMs, abort }: { graceMs: number; abort: AbortSignal }): Promise<void> {
    const over = this.#turns.run(container.id, () => Promise.resolve(true));
    const pauseMs = Math.max(graceMs, leastPatienceMs);
    while ((await Promise.race([within(over, pauseMs), aborted(abort)])) === undefined) container.giveUpStart();
  }

  async #told(container: Container, ending: Promise<Exit>): Promise<Exit> {
    const exit = await ending;
    this.#hub.note(containerSubject(container.summary()), 'stop');
    return exit;
  }

  async #end(container: Container, note: StopNote): Promise<Exit> {
    const { by, user, asked, graceMs } = note;
    const exited = container.whenExited();
    await this.#endings.signal(container, asked, { by, user });
    await this.#pauses.end(container);
    const inTime = await within(exited, graceMs);
    if (inTime !== undefined) return inTime;
    await this.#endings.signal(container, SIGNALS.SIGKILL, note);
    return await exited;
  }

  /** At once in memory, and then on disk; where it cannot be written it is so until this helper ends. */
  async #noteStop(container: Container): Promise<void> {
    container.stopsAsked += 1;
    if (container.restartPolicy.name === 'no') return;
    container.restarts = { ...container.restarts, stoppedByPerson: true };
    if (this.#restarts.cancel(container)) {
      container.touch();
      this.#hub.publish('container.changed', { container: container.summary() }, { action: 'stop' });
    }
    try {
      await this.#files.writeRestarts(container.id, container.restarts);
    } catch (error) {
      this.#log.warn({ err: error, container: container.id }, 'cannot write that a container was stopped');
    }
  }
}
