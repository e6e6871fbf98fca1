import { limitsDifference } from '../cgroups/limits.ts';
import type { EventHub, Happening } from '../events/hub.ts';
import { containerSubject } from '../events/subjects.ts';
import type { Logger } from '../log.ts';
import { fromNative } from '../native/errors.ts';
import {
  type ContainerId,
  type ContainerSummary,
  type CreateOptions,
  type Exit,
  type Limits,
  type LimitsChange,
  type RestartPolicy,
  StrataError,
} from '../protocol/index.ts';
import type { KeyedMutex } from '../store/mutex.ts';
import type { ArchiveRuns } from './archiveRuns.ts';
import { Container } from './container.ts';
import type { ContainerFiles } from './containerFiles.ts';
import { type ContainerDrafts, type Draft, requireName, requireRestartable } from './drafts.ts';
import type { ContainerEndings } from './endings.ts';
import type { Launcher, StartRequest } from './launcher.ts';
import type { LiveLimits } from './liveLimits.ts';
import type { ContainerPauses } from './pauses.ts';
import type { ContainerRecord } from './record.ts';
import type { ContainerRegistry } from './registry.ts';
import type { RestartOrders } from './restartOrders.ts';
import { beforeRestart, NO_RESTARTS, type RestartHistory } from './restartPolicy.ts';
import type { ContainerRestarts } from './restarts.ts';
import { newContainerId } from './sandboxes.ts';
import type { SandboxPool } from './sandboxPool.ts';
import type { ContainerStarts } from './starts.ts';
import type { ContainerStops, StopRequest } from './stops.ts';

/** Of containers that removed themselves, by id and by name. */
const rememberedRemovals = 512;
export interface Created {
  readonly id: ContainerId;
  readonly name: string;
  readonly warnings: string[];
}

/**
 * The life of containers: each operation checks, acts, and leaves nothing behind where it fails.
 *
 * Invariants: what starts, changes or removes a container has its turn, and looks at its state within; what ends one
 * (stop, kill, a forced removal) waits for no turn, since a start that hangs holds it.
 */
export class ContainerService {
  readonly #files: ContainerFiles;
  readonly #registry: ContainerRegistry;
  readonly #drafts: ContainerDrafts;
  readonly #endings: ContainerEndings;
  readonly #runs: ArchiveRuns;
  readonly #starts: ContainerStarts;
  readonly #pool: SandboxPool;
  readonly #launcher: Launcher;
  readonly #live: LiveLimits;
  readonly #pauses: ContainerPauses;
  readonly #stops: ContainerStops;
  readonly #restarts: ContainerRestarts;
  readonly #orders: RestartOrders;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #turns: KeyedMutex<ContainerId>;
  readonly #removed = new Map<string, { readonly id: ContainerId; readonly exit: Exit }>();

  constructor(options: {
    turns: KeyedMutex<ContainerId>;
    files: ContainerFiles;
    registry: ContainerRegistry;
    drafts: ContainerDrafts;
    endings: ContainerEndings;
    runs: ArchiveRuns;
    starts: ContainerStarts;
    pool: SandboxPool;
    launcher: Launcher;
    live: LiveLimits;
    pauses: ContainerPauses;
    stops: ContainerStops;
    restarts: ContainerRestarts;
    orders: RestartOrders;
    hub: EventHub;
    log: Logger;
  }) {
    this.#turns = options.turns;
    this.#files = options.files;
    this.#registry = options.registry;
    this.#drafts = options.drafts;
    this.#endings = options.endings;
    this.#runs = options.runs;
    this.#starts = options.starts;
    this.#pool = options.pool;
    this.#launcher = options.launcher;
    this.#live = options.live;
    this.#pauses = options.pauses;
    this.#stops = options.stops;
    this.#restarts = options.restarts;
    this.#orders = options.orders;
    this.#hub = options.hub;
    this.#log = options.log;
    options.launcher.afterExit = (container, end) => this.#afterExit(container, end);
    options.restarts.startAgain = (container, isWanted) => this.#startByPolicy(container, isWanted);
    options.orders.actions = {
      start: (container, check) => this.#start(container.id, { signal: new AbortController().signal }, check),
      removeEnded: (container) => this.#removeEnded(container),
    };
  }

  list(all: boolean): ContainerSummary[] {
    const containers = this.#registry.all();
    return containers.filter(({ state }) => all || state.kind === 'running').map((container) => container.summary());
  }

  async create(options: CreateOptions): Promise<Created> {
    const id = newContainerId();
    const { container, warnings } = this.#drafts.draft(id, options);
    try {
      this.#files.prepare(id);
      await this.#keep(container);
    } catch (error) {
      this.#registry.unclaim(id);
      await this.#clear(id);
      throw error;
    }
    return { id, name: container.record.name, warnings };
  }

  /** The path that must be fast: one turn to the disk and one to the supervisor. */
  async run(options: CreateOptions, { attachment, signal }: StartRequest): Promise<Created & { pid: number }> {
    // Before a sandbox is taken: what cannot be is refused without having touched anything.
    const usual = this.#launcher.isUsual({ plan: this.#drafts.check(options) });
    const sandbox = usual ? await this.#pool.take() : undefined;
    const id = sandbox?.id ?? newContainerId();
    let drafted: Draft;
    try {
      drafted = this.#drafts.draft(id, options);
    } catch (error) {
      if (sandbox !== undefined) await this.#pool.discard(sandbox);
      this.#pool.refill();
      throw error;
    }
    const { container, image, warnings } = drafted;
    container.record = { ...container.record, startedInBoot: this.#launcher.bootId };
    return await this.#turns.run(id, async () => {
      try {
        const known = (): void => {
          this.#registry.add(container);
          this.#hub.note(containerSubject(container.summary()), 'create');
        };
        const pid = await container.whileStarting(signal, (given) =>
          this.#starts.first(container, { sandbox, image, attachment, signal: given, known }),
        );
        return { id, name: container.record.name, warnings, pid };
      } catch (error) {
        // Who asked never learns of the container, so it must not be there.
        await this.#forget(container);
        this.#pool.refill();
        throw error;
      }
    });
  }

  async start(reference: string, request: StartRequest): Promise<number> {
    return await this.#start(reference, request, () => {});
  }

  async #start(reference: string, request: StartRequest, check: (container: Container) => void): Promise<number> {
    return await this.#turn(reference, async (container) => {
      const { record } = container;
      check(container);
      if (container.state.kind === 'running')
        throw new StrataError('CONTAINER_RUNNING', `container "${record.name}" runs already`, { hint: 'Nothing has to be done.' });
      container.requireWhole();
      this.#restarts.cancel(container);
      return await this.#startAgain(container, NO_RESTARTS, request);
    });
  }

  async #startAgain(container: Container, restarts: RestartHistory, request: StartRequest): Promise<number> {
    return await container.whileStarting(request.signal, async (signal) => {
      container.restarts = restarts;
      await this.#files.writeRestarts(container.id, restarts);
      await this.#endings.supervisorGone(container);
      await this.#runs.end(container, 'started');
      const image = this.#drafts.imageOf(container.record);
      // The image may have come back since the container was found without it.
      container.plan = this.#drafts.plan(container.record, image.config);
      return await this.#starts.again(container, { ...request, signal, image });
    });
  }

  async #startByPolicy(container: Container, isWanted: () => boolean): Promise<void> {
    await this.#turns.run(container.id, async () => {
      if (container.gone || this.#registry.isGoing(container) || container.state.kind !== 'exited' || !isWanted()) return;
      await this.#startAgain(container, beforeRestart(container.restarts), { signal: new AbortController().signal });
    });
  }

  async restart(reference: string, request: Omit<StopRequest, 'abort'>): Promise<number> {
    return await this.#orders.restart(this.#registry.find(reference), request);
  }

  async pause(reference: string): Promise<void> {
    await this.#turn(reference, (container) => this.#pauses.pause(container));
  }

  async resume(reference: string): Promise<void> {
    await this.#turn(reference, (container) => this.#pauses.resume(container));
  }

  async stop(reference: string, request: StopRequest): Promise<Exit> {
    return await this.#stops.stop(this.#registry.find(reference), request);
  }

  async kill(reference: string, signal: string | undefined, user: string): Promise<void> {
    await this.#stops.kill(this.#registry.find(reference), signal, user);
  }

  /** `user`: who asks; absent: nobody, it is removed as it asked to be. */
  async remove(reference: string, force: boolean, user?: string): Promise<ContainerId> {
    // It has removed itself meanwhile: what was wanted has happened.
    const removed = this.#registry.lookUp(reference) === undefined ? this.#removed.get(reference) : undefined;
    if (removed !== undefined) return removed.id;
    const container = this.#registry.find(reference);
    const isStarting = container.starting !== undefined;
    if (!force && (isStarting || container.state.kind === 'running')) throw runs(container);
    if (isStarting) await this.#endings.giveUpStart(container);
    await this.#remove(container, force, user);
    return container.id;
  }

  async rename(reference: string, name: string): Promise<void> {
    requireName(name);
    await this.#turn(reference, async (container) => {
      const before = container.record;
      if (before.name === name) return;
      this.#registry.rename(container, name);
      try {
        await this.#writeRecord(container, { ...before, name });
      } catch (error) {
        this.#registry.unname(name, container);
        throw error;
      }
      this.#registry.unname(before.name, container);
      this.#changed(container, { action: 'rename', attributes: { oldName: before.name } });
    });
  }

  async wait(reference: string, signal: AbortSignal): Promise<Exit> {
    const container = this.#registry.lookUp(reference);
    const removed = this.#removed.get(reference);
    if (container === undefined && removed !== undefined) return removed.exit;
    return await this.#registry.find(reference).whenExited(signal);
  }

  async update(reference: string, change: LimitsChange, restartPolicy?: RestartPolicy): Promise<{ limits: Limits; warnings: string[] }> {
    return await this.#turn(reference, async (container) => {
      const before = container.record.limits;
      if (restartPolicy !== undefined) requireRestartable(container.record.options, restartPolicy);
      const limits = this.#drafts.changeLimits(before, change);
      const difference = limitsDifference(before, limits);
      const warnings: string[] = [];
      if (container.state.kind === 'running') warnings.push(...(await this.#live.apply(container, difference)));
      try {
        await this.#writeRecord(container, { ...container.record, limits, options: withPolicy(container.record.options, restartPolicy) });
      } catch (error) {
        await this.#takeBackLimits(container, limitsDifference(limits, before));
        throw error;
      }
      container.plan = this.#drafts.plan(container.record);
      if (container.restartPolicy.name === 'no') this.#restarts.cancel(container);
      this.#changed(container, { action: 'update' });
      return { limits, warnings };
    });
  }

  /** For adoption: a container whose record was on disk. */
  restore(
    record: ContainerRecord,
    { state, cgroup, isStub }: { state: Container['state']; cgroup: string; isStub?: boolean | undefined },
  ): Container {
    const plan = this.#drafts.plan(record);
    const container = new Container({
      record,
      plan,
      state,
      paths: this.#files.paths(record.id),
      cgroup,
      isStub: isStub ?? false,
    });
    const renamed = this.#registry.add(container);
    if (renamed !== undefined) {
      this.#log.warn({ container: renamed.id, name: renamed.record.name }, 'two containers had one name: the older has another now');
    }
    return container;
  }

  async #takeBackLimits(container: Container, difference: Partial<Limits>): Promise<void> {
    if (container.state.kind !== 'running') return;
    try {
      await this.#live.apply(container, difference);
    } catch (error) {
      this.#log.error({ err: error, container: container.id }, 'cannot take back limits that could not be written down');
    }
  }

  async #keep(container: Container): Promise<void> {
    const { hostname } = container.record.options;
    if (hostname !== undefined) this.#files.setHostname(container.id, hostname);
    await this.#files.writeRecord(container.record);
    this.#registry.add(container);
    this.#changed(container, { action: 'create' });
  }

  /** Takes back a container whose run failed. */
  async #forget(container: Container): Promise<void> {
    const known = this.#registry.get(container.id) !== undefined;
    this.#registry.hide(container);
    this.#registry.unclaim(container.id);
    container.leave();
    await this.#clear(container.id);
    if (known) this.#removedNow(container);
  }

  async #clear(id: ContainerId): Promise<void> {
    try {
      await this.#files.remove(id);
    } catch (error) {
      this.#log.error({ err: error, container: id }, 'cannot remove the files of a container; the next start tries again');
    }
  }

  #afterExit(container: Container, { exit, hasRun }: { readonly exit: Exit; readonly hasRun: boolean }): void {
    if (!container.autoRemove) {
      // Whoever asked for a start that came to nothing has been told.
      if (hasRun) this.#restarts.afterExit(container, exit);
      return;
    }
    if (!this.#orders.isUnderWay(container)) this.#removeEnded(container);
  }

  #removeEnded(container: Container): void {
    const failed = (error: unknown): void =>
      this.#log.error({ err: error, container: container.id }, 'cannot remove a container after its exit');
    try {
      // Its name is free at once: a script that runs one after the other under the same name need not wait for files to go.
      this.#release(container);
      this.#remove(container, true).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  async #remove(container: Container, force: boolean, user?: string): Promise<void> {
    try {
      await this.#turns.run(container.id, () => this.#removeNow(container, force, user));
    } catch (error) {
      throw fromNative(error, `remove container "${container.record.name}"`);
    }
  }

  async #removeNow(container: Container, force: boolean, user: string | undefined): Promise<void> {
    // Who asked before has removed it.
    if (container.gone) return;
    if (container.state.kind === 'running') {
      if (!force) throw runs(container);
      await this.#endings.end(container, { by: 'remove', ...(user === undefined ? {} : { user }) });
    }
    this.#restarts.cancel(container);
    this.#release(container);
    await this.#endings.supervisorGone(container);
    await this.#runs.end(container, 'removed');
    await this.#files.remove(container.id);
    this.#registry.hide(container);
    container.leave();
    this.#removedNow(container);
  }

  #removedNow(container: Container): void {
    this.#hub.publish('container.removed', { id: container.id }, { subject: containerSubject(container.summary()) });
  }

  /** From here on it is going: another may have its name. May be repeated. */
  #release(container: Container): void {
    if (this.#registry.isGoing(container)) return;
    // First: after a crash no two must have the name.
    this.#files.removeRecord(container.id);
    this.#registry.release(container);
    this.#remember(container);
  }

  /** Under the container's turn, if it is still there by then. */
  async #turn<T>(reference: string, action: (container: Container) => Promise<T>): Promise<T> {
    const { id } = this.#registry.find(reference);
    return await this.#turns.run(id, async () => {
      const container = this.#registry.find(id);
      if (!this.#registry.isGoing(container)) return await action(container);
      throw new StrataError('CONTAINER_NOT_FOUND', `container "${container.record.name}" is being removed`, { details: { container: id } });
    });
  }

  /** Who asks for its exit, or for its removal, a moment later still learns that all is well. */
  #remember(container: Container): void {
    if (container.state.kind !== 'exited' || !container.autoRemove) return;
    for (const key of [container.id, container.record.name]) {
      this.#removed.delete(key);
      this.#removed.set(key, { id: container.id, exit: container.state.exit });
    }
    for (const oldest of this.#removed.keys()) {
      if (this.#removed.size <= rememberedRemovals) break;
      this.#removed.delete(oldest);
    }
  }

  async #writeRecord(container: Container, record: ContainerRecord): Promise<void> {
    container.requireWhole();
    await this.#files.writeRecord(record);
    container.record = record;
  }

  #changed(container: Container, happening: Happening): void {
    container.touch();
    this.#hub.publish('container.changed', { container: container.summary() }, happening);
  }
}

function withPolicy(options: CreateOptions, restartPolicy: RestartPolicy | undefined): CreateOptions {
  return restartPolicy === undefined ? options : { ...options, restartPolicy };
}

function runs(container: Container): StrataError {
  return new StrataError('CONTAINER_RUNNING', `container "${container.record.name}" runs`, { details: { container: container.id } });
}
