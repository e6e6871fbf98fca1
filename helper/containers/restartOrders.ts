import type { EventHub } from '../events/hub.ts';
import { containerSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import { StrataError } from '../protocol/index.ts';
import type { Container } from './container.ts';
import type { ContainerFiles } from './containerFiles.ts';
import type { RestartOrder } from './record.ts';
import type { ContainerStops, StopRequest } from './stops.ts';

export interface RestartActions {
  /** Under the container's turn, after `check`, which throws where it is not wanted any more. */
  start(container: Container, check: () => void): Promise<number>;
  /** It removes itself, and has ended for good. */
  removeEnded(container: Container): void;
}

/**
 * Restarts that somebody asked for: a stop, and then a start.
 *
 * Invariants: what is to be started again is not removed in between, although it removes itself; an order is on disk before
 * its stop, so that the next helper of this boot goes on with it; a stop that comes meanwhile is the end of it.
 */
export class RestartOrders {
  readonly #files: ContainerFiles;
  readonly #stops: ContainerStops;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #bootId: string;
  /** How many are under way for each. */
  readonly #underWay = new Map<Container, number>();
  /** Of the helper before, until this one goes on with them. */
  readonly #left = new Map<Container, RestartOrder>();
  #actions: RestartActions = { start: () => Promise.reject(new Error('nothing starts containers yet')), removeEnded: () => {} };

  constructor(options: { files: ContainerFiles; stops: ContainerStops; hub: EventHub; log: Logger; bootId: string }) {
    this.#files = options.files;
    this.#stops = options.stops;
    this.#hub = options.hub;
    this.#log = options.log;
    this.#bootId = options.bootId;
  }

  set actions(actions: RestartActions) {
    this.#actions = actions;
  }

  /** Its end is followed by a start. */
  isUnderWay(container: Container): boolean {
    return this.#underWay.has(container) || this.#left.has(container);
  }

  /** Not to be given up: between the stop and the start nobody else would start it. */
  async restart(container: Container, request: Omit<StopRequest, 'abort'>): Promise<number> {
    const { stopsAsked, state } = container;
    return await this.#whileUnderWay(container, async () => {
      if (state.kind === 'running') {
        const { user, signal, graceMs } = request;
        this.#files.writeRestartOrder(container.id, { bootId: this.#bootId, startedAt: state.startedAt, user, signal, graceMs });
        await this.#stops.stopToRestart(container, { ...request, abort: new AbortController().signal });
      }
      return await this.#start(container, stopsAsked);
    });
  }

  /** What the helper before was about to restart; `goOn` says what comes of it. */
  async recall(container: Container): Promise<void> {
    const order = await this.#files.readRestartOrder(container.id);
    if (order?.bootId === this.#bootId) this.#left.set(container, order);
    else if (order !== undefined) this.#files.forgetRestartOrder(container.id);
  }

  /** As it was found. True: it goes on from here, by itself. */
  goOn(container: Container): boolean {
    const order = this.#left.get(container);
    this.#left.delete(container);
    if (order === undefined) return false;
    const { state, stopsAsked } = container;
    if (state.kind === 'created' || state.startedAt !== order.startedAt) {
      // That run is over, and its place was taken by the next one.
      this.#files.forgetRestartOrder(container.id);
      return false;
    }
    const going =
      state.kind === 'running' ? this.restart(container, order) : this.#whileUnderWay(container, () => this.#start(container, stopsAsked));
    going.catch((error: unknown) => this.#log.warn({ err: error, container: container.id }, 'cannot go on with a restart'));
    return true;
  }

  async #start(container: Container, stopsAsked: number): Promise<number> {
    const pid = await this.#actions.start(container, () => {
      if (container.stopsAsked === stopsAsked) return;
      throw new StrataError('CANCELLED', `container "${container.record.name}" was stopped by somebody else while it was restarted`, {
        hint: 'Start it, if it shall run.',
        details: { container: container.id },
      });
    });
    this.#hub.note(containerSubject(container.summary()), 'restart');
    return pid;
  }

  async #whileUnderWay(container: Container, act: () => Promise<number>): Promise<number> {
    this.#underWay.set(container, (this.#underWay.get(container) ?? 0) + 1);
    try {
      return await act();
    } finally {
      const left = (this.#underWay.get(container) ?? 1) - 1;
      if (left > 0) this.#underWay.set(container, left);
      else this.#over(container);
    }
  }

  #over(container: Container): void {
    this.#underWay.delete(container);
    if (container.gone) return;
    this.#files.forgetRestartOrder(container.id);
    if (container.autoRemove && container.state.kind === 'exited') this.#actions.removeEnded(container);
  }
}
