import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MissedEvents } from '../events/missed.ts';
import type { Logger } from '../log.ts';
import type { Addon } from '../native/addon.ts';
import { hasCode } from '../native/errors.ts';
import { type ContainerId, containerIdSchema, DEFAULT_LIMITS, digestSchema } from '../protocol/index.ts';
import type { Layout } from '../store/layout.ts';
import { DamagedRecordError, readRecord } from '../store/record.ts';
import type { Container } from './container.ts';
import type { ContainerFiles } from './containerFiles.ts';
import type { ContainerService } from './containerService.ts';
import { decodeNote } from './endingNote.ts';
import type { ContainerExecs } from './execs.ts';
import { exitOf } from './exitReason.ts';
import type { ExitRecords } from './exitRecords.ts';
import type { ContainerHealth } from './health.ts';
import { type Launcher, lostReason } from './launcher.ts';
import type { LiveLimits } from './liveLimits.ts';
import type { ContainerPauses } from './pauses.ts';
import { type ContainerRecord, containerFormat, type ExitRecord, startedFormat } from './record.ts';
import type { RestartOrders } from './restartOrders.ts';
import type { ContainerRestarts } from './restarts.ts';
import type { SandboxFactory } from './sandboxes.ts';
import type { SandboxPool } from './sandboxPool.ts';
import { isEndingSignal } from './stops.ts';
import { inTurns, within } from './waiting.ts';

/** A record as it was read, or a stub in the place of one that cannot be. */
interface Known {
  readonly record: ContainerRecord;
  readonly isStub: boolean;
}

type Found = Awaited<ReturnType<SandboxFactory['connect']>>;

/** What was asked of the supervisor of a container, if it has one. */
interface Question {
  readonly id: ContainerId;
  readonly connecting: Promise<Found | undefined>;
  /** Undefined when it has taken too long. */
  readonly answer: Promise<{ readonly found: Found | undefined } | undefined>;
}

/** How long one supervisor may keep a helper from its start. */
const answerMs = 3000;
/** Between two questions to a supervisor whose queue of connections is full. */
const askAgainMs = 200;
/** Of a thousand at once each would hold what it has read so far, and wait for libuv's four threads. */
const adoptedAtOnce = 32;

/**
 * What a helper finds at its start: containers that run, ended while nobody looked, or were being made when somebody died.
 * Only ids below this helper's own two directories are touched; others may share its cgroup parent.
 */
export class Adoption {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #files: ContainerFiles;
  readonly #exits: ExitRecords;
  readonly #factory: SandboxFactory;
  readonly #pool: SandboxPool;
  readonly #launcher: Launcher;
  readonly #service: ContainerService;
  readonly #execs: ContainerExecs;
  readonly #health: ContainerHealth;
  readonly #pauses: ContainerPauses;
  readonly #restarts: ContainerRestarts;
  readonly #orders: RestartOrders;
  readonly #live: LiveLimits;
  readonly #missed: MissedEvents;
  readonly #bootTimeMs: number;
  readonly #log: Logger;

  constructor(options: {
    layout: Layout;
    addon: Addon;
    files: ContainerFiles;
    exits: ExitRecords;
    factory: SandboxFactory;
    pool: SandboxPool;
    launcher: Launcher;
    service: ContainerService;
    execs: ContainerExecs;
    health: ContainerHealth;
    pauses: ContainerPauses;
    restarts: ContainerRestarts;
    orders: RestartOrders;
    live: LiveLimits;
    missed: MissedEvents;
    bootTimeMs: number;
    log: Logger;
  }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#files = options.files;
    this.#exits = options.exits;
    this.#factory = options.factory;
    this.#pool = options.pool;
    this.#launcher = options.launcher;
    this.#service = options.service;
    this.#execs = options.execs;
    this.#health = options.health;
    this.#pauses = options.pauses;
    this.#restarts = options.restarts;
    this.#orders = options.orders;
    this.#live = options.live;
    this.#missed = options.missed;
    this.#bootTimeMs = options.bootTimeMs;
    this.#log = options.log;
  }

  async adoptAll(): Promise<void> {
    await this.#files.open();
    const inRun = await idsIn(this.#layout.runContainers);
    const all = new Set([...(await idsIn(this.#layout.containers)), ...inRun]);
    // Asked all at once: however many do not answer, they are waited for together.
    const questions = [...all].map((id) => this.#ask(id, inRun.has(id)));
    await inTurns(questions, adoptedAtOnce, (question) => this.#adoptSafely(question));
  }

  #ask(id: ContainerId, hasRun: boolean): Question {
    const connecting = hasRun ? this.#connect(id) : Promise.resolve(undefined);
    const answer = within(
      connecting.then((found) => ({ found })),
      answerMs,
    );
    // Until it is this one's turn nobody listens.
    answer.catch(() => {});
    return { id, connecting, answer };
  }

  /** One that cannot be read must not keep the others away. */
  async #adoptSafely({ id, connecting, answer: asked }: Question): Promise<void> {
    try {
      const answer = await asked;
      await this.#files.removeTemporary(id, { hasSupervisor: answer === undefined || answer.found !== undefined });
      const known = await this.#readRecord(id, answer?.found);
      if (answer === undefined) await this.#adoptLater(id, known, connecting);
      else if (known === undefined) await this.#adoptUnnamed(id, answer.found);
      else await this.#adopt(known, answer.found);
    } catch (error) {
      this.#log.error({ err: error, container: id }, 'cannot take over a container; it is left as it is');
    }
  }

  /** Undefined where nobody listens. Any other trouble says nothing about the container: it may well run. */
  async #connect(id: ContainerId, again = true): Promise<Found | undefined> {
    try {
      return await this.#factory.connect(id);
    } catch (error) {
      if (hasCode(error, 'ENOENT') || hasCode(error, 'ECONNREFUSED')) return undefined;
      // It is there and takes no connection, or has no room for one more: those of the helper before fill its queue, or others do.
      if (hasCode(error, 'EAGAIN') || hasCode(error, 'TOO_MANY_REQUESTS')) {
        await sleep(askAgainMs, undefined, { ref: false });
        return await this.#connect(id);
      }
      // It may have ended while it was asked; then nobody listens now.
      if (again) return await this.#connect(id, false);
      throw error;
    }
  }

  /**
   * The record of a container that removes itself is written without fsync: a power loss can leave it empty. What needs no
   * sync goes at the reboot, so such a one is as good as none. One that is merely damaged a person may still want to mend;
   * until then a stub is shown, for what runs must be seen and stopped.
   */
  async #readRecord(id: ContainerId, found: Found | undefined): Promise<Known | undefined> {
    const paths = this.#files.paths(id);
    try {
      const record = await readRecord(paths.record, containerFormat);
      return record === undefined ? undefined : { record, isStub: false };
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
      if (found === undefined && (await this.#isTorn(paths.record))) {
        this.#log.warn({ container: id }, 'a container that a crash of the host left half written is removed');
        return undefined;
      }
      const { mtime } = await stat(paths.record);
      const record = stubRecord(id, { bootId: this.#launcher.bootId, createdAt: mtime.toISOString() });
      this.#log.error(
        { err: error, container: id, name: record.name },
        'the record of a container is damaged; it can be stopped and removed',
      );
      return { record, isStub: true };
    }
  }

  async #isTorn(path: string): Promise<boolean> {
    const [bytes, { mtimeMs }] = await Promise.all([readFile(path), stat(path)]);
    return mtimeMs < this.#bootTimeMs && bytes.every((byte) => byte === 0);
  }

  /** Nobody was told of it: a warm sandbox, or half of a container. */
  async #adoptUnnamed(id: ContainerId, found: Found | undefined): Promise<void> {
    // One of an earlier version would stay one for all the life of its container.
    if (found?.hello.phase === 'sandbox' && found.client.isCurrent && this.#pool.adopt(found)) return;
    if (found?.hello.phase === 'running') {
      // Somebody's data is on another --root: what runs is not this helper's to end.
      this.#log.error(
        { container: id, run: this.#files.paths(id).run },
        'a container runs that this data directory does not know; it is left alone',
      );
      found.client.close();
      return;
    }
    if (found !== undefined) {
      await this.#pool.discard(found);
      return;
    }
    await this.#addon.destroyCgroup(await this.#factory.cgroupFor(id));
    await this.#files.remove(id);
  }

  async #adopt(known: Known, found: Found | undefined): Promise<void> {
    const { record } = known;
    if (found?.hello.phase === 'running') {
      const container = await this.#restore(known, await this.#running(record, found));
      this.#launcher.adopt(container, found);
      await this.#recall(container, found);
      await this.#settleLimits(container);
      this.#log.info({ container: record.id, name: record.name }, 'running container taken over');
      return;
    }
    if (found?.hello.phase === 'exited') await this.#ended(found);
    else if (found !== undefined && !(await this.#factory.discardIdle(found))) {
      await this.#adoptStarting(known, found);
      return;
    }
    await this.#addon.destroyCgroup(await this.#factory.cgroupFor(record.id));
    const mayHaveRun = found === undefined && this.#mayHaveRun(record);
    const exit = await this.#exitOf(record.id, { found, mayHaveRun });
    if (exit === 'damaged') await this.#settleLost(known, 'its exit record is damaged');
    else if (exit !== undefined) await this.#settle(known, exit);
    // Between its record and its start somebody died: it was never started, whatever the record says.
    else if (known.isStub || !mayHaveRun) await this.#settleUnstarted(known, found !== undefined);
    else await this.#settleLost(known, record.startedInBoot === this.#launcher.bootId ? lostReason : 'the host restarted');
  }

  /** Somebody died while it was being started; it is at it, and in a moment it runs or has ended. */
  async #adoptStarting(known: Known, { id, client }: Found): Promise<void> {
    const connecting = whenStarted(client).then(() => {
      client.close();
      return this.#connect(id);
    });
    const answer = await within(
      connecting.then((found) => ({ found })),
      answerMs,
    );
    if (answer === undefined) await this.#adoptLater(id, known, connecting);
    else await this.#adopt(known, answer.found);
  }

  /** Whether its last start came so far that somebody ran it. A supervisor that ends by itself takes its file away. */
  #mayHaveRun({ id, startedInBoot }: ContainerRecord): boolean {
    const { started, supervisor } = this.#files.paths(id);
    if (startedInBoot !== this.#launcher.bootId) return startedInBoot !== null;
    return existsSync(started) || existsSync(supervisor);
  }

  /** Of the last run; of the one before where somebody died in the start of another before anything can have run. */
  async #exitOf(
    id: ContainerId,
    { found, mayHaveRun }: { found: Found | undefined; mayHaveRun: boolean },
  ): Promise<ExitRecord | 'damaged' | undefined> {
    const written = await this.#exits.read(id);
    // Where it could write nothing its word is all there is.
    if (found?.hello.phase === 'exited') return written ?? found.hello.exit;
    if (written !== undefined || mayHaveRun) return written;
    await this.#files.putExitBack(id);
    return await this.#exits.read(id);
  }

  async #restore({ record, isStub }: Known, state: Container['state']): Promise<Container> {
    const container = this.#service.restore(record, { state, isStub, cgroup: await this.#factory.cgroupFor(record.id) });
    container.restarts = await this.#files.readRestarts(record.id);
    await this.#orders.recall(container);
    this.#missed.found(container.summary());
    return container;
  }

  /** What is true of a container that runs and no record says. */
  async #recall(container: Container, { client }: Found): Promise<void> {
    await this.#pauses.recall(container);
    await this.#execs.recall(container, client, this.#missed.execsOf(container.id));
    await this.#health.recall(container);
    this.#orders.goOn(container);
  }

  async #settleLimits(container: Container): Promise<void> {
    if (!container.isStub) await this.#live.settle(container);
  }

  /**
   * A supervisor that listens and does not answer: stopped, or waiting for a disk. Its container may run and be well, so
   * it is shown as running; whatever the supervisor says or whether it ends, the question that was asked tells.
   */
  async #adoptLater(id: ContainerId, known: Known | undefined, connecting: Promise<Found | undefined>): Promise<void> {
    this.#log.warn({ container: id }, 'a supervisor does not answer; the helper goes on without it');
    const container = known === undefined ? undefined : await this.#restore(known, await this.#running(known.record, undefined));
    if (container !== undefined) await this.#settleLimits(container);
    connecting
      .then((found) => (container === undefined ? this.#adoptUnnamed(id, found) : this.#adoptLate(container, found)))
      .catch((error: unknown) => this.#log.error({ err: error, container: id }, 'cannot take over a container; it is left as it is'));
  }

  async #adoptLate(container: Container, found: Found | undefined): Promise<void> {
    if (container.gone || container.state.kind !== 'running') {
      found?.client.close();
      return;
    }
    if (found?.hello.phase === 'running') {
      this.#launcher.adopt(container, found);
      await this.#recall(container, found);
      this.#log.info({ container: container.id }, 'a supervisor answers again');
      return;
    }
    if (found?.hello.phase === 'exited') await this.#ended(found);
    else if (found !== undefined) await this.#factory.discard(found);
    await this.#launcher.noteLost(container, lostReason);
    if (!this.#orders.goOn(container) && container.autoRemove) await this.#service.remove(container.id, true);
  }

  /** Waits until a supervisor that has told the exit has cleared away. */
  async #ended(found: Found): Promise<void> {
    const closed = found.client.closed.then(() => true);
    if ((await within(closed, answerMs)) === undefined) await this.#factory.kill(found.id);
    found.client.close();
  }

  /** Whoever started it may have died before it could note when that was; then the supervisor tells, unless it is an old one. */
  async #running(record: ContainerRecord, found: Found | undefined): Promise<Container['state']> {
    const { hello } = found ?? {};
    const started = await this.#started(record);
    if (started !== undefined) return started;
    return { kind: 'running', pid: hello?.init.pid ?? 0, startedAt: hello?.startedAt ?? record.createdAt };
  }

  async #started({ id }: ContainerRecord): Promise<Container['state'] | undefined> {
    const started = await readRecord(this.#files.paths(id).started, startedFormat);
    return started === undefined ? undefined : { kind: 'running', pid: started.pid, startedAt: started.startedAt };
  }

  async #settle(known: Known, exit: ExitRecord): Promise<void> {
    const { record } = known;
    const state: Container['state'] = {
      kind: 'exited',
      exit: exitOf(exit, record.limits.memoryMaxBytes),
      startedAt: exit.startedAt ?? null,
    };
    await this.#removeRun(record);
    const container = await this.#restore(known, state);
    // The helper that was asked may have died before it could write that down.
    if (wasEndedByPerson(exit, container)) container.restarts = { ...container.restarts, stoppedByPerson: true };
    await this.#afterEnd(container);
  }

  /** It ended while no helper was there. */
  async #afterEnd(container: Container): Promise<void> {
    if (this.#orders.goOn(container)) return;
    if (container.autoRemove) await this.#service.remove(container.id, true);
    else this.#restarts.afterAdoption(container);
  }

  async #settleUnstarted(known: Known, wasStarting: boolean): Promise<void> {
    await this.#files.removeRun(known.record.id);
    const record: ContainerRecord = { ...known.record, startedInBoot: null };
    if (known.record.startedInBoot !== null && !known.isStub) {
      // On a full disk it is so all the same.
      await this.#files.writeRecord(record).catch((error: unknown) => this.#log.warn({ err: error }, 'cannot write that a start failed'));
    }
    this.#orders.goOn(await this.#restore({ ...known, record }, { kind: 'created' }));
    if (wasStarting && record.options.autoRemove === true) await this.#service.remove(record.id, true);
  }

  async #settleLost(known: Known, reason: string): Promise<void> {
    const container = await this.#restore(known, (await this.#started(known.record)) ?? { kind: 'created' });
    await this.#launcher.noteLost(container, reason);
    await this.#removeRun(known.record);
    await this.#afterEnd(container);
  }

  /** Unless the only word of how it ended is there. */
  async #removeRun(record: ContainerRecord): Promise<void> {
    try {
      await this.#exits.settle(record.id, { volatile: record.options.autoRemove ?? false });
    } catch (error) {
      this.#log.warn({ err: error, container: record.id }, 'the exit of a container stays in the run directory');
      return;
    }
    await this.#files.removeRun(record.id);
  }
}

/** By a stop, a kill or a removal, as its supervisor was told. */
function wasEndedByPerson({ requested }: ExitRecord, { plan }: Container): boolean {
  if (requested === undefined || requested === null) return false;
  const by = decodeNote(requested.note)?.by;
  return by === 'stop' || by === 'remove' || (by === 'kill' && isEndingSignal(requested.signal, plan.stopSignal));
}

/** Or over before it came to that. */
async function whenStarted(client: Found['client']): Promise<void> {
  const told = Promise.withResolvers<void>();
  const off = client.onEvent(({ event }) => {
    if (event === 'started' || event === 'exited') told.resolve();
  });
  // It may have been told just before.
  const asked = client.hello().then(
    ({ phase }) => (phase === 'running' || phase === 'exited' ? undefined : told.promise),
    () => undefined,
  );
  await Promise.race([told.promise, client.closed, asked]);
  off();
}

async function idsIn(directory: string): Promise<Set<ContainerId>> {
  const names = await readdir(directory);
  return new Set(names.flatMap((name) => containerIdSchema.safeParse(name).data ?? []));
}

/** What can be told of a container whose record is damaged. */
function stubRecord(id: ContainerId, { bootId, createdAt }: { bootId: string; createdAt: string }): ContainerRecord {
  const unknown = '(unknown)';
  return {
    id,
    name: `damaged-${id.slice(0, 8)}`,
    image: unknown,
    imageId: digestSchema.parse(`sha256:${'0'.repeat(64)}`),
    options: { image: unknown },
    limits: DEFAULT_LIMITS,
    createdAt,
    startedInBoot: bootId,
  };
}
