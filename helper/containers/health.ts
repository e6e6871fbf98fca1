import type { EventHub } from '../events/hub.ts';
import type { Logger } from '../log.ts';
import type { HealthDetails, HealthResult } from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import type { Container, Watched } from './container.ts';
import type { ContainerFiles } from './containerFiles.ts';
import { runCheck } from './healthCheck.ts';
import type { HealthPlan } from './healthPlan.ts';
import { afterCheck, NEW_HEALTH, nextCheckMs } from './healthState.ts';

/** Beginning one is a fork and a mount namespace entered, for the kernel and one supervisor. */
const begunAtOnce = 8;

/**
 * Looks after the health of containers that say how.
 *
 * Invariants: of one container one check runs at a time, and none while it stands still; what was found is in its file before
 * anybody is told; after its end nothing is checked or told any more. Timers of equal length share one list in Node, so that
 * thousands of containers that wait cost nothing.
 */
export class ContainerHealth {
  readonly #files: ContainerFiles;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #slots = new Slots(begunAtOnce);
  readonly #monitors = new Set<Monitor>();
  #closed = false;

  constructor(options: { files: ContainerFiles; hub: EventHub; log: Logger }) {
    this.#files = options.files;
    this.#hub = options.hub;
    this.#log = options.log;
  }

  /** It has just been started. */
  begin(container: Container): void {
    this.#watch(container, NEW_HEALTH);
  }

  /** A helper before this one has looked after it. */
  async recall(container: Container): Promise<void> {
    const { state } = container;
    if (container.plan.health === undefined || state.kind !== 'running') return;
    const known = await this.#files.readHealth(container.id);
    this.#watch(container, known?.startedAt === state.startedAt ? known.health : NEW_HEALTH);
  }

  close(): void {
    this.#closed = true;
    for (const monitor of this.#monitors) monitor.stop();
  }

  #watch(container: Container, known: HealthDetails): void {
    const { plan, client, state } = container;
    container.health?.stop();
    container.health = undefined;
    // A supervisor of an earlier version cannot end a check that takes too long.
    if (this.#closed || plan.health === undefined || state.kind !== 'running' || client?.supports('execSessions') !== true) return;
    const monitor = new Monitor({
      container,
      plan: plan.health,
      health: known,
      startedAt: state.startedAt,
      slots: this.#slots,
      tell: (before) => this.#tell(container, monitor, before),
      stopped: () => this.#monitors.delete(monitor),
      log: this.#log,
    });
    this.#monitors.add(monitor);
    container.health = monitor;
    container.touch();
    monitor.begin();
  }

  /** Another failure of many is no news. */
  #tell(container: Container, { startedAt, health }: Monitor, before: HealthDetails): void {
    this.#files.writeHealth(container.id, { startedAt, health });
    if (before.status === health.status) return;
    container.touch();
    const attributes = { health: health.status };
    this.#hub.publish('container.changed', { container: container.summary() }, { action: 'health_status', attributes });
  }
}

/** Of one run of one container. */
class Monitor implements Watched {
  health: HealthDetails;
  readonly startedAt: string;
  readonly #container: Container;
  readonly #plan: HealthPlan;
  readonly #slots: Slots;
  readonly #tell: (before: HealthDetails) => void;
  readonly #stopped: () => void;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  /** By the monotonic clock. */
  readonly #startPeriodEnds: number;
  #timer: NodeJS.Timeout | undefined;
  /** It stood still meanwhile: what a check says then is of no use. */
  #isInterrupted = false;

  constructor(options: {
    container: Container;
    plan: HealthPlan;
    health: HealthDetails;
    startedAt: string;
    slots: Slots;
    tell: (before: HealthDetails) => void;
    stopped: () => void;
    log: Logger;
  }) {
    this.#container = options.container;
    this.#plan = options.plan;
    this.health = options.health;
    this.startedAt = options.startedAt;
    this.#slots = options.slots;
    this.#tell = options.tell;
    this.#stopped = options.stopped;
    this.#log = options.log;
    const sinceStartMs = Math.max(0, Date.now() - Date.parse(options.startedAt));
    this.#startPeriodEnds = performance.now() + this.#plan.startPeriodMs - sinceStartMs;
  }

  begin(): void {
    const last = this.health.results.at(-1);
    const sinceMs = last === undefined ? 0 : Math.max(0, Date.now() - Date.parse(last.finishedAt));
    this.#schedule(sinceMs);
  }

  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#timer);
    this.#stopped();
  }

  interrupt(): void {
    this.#isInterrupted = true;
  }

  /** `passedMs`: of the time between two checks. */
  #schedule(passedMs = 0): void {
    if (this.#stop.signal.aborted) return;
    const delayMs = Math.max(0, nextCheckMs(this.health, this.#plan, this.#inStartPeriod()) - passedMs);
    this.#timer = setTimeout(() => void this.#turn(), delayMs);
  }

  async #turn(): Promise<void> {
    try {
      await this.#check();
    } catch (error) {
      this.#log.error({ err: error, container: this.#container.id }, 'a health check failed unexpectedly');
    }
    this.#schedule();
  }

  async #check(): Promise<void> {
    const { state } = this.#container;
    if (state.kind !== 'running' || state.paused === true) return;
    this.#isInterrupted = false;
    const inStartPeriod = this.#inStartPeriod();
    const { result, gone } = await runCheck(this.#container, this.#plan, { slots: this.#slots, signal: this.#stop.signal });
    if (result !== undefined && !this.#isInterrupted && !this.#stop.signal.aborted) this.#note(result, inStartPeriod);
    await gone;
  }

  #note(result: HealthResult, inStartPeriod: boolean): void {
    const before = this.health;
    this.health = afterCheck(before, result, { retries: this.#plan.retries, inStartPeriod });
    this.#tell(before);
  }

  #inStartPeriod(): boolean {
    return performance.now() < this.#startPeriodEnds;
  }
}
