import { existsSync, rmSync, writeFileSync } from 'node:fs';
import type { EventHub } from '../events/hub.ts';
import type { Addon } from '../native/addon.ts';
import { fromNative, hasCode } from '../native/errors.ts';
import { type ContainerId, StrataError } from '../protocol/index.ts';
import { KeyedMutex } from '../store/mutex.ts';
import type { Container } from './container.ts';
import { requireRunning, silent } from './launcher.ts';
import type { SupervisorClient } from './supervisorClient.ts';
import { supervisorAnswerMs, within } from './waiting.ts';

/**
 * Containers that stand still. The kernel's freezer is the truth, `paused` of a state what was seen of it last: by whoever
 * changed it here, or by the helper that took the container over.
 *
 * Invariants: one change of a freezer is under way at a time; what is being ended is not paused any more; while an exec
 * begins nothing is frozen, for its supervisor would wait for the process that it has just made; what stands still for the sake of a request
 * (`held` in its run directory) goes on after it, also when this helper dies meanwhile and another takes over.
 */
export class ContainerPauses {
  readonly #addon: Addon;
  readonly #hub: EventHub;
  readonly #changes = new KeyedMutex<ContainerId>();
  /** Runs that somebody ends, by their supervisors. */
  readonly #ending = new WeakSet<SupervisorClient>();

  constructor(options: { addon: Addon; hub: EventHub }) {
    this.#addon = options.addon;
    this.#hub = options.hub;
  }

  async pause(container: Container): Promise<void> {
    requireRunning(container);
    container.pausing = true;
    try {
      const begun = Promise.allSettled([...container.execStarts]);
      if ((await within(begun, supervisorAnswerMs)) === undefined) throw silent(container);
      await this.#changes.run(container.id, async () => {
        if (this.#ending.has(requireRunning(container))) throw isEnding(container);
        await this.#set(container, true);
      });
    } finally {
      container.pausing = false;
    }
  }

  async resume(container: Container): Promise<void> {
    requireRunning(container);
    await this.#changes.run(container.id, () => this.#set(container, false));
  }

  /** Runs `action` while a running container stands still, and lets it go on after that, unless a person had paused it. */
  async whileStill<T>(container: Container, action: () => Promise<T>): Promise<T> {
    const { state } = container;
    if (state.kind === 'running' && state.paused === true) return await action();
    const { held } = container.paths;
    try {
      writeFileSync(held, '');
    } catch (error) {
      throw fromNative(error, `note that container "${container.record.name}" is to stand still`);
    }
    try {
      await this.pause(container);
      const still = container.state;
      const result = await action();
      if (container.state === still) return result;
      throw new StrataError(
        'COPY_INTERRUPTED',
        `container "${container.record.name}" did not stand still: it was ended or resumed meanwhile`,
      );
    } finally {
      await this.#letGoOn(container);
      rmSync(held, { force: true });
    }
  }

  async #letGoOn(container: Container): Promise<void> {
    await this.#changes.run(container.id, async () => {
      if (container.state.kind === 'running' && container.state.paused === true) await this.#set(container, false);
    });
  }

  /** Of a container that is taken over. One whose freezer cannot be read does not stand still as far as anybody knows. */
  async recall(container: Container): Promise<void> {
    const isFrozen = await this.#addon.isFrozen(container.cgroup).catch(() => false);
    if (isFrozen) note(container, true);
    if (!existsSync(container.paths.held)) return;
    await this.#letGoOn(container);
    rmSync(container.paths.held, { force: true });
  }

  /**
   * So that a signal that ends it is heard, whoever froze it: what is frozen by cgroup v1 does not even die of SIGKILL. Comes
   * after that signal, so that nothing of the container goes on in between.
   */
  async end(container: Container): Promise<void> {
    const { client } = container;
    if (client !== undefined) this.#ending.add(client);
    await this.#changes.run(container.id, async () => {
      if (await this.#addon.isFrozen(container.cgroup).catch(() => false)) await this.#set(container, false);
    });
  }

  async #set(container: Container, frozen: boolean): Promise<void> {
    try {
      await this.#addon.setFrozen(container.cgroup, frozen);
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ENODEV')) {
        // It has ended, and its cgroup is gone: nothing of it stands still.
        if (!frozen) return;
        throw isEnding(container);
      }
      throw fromNative(error, `${frozen ? 'pause' : 'resume'} container "${container.record.name}"`);
    }
    if (!note(container, frozen)) return;
    container.health?.interrupt();
    container.touch();
    this.#hub.publish('container.changed', { container: container.summary() }, { action: frozen ? 'pause' : 'unpause' });
  }
}

function isEnding({ record }: Container): StrataError {
  return new StrataError('CONTAINER_NOT_RUNNING', `container "${record.name}" is just ending`);
}

/** False where it was so already, or where it ended meanwhile. */
function note(container: Container, isPaused: boolean): boolean {
  const { state } = container;
  if (state.kind !== 'running' || (state.paused ?? false) === isPaused) return false;
  const { pid, startedAt } = state;
  container.state = { kind: 'running', pid, startedAt, ...(isPaused ? { paused: true } : {}) };
  return true;
}

/** For what takes processes of the container that go on: a new one would hang before it has run anything. */
export function requireUnpaused({ state, record, id, pausing }: Container): void {
  if (state.kind !== 'running' || (state.paused !== true && !pausing)) return;
  throw new StrataError('CONTAINER_PAUSED', `container "${record.name}" is paused`, { details: { container: id } });
}
