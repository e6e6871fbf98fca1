import type { EventHub } from '../events/hub.ts';
import type { Logger } from '../log.ts';
import type { Exit } from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import type { Container } from './container.ts';
import { afterRun, restartDelayMs, restarts } from './restartPolicy.ts';

/** A start of the container under its turn, if it is still wanted when the turn comes. */
export type StartAgain = (container: Container, isWanted: () => boolean) => Promise<void>;

/** After a reboot all of them are due together. */
const startedAtOnce = 8;

/**
 * Starts containers again as their policies say.
 *
 * Invariants: at most one start is pending for a container, and it is told in its state (`restartsAt`); whoever stops,
 * starts or removes the container cancels it; nothing pending need be written down, for the next helper finds the exit and
 * comes to the same.
 */
export class ContainerRestarts {
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #timers = new Map<Container, NodeJS.Timeout>();
  readonly #slots = new Slots(startedAtOnce);
  #startAgain: StartAgain = () => Promise.resolve();
  #closed = false;

  constructor(options: { hub: EventHub; log: Logger }) {
    this.#hub = options.hub;
    this.#log = options.log;
  }

  set startAgain(startAgain: StartAgain) {
    this.#startAgain = startAgain;
  }

  /** After an exit that this helper saw. */
  afterExit(container: Container, exit: Exit): void {
    container.restarts = afterRun(container.restarts, ranForMs(container));
    if (restarts(container.restartPolicy, exit, { history: container.restarts })) this.#schedule(container);
  }

  /** Of a container that a starting helper found ended. */
  afterAdoption(container: Container): void {
    const { state } = container;
    if (state.kind !== 'exited' || container.isStub) return;
    if (restarts(container.restartPolicy, state.exit, { history: container.restarts, helperStart: true })) this.#schedule(container);
  }

  /** A start by the policy came to nothing: the next one waits longer. */
  afterFailure(container: Container): void {
    forgetPending(container);
    const { state } = container;
    if (state.kind === 'exited' && restarts(container.restartPolicy, state.exit, { history: container.restarts }))
      this.#schedule(container);
  }

  /** True where one was pending. Who changes the state himself tells of it. */
  cancel(container: Container): boolean {
    const timer = this.#timers.get(container);
    if (timer === undefined) return false;
    clearTimeout(timer);
    this.#timers.delete(container);
    forgetPending(container);
    return true;
  }

  close(): void {
    this.#closed = true;
    for (const container of [...this.#timers.keys()]) this.cancel(container);
  }

  #schedule(container: Container): void {
    if (this.#closed || container.state.kind !== 'exited' || container.gone) return;
    this.cancel(container);
    const delayMs = restartDelayMs(container.restarts);
    const { exit, startedAt } = container.state;
    container.state = { kind: 'exited', exit, startedAt, restartsAt: new Date(Date.now() + delayMs).toISOString() };
    this.#timers.set(
      container,
      setTimeout(() => void this.#start(container), delayMs),
    );
  }

  /** Pending until its turn has come: who cancels it before is heard. */
  async #start(container: Container): Promise<void> {
    const timer = this.#timers.get(container);
    const isWanted = (): boolean => {
      if (timer === undefined || this.#timers.get(container) !== timer) return false;
      this.#timers.delete(container);
      return true;
    };
    try {
      await this.#slots.run(() => this.#startAgain(container, isWanted));
    } catch (error) {
      this.#log.warn({ err: error, container: container.id }, 'a container cannot be started again');
      if (container.gone) return;
      this.afterFailure(container);
      container.touch();
      this.#hub.publish('container.changed', { container: container.summary() }, { action: 'restart_failed' });
    }
  }
}

function forgetPending(container: Container): void {
  if (container.state.kind !== 'exited') return;
  const { exit, startedAt } = container.state;
  container.state = { kind: 'exited', exit, startedAt };
}

/** By the clock of the host, which somebody may have set meanwhile: it decides a delay only. */
function ranForMs({ state }: Container): number | null {
  if (state.kind !== 'exited' || state.startedAt === null) return null;
  return Date.parse(state.exit.finishedAt) - Date.parse(state.startedAt);
}
