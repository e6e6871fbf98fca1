import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.ts';
import type { Addon, CgroupFigures, CgroupSampler } from '../native/addon.ts';
import { fromNative } from '../native/errors.ts';
import type { ContainerId, Stats } from '../protocol/index.ts';
import { statsOf } from './rates.ts';

/** A running container and where its figures are. */
export interface SampledCgroup {
  readonly id: ContainerId;
  readonly cgroup: string;
}

interface Subscriber {
  readonly intervalMs: number;
  readonly deliver: (samples: Stats[]) => void;
  /** By performance.now(): the host's clock may be set back while somebody listens. */
  dueAtMs: number;
  readonly before: Map<ContainerId, CgroupFigures>;
}

/** Over which `readOnce` takes its rates. */
const readOnceMs = 200;

/**
 * Readings of all running containers for those who subscribed.
 *
 * Invariants: one timer, and only while somebody listens and something runs; one reading at a time.
 */
export class StatsSampler {
  readonly #sampler: CgroupSampler;
  readonly #running: () => readonly SampledCgroup[];
  readonly #log: Logger;
  readonly #subscribers = new Set<Subscriber>();
  #timer: NodeJS.Timeout | undefined;
  #reading = false;

  constructor(options: { addon: Addon; running: () => readonly SampledCgroup[]; log: Logger }) {
    this.#sampler = new options.addon.CgroupSampler();
    this.#running = options.running;
    this.#log = options.log;
  }

  /** The first reading comes at once, without rates. */
  subscribe(intervalMs: number, deliver: (samples: Stats[]) => void): () => void {
    const subscriber: Subscriber = { intervalMs, deliver, dueAtMs: 0, before: new Map() };
    this.#subscribers.add(subscriber);
    this.wake();
    return () => {
      this.#subscribers.delete(subscriber);
      if (this.#subscribers.size === 0) this.#rest();
    };
  }

  /** Something began to run, or somebody began to listen. */
  wake(): void {
    if (this.#reading || this.#subscribers.size === 0 || this.#running().length === 0) return;
    const due = Math.min(...[...this.#subscribers].map((subscriber) => subscriber.dueAtMs));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#tick(), Math.max(0, due - performance.now()));
    this.#timer.unref();
  }

  async readOnce(wanted: readonly SampledCgroup[]): Promise<Stats[]> {
    const first = await this.#sample(wanted);
    await sleep(readOnceMs);
    const second = await this.#sample(wanted);
    this.#closeUnused();
    const atMs = Date.now();
    return [...second].map(([id, now]) => statsOf(id, now, first.get(id), atMs));
  }

  /** Memory in use as the limit's check counts it; undefined where nothing runs. */
  async figures(container: SampledCgroup): Promise<CgroupFigures | undefined> {
    const found = await this.#sample([container]);
    this.#closeUnused();
    return found.get(container.id);
  }

  close(): void {
    this.#rest();
    this.#subscribers.clear();
    this.#sampler.close();
  }

  async #tick(): Promise<void> {
    this.#timer = undefined;
    this.#reading = true;
    const running = this.#running();
    try {
      const figures = await this.#sample(running);
      this.#deliver(figures);
    } catch (error) {
      this.#log.error({ err: error }, 'cannot read the figures of the containers');
      // Not again at once: what is wrong may last.
      for (const subscriber of this.#subscribers) subscriber.dueAtMs = performance.now() + subscriber.intervalMs;
    } finally {
      this.#reading = false;
    }
    this.#sampler.retain(running.map(({ cgroup }) => cgroup));
    // Who listened may have left while it was read.
    if (this.#running().length === 0 || this.#subscribers.size === 0) this.#rest();
    else this.wake();
  }

  #deliver(figures: ReadonlyMap<ContainerId, CgroupFigures>): void {
    const atMs = Date.now();
    const nowMs = performance.now();
    for (const subscriber of this.#subscribers) {
      // Timers fire up to a millisecond early.
      if (subscriber.dueAtMs > nowMs + 2) continue;
      subscriber.deliver([...figures].map(([id, now]) => statsOf(id, now, subscriber.before.get(id), atMs)));
      subscriber.before.clear();
      for (const [id, now] of figures) subscriber.before.set(id, now);
      // Kept in step with the first reading, unless a slow one made it late by more than a whole interval.
      const next = subscriber.dueAtMs + subscriber.intervalMs;
      subscriber.dueAtMs = next > nowMs ? next : nowMs + subscriber.intervalMs;
    }
  }

  async #sample(wanted: readonly SampledCgroup[]): Promise<Map<ContainerId, CgroupFigures>> {
    const found = new Map<ContainerId, CgroupFigures>();
    if (wanted.length === 0) return found;
    let readings: (CgroupFigures | null)[];
    try {
      readings = await this.#sampler.sample(wanted.map(({ cgroup }) => cgroup));
    } catch (error) {
      throw fromNative(error, 'read the cgroups');
    }
    for (const [index, { id }] of wanted.entries()) {
      const figures = readings[index];
      if (figures !== undefined && figures !== null) found.set(id, figures);
    }
    return found;
  }

  /** What a single reading opened; the next one of those that come in turn would close it, where there is one. */
  #closeUnused(): void {
    if (this.#timer === undefined && !this.#reading) this.#sampler.retain([]);
  }

  /** Nobody listens or nothing runs: no timer, no open files. */
  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sampler.retain([]);
  }
}
