import { limitsDifference } from '../cgroups/limits.ts';
import type { StatsSampler } from '../cgroups/sampler.ts';
import type { Logger } from '../log.ts';
import type { Addon } from '../native/addon.ts';
import { fromNative } from '../native/errors.ts';
import { formatBytes, type Limits, StrataError } from '../protocol/index.ts';
import type { Container } from './container.ts';

/** Limits of containers that run. */
export class LiveLimits {
  readonly #addon: Addon;
  readonly #sampler: StatsSampler;
  readonly #log: Logger;

  constructor(options: { addon: Addon; sampler: StatsSampler; log: Logger }) {
    this.#log = options.log;
    this.#addon = options.addon;
    this.#sampler = options.sampler;
  }

  /** Writes what differs, all or nothing, and returns warnings. A memory limit below the present use is refused before anything is written. */
  async apply(container: Container, difference: Partial<Limits>): Promise<string[]> {
    const figures = await this.#sampler.figures({ id: container.id, cgroup: container.cgroup });
    const memory = difference.memoryMaxBytes;
    if (typeof memory === 'number' && figures !== undefined && memory < figures.memoryBytes) {
      throw new StrataError(
        'LIMIT_BELOW_USE',
        `a memory limit of ${formatBytes(memory)} is below the ${formatBytes(figures.memoryBytes)} that container "${container.record.name}" uses now`,
        { details: { askedBytes: memory, usedBytes: figures.memoryBytes } },
      );
    }
    try {
      await this.#addon.writeLimits(container.cgroup, difference);
    } catch (error) {
      throw fromNative(error, `limit container "${container.record.name}"`);
    }
    const pids = difference.pidsMax;
    if (typeof pids !== 'number' || figures === undefined || figures.pids <= pids) return [];
    return [`${figures.pids} processes run already: no new one can start until fewer than ${pids} are left`];
  }

  /** After a crash in the midst of a change nobody was answered: what the record says holds, or where the kernel refuses it what is. */
  async settle(container: Container): Promise<void> {
    try {
      const present = await this.#addon.readLimits(container.cgroup);
      const difference = limitsDifference(present, container.record.limits);
      if (Object.keys(difference).length === 0) return;
      try {
        await this.#addon.writeLimits(container.cgroup, difference);
      } catch (error) {
        this.#log.warn({ err: error, container: container.id, present }, 'the limits of a container are not those of its record');
        container.record = { ...container.record, limits: present };
      }
    } catch (error) {
      this.#log.warn({ err: error, container: container.id }, 'the limits of a container cannot be read');
    }
  }
}
