import {
  type ContainerId,
  type ContainerState,
  type ContainerSummary,
  type ExecSession,
  type Exit,
  type HealthDetails,
  maxSummaryCommandLength,
  type RestartPolicy,
  StrataError,
} from '../protocol/index.ts';
import type { ContainerPaths } from '../store/layout.ts';
import type { Attachments } from './attachments.ts';
import { limitationsOf } from './limitations.ts';
import type { LogPump } from './logs/pump.ts';
import type { ContainerPlan } from './plan.ts';
import type { ContainerRecord } from './record.ts';
import { NO_POLICY, NO_RESTARTS, type RestartHistory } from './restartPolicy.ts';
import type { SupervisorClient } from './supervisorClient.ts';

/** An exec session that is under way. */
export interface RunningExec {
  readonly session: ExecSession;
  readonly supervisorSession: number;
}

/** What looks after its health. */
export interface Watched {
  readonly health: HealthDetails;
  /** It stands still from now on, or did: a check that is under way says nothing. */
  interrupt(): void;
  stop(): void;
}

/**
 * A container in memory: its record, and what is true of it now. Who changes what is published (revision, summary) calls
 * `touch`.
 */
export class Container {
  readonly paths: ContainerPaths;
  /** Of the run that is or was; a supervisor that another helper started may have its own. */
  cgroup: string;
  /** Its record is damaged and this one a stand-in: it can be stopped and removed, and is never written. */
  readonly isStub: boolean;
  readonly execs = new Map<string, RunningExec>();
  record: ContainerRecord;
  plan: ContainerPlan;
  state: ContainerState;
  /** While it is started again: what is told of it until it runs, or has ended anew. */
  stateBefore: ContainerState | undefined;
  /** How often somebody asked for its end: who restarts it looks whether another did meanwhile. */
  stopsAsked = 0;
  /** Starts of exec sessions that are under way. */
  readonly execStarts = new Set<Promise<unknown>>();
  /** Of the present run, or of the last one. */
  health: Watched | undefined;
  /** It is about to stand still: no exec may begin. */
  pausing = false;
  /** As its file has it, or is about to. */
  restarts: RestartHistory = NO_RESTARTS;
  /** Why its supervisor is about to be gone, where this helper sees to that. */
  lostReason: string | undefined;
  /** The connection to its supervisor while there is one. */
  client: SupervisorClient | undefined;
  supervisorPid: number | undefined;
  /** Clients that are joined to this run of it. */
  attachments: Attachments | undefined;
  /** Settles when a start that is under way is over, one way or the other. */
  starting: Promise<void> | undefined;
  #giveUpStart: AbortController | undefined;
  /** Nobody finds it any more, and its exit is no news. */
  #gone = false;
  #revision = 1;
  readonly #pumps = new Set<LogPump>();
  readonly #waiters = new Set<PromiseWithResolvers<Exit>>();

  constructor(options: {
    record: ContainerRecord;
    plan: ContainerPlan;
    state: ContainerState;
    paths: ContainerPaths;
    cgroup: string;
    isStub?: boolean;
  }) {
    this.record = options.record;
    this.plan = options.plan;
    this.state = options.state;
    this.paths = options.paths;
    this.cgroup = options.cgroup;
    this.isStub = options.isStub ?? false;
  }

  get id(): ContainerId {
    return this.record.id;
  }

  get autoRemove(): boolean {
    return this.record.options.autoRemove ?? false;
  }

  get restartPolicy(): RestartPolicy {
    return this.record.options.restartPolicy ?? NO_POLICY;
  }

  /** Runs a start, which `giveUpStart` gives up like whoever asked for it by `signal`. */
  async whileStarting<T>(signal: AbortSignal, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const giveUp = new AbortController();
    this.#giveUpStart = giveUp;
    try {
      return await start(AbortSignal.any([signal, giveUp.signal]));
    } finally {
      this.#giveUpStart = undefined;
    }
  }

  /** Begins an exec, which whoever lets it stand still waits for. */
  async whileExecStarts<T>(begin: () => Promise<T>): Promise<T> {
    const starting = begin();
    this.execStarts.add(starting);
    try {
      return await starting;
    } finally {
      this.execStarts.delete(starting);
    }
  }

  giveUpStart(): void {
    this.#giveUpStart?.abort();
  }

  /** Before its record is written: a stub must not take the place of what a person may mend. */
  requireWhole(): void {
    if (!this.isStub) return;
    throw new StrataError('INTERNAL', `the record of container "${this.record.name}" is damaged`, {
      hint: 'Mend its file and start the helper again, or remove the container.',
      details: { path: this.paths.record },
    });
  }

  touch(): void {
    this.#revision += 1;
  }

  summary(): ContainerSummary {
    const { record } = this;
    const limitations = limitationsOf(this);
    return {
      id: record.id,
      name: record.name,
      image: record.image,
      imageId: record.imageId,
      command: shortenedCommand(this.plan.config.process.args),
      createdAt: record.createdAt,
      state: this.state.kind === 'created' ? (this.stateBefore ?? this.state) : this.state,
      ...(this.state.kind === 'running' ? healthOf(this.health) : {}),
      tty: record.options.tty ?? false,
      openStdin: record.options.openStdin ?? false,
      autoRemove: this.autoRemove,
      restartPolicy: this.restartPolicy,
      restartCount: this.restarts.count,
      labels: record.options.labels ?? {},
      limits: record.limits,
      ...(limitations.length === 0 ? {} : { limitations }),
      revision: this.#revision,
    };
  }

  /** The exit of the present or next run. Who gives up leaves nothing behind: a container may run for months. */
  whenExited(signal?: AbortSignal): Promise<Exit> {
    if (this.state.kind === 'exited') return Promise.resolve(this.state.exit);
    const waiter = Promise.withResolvers<Exit>();
    // Maybe nobody waits for it any more.
    waiter.promise.catch(() => {});
    const giveUp = (): void => {
      this.#waiters.delete(waiter);
      waiter.reject(new StrataError('CANCELLED', 'the request was cancelled'));
    };
    if (signal?.aborted === true) giveUp();
    else {
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', giveUp, { once: true });
    }
    return waiter.promise;
  }

  /** Tells those who wait, and the readers of its output that no more will come. */
  announceExit(exit: Exit): void {
    for (const waiter of this.#waiters) waiter.resolve(exit);
    this.#waiters.clear();
    this.#finishReaders();
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** It was removed. Who waits for an exit learns that none will come. */
  leave(): void {
    this.#gone = true;
    this.health?.stop();
    const error = new StrataError('CONTAINER_NOT_FOUND', `container "${this.record.name}" was removed`, {
      details: { container: this.id },
    });
    for (const waiter of this.#waiters) waiter.reject(error);
    this.#waiters.clear();
    this.#finishReaders();
  }

  /** A reader of the output from now on. The supervisor says when there is more, as long as anybody wants to know. */
  addReader(pump: LogPump): void {
    const first = this.#pumps.size === 0;
    this.#pumps.add(pump);
    if (first) this.#follow(true);
    void pump.done.then(() => {
      if (this.#pumps.delete(pump) && this.#pumps.size === 0) this.#follow(false);
    });
  }

  /** Its supervisor can be asked, now or again: for readers that came while it could not. */
  followAgain(): void {
    if (this.#pumps.size > 0) this.#follow(true);
  }

  wakeReaders(): void {
    for (const pump of this.#pumps) pump.wake();
  }

  #finishReaders(): void {
    for (const pump of this.#pumps) pump.finish();
    this.#pumps.clear();
  }

  #follow(on: boolean): void {
    const { client } = this;
    if (client === undefined || client.isClosed) return;
    // What was written before the supervisor began to tell is found by this one look. Should it have gone, its exit comes.
    client.request('follow', { on }, { doing: 'follow the log' }).then(
      () => this.wakeReaders(),
      () => {},
    );
  }
}

function healthOf(watched: Watched | undefined): Pick<ContainerSummary, 'health'> {
  if (watched === undefined) return {};
  const { status, failingStreak } = watched.health;
  return { health: { status, failingStreak } };
}

/** For what lists and events carry: a command line may be megabytes, of which nobody can read more than its beginning. */
export function shortenedCommand(args: readonly string[]): string[] {
  const short: string[] = [];
  let left = maxSummaryCommandLength;
  for (const arg of args) {
    // An argument counts with the blank before it, so that empty ones come to an end too.
    if (arg.length + 1 > left) {
      short.push(`${arg.slice(0, Math.max(0, left - 2))}…`);
      break;
    }
    short.push(arg);
    left -= arg.length + 1;
  }
  return short;
}
