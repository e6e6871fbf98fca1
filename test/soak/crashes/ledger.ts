import { existsSync } from 'node:fs';
import * as path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { ContainerState, ContainerSummary, Exit } from '../../../helper/protocol/index.ts';
import type { Connection } from '../../../helper/wire/connection.ts';
import type { Place } from '../../integration/support/helperProcess.ts';
import { namesIn } from '../place.ts';
import { countRuns, statusOf, statusOfTerm, type Traits } from './bodies.ts';
import { mayStartAgain, policyProblems, type Rest } from './policies.ts';

/** What may have ended a run. */
export type Cause = 'itself' | 'stopped' | 'killed' | 'supervisor';

/** A container as a client was last told that it is. */
export interface Known {
  summary: ContainerSummary;
  readonly traits: Traits;
  /** Of the present run's end, or of the last one's. */
  readonly causes: Set<Cause>;
  /** Runs that have left their line when it was last listed; undefined: a state was told since. */
  runs: number | undefined;
  /** Starts that were asked for. */
  starts: number;
  /** Starts by its policy, but for those since the last that was asked for. */
  earlierRestarts: number;
  rest: Rest;
}

export type OperationKind =
  | 'create'
  | 'run'
  | 'start'
  | 'exec'
  | 'pause'
  | 'resume'
  | 'stop'
  | 'kill'
  | 'restart'
  | 'remove'
  | 'rename'
  | 'update';

/** What was asked for when the crash came, and what the client heard of it. */
export interface UnderWay {
  readonly kind: OperationKind;
  /** The container that it is about, or the name and traits of a new one. */
  readonly target: string;
  readonly traits: Traits;
  outcome: 'unheard' | 'answered' | 'refused';
  error?: string;
}

/**
 * What a client was told of its containers, by answers and by events, and whether what a helper says later agrees.
 *
 * Invariant: `known` holds what was told to be and not told to be gone.
 */
export class Ledger {
  readonly known = new Map<string, Known>();
  readonly #removed = new Set<string>();
  /** Containers whose supervisor was killed, and when. */
  readonly #struck = new Map<string, number>();
  readonly #directory: string;
  /** A helper on a full disk forgets, when it ends, what a person asked for. */
  readonly #isForgetful: boolean;
  underWay: UnderWay | undefined;
  /** Ends of runs that were listed, each once. */
  readonly ends = new Set<string>();

  constructor(place: Place, options: { isForgetful: boolean }) {
    this.#directory = path.join(place.root, 'containers');
    this.#isForgetful = options.isForgetful;
  }

  /** Everything that this connection, to a new helper, hears from now on counts as told. */
  listen(connection: Connection): void {
    // What runs always is brought back by each helper, whoever had stopped it.
    for (const known of this.known.values()) if (known.summary.restartPolicy.name === 'always') known.rest = 'no';
    connection.onEvent((event, params) => {
      if (event === 'container.changed' && 'container' in params && typeof params.container === 'object') this.#told(params.container);
      if (event === 'container.exited' && 'exit' in params) this.#toldExit(params.id, params.exit);
      if (event === 'container.removed' && 'id' in params) this.forget(params.id as string);
    });
  }

  #told(summary: ContainerSummary): void {
    const known = this.known.get(summary.id);
    if (known !== undefined) this.#take(known, summary, undefined);
    else if (!this.#removed.has(summary.id)) this.#add(summary);
  }

  #toldExit(id: string, exit: Exit): void {
    const known = this.known.get(id);
    if (known === undefined) return;
    const { state } = known.summary;
    known.runs = undefined;
    known.summary = { ...known.summary, state: { kind: 'exited', exit, startedAt: state.kind === 'created' ? null : state.startedAt } };
  }

  /** Its supervisor was killed just now, which nobody may have told of yet. */
  strike(id: string): void {
    this.#struck.set(id, Date.now());
    this.known.get(id)?.causes.add('supervisor');
  }

  /** What a person wants of it, whose answer is not there yet, or is. */
  want(known: Known, rest: Rest): void {
    known.rest = rest === 'yes' && this.#isForgetful ? 'maybe' : rest;
  }

  #add(summary: ContainerSummary): Known {
    const { underWay } = this;
    const isNew = underWay?.target === summary.name;
    const traits: Traits = isNew ? underWay.traits : { body: 'sleeper', init: false, healthChecked: false };
    const causes = new Set<Cause>(traits.body === 'brief' ? ['itself'] : []);
    if (this.#struck.has(summary.id)) causes.add('supervisor');
    const starts = underWay?.kind === 'run' ? 1 : 0;
    const known: Known = { summary, traits, causes, runs: undefined, starts, earlierRestarts: 0, rest: 'no' };
    this.known.set(summary.id, known);
    return known;
  }

  /** It is so from now on. Another run is not ended by what has ended the one before. */
  #take(known: Known, now: ContainerSummary, runs: number | undefined): void {
    const before = known.summary;
    if (now.restartCount < before.restartCount) known.earlierRestarts += before.restartCount;
    if (now.state.kind === 'running' && !isSameRun(before.state, now.state)) {
      const isAsked = this.underWay?.target === now.id;
      const isStruck = (this.#struck.get(now.id) ?? 0) >= Date.parse(now.state.startedAt);
      if (!isAsked) for (const cause of ['stopped', 'killed'] as const) known.causes.delete(cause);
      if (!isStruck) known.causes.delete('supervisor');
    }
    known.summary = now;
    known.runs = runs;
  }

  /** Whether the run that is listed has to come to its end without anybody asking for it. */
  mustEnd({ id, state, restartPolicy }: ContainerSummary): boolean {
    if (state.kind !== 'running') return false;
    const isBrief = this.known.get(id)?.traits.body === 'brief' && restartPolicy.name === 'no' && state.paused !== true;
    return isBrief || Date.parse(state.startedAt) <= (this.#struck.get(id) ?? 0);
  }

  /** How often each has run as far as can be seen on the host: to be counted before it is listed, so that it is never more. */
  countRuns(): ReadonlyMap<string, number> {
    return new Map(namesIn(this.#directory).map((id) => [id, countRuns(path.join(this.#directory, id))]));
  }

  /** Those that a helper goes on with by itself, by what is seen on the host. */
  pendingRestarts(): string[] {
    return namesIn(this.#directory).filter((id) => existsSync(path.join(this.#directory, id, 'restart.json')));
  }

  /** It was told to be gone. */
  forget(id: string): void {
    this.known.delete(id);
    this.#removed.add(id);
  }

  /** Compares what a helper lists with what was told, takes it as told from now on, and returns what does not agree. */
  compare(listed: readonly ContainerSummary[], runs: ReadonlyMap<string, number>): string[] {
    const problems: string[] = [];
    for (const summary of listed) {
      if (summary.state.kind === 'exited') this.ends.add(`${summary.id} ${summary.state.exit.finishedAt}`);
      const known = this.known.get(summary.id);
      const count = runs.get(summary.id) ?? 0;
      if (this.#removed.has(summary.id)) problems.push(`${describe(summary)} is back after it was told to be removed`);
      else if (known !== undefined) problems.push(...this.#compareOne(known, summary, count));
      else problems.push(...this.#compareNew(summary, count));
    }
    for (const [id, known] of this.known) {
      if (listed.some((summary) => summary.id === id)) continue;
      if (!this.#mayBeGone(known)) problems.push(`${describe(known.summary)} is lost`);
      this.forget(id);
    }
    return problems;
  }

  #compareNew(summary: ContainerSummary, runs: number): string[] {
    const { underWay } = this;
    if (underWay === undefined || underWay.target !== summary.name) return [`${describe(summary)} comes from nowhere`];
    const known = this.#add(summary);
    // Refused and yet there: who asked does not know of it.
    const problems = underWay.outcome === 'refused' ? [`${describe(summary)} is there although its ${underWay.kind} was refused`] : [];
    known.summary = { ...summary, state: { kind: 'created' } };
    return [...problems, ...this.#compareOne(known, summary, runs)];
  }

  #compareOne(known: Known, now: ContainerSummary, runs: number): string[] {
    const before = known.summary;
    const problems: string[] = [];
    if (now.name !== before.name && !this.#isUnderWay('rename', now.id)) problems.push(`was named ${before.name}`);
    if (!isDeepStrictEqual(now.limits, before.limits) && !this.#isUnderWay('update', now.id)) {
      problems.push(`had the limits ${JSON.stringify(before.limits)}, not ${JSON.stringify(now.limits)}`);
    }
    problems.push(...this.#compareState(known, now, runs));
    this.#take(known, now, runs);
    problems.push(...policyProblems(now, known.rest));
    const most = known.starts + known.earlierRestarts + now.restartCount;
    if (runs > most) problems.push(`has run more often than it was started, which is ${most} times`);
    if (now.state.kind === 'running' && known.traits.healthChecked && now.health === undefined) problems.push('has no health');
    return problems.map((problem) => `${describe(now)} ${problem} (told: ${JSON.stringify(before.state)}, ${runs} runs)`);
  }

  #compareState(known: Known, now: ContainerSummary, runs: number): string[] {
    const before = known.summary.state;
    const isAsked = this.#isUnderWay('start', now.id) || this.#isUnderWay('restart', now.id) || this.#isUnderWay('run', known.summary.name);
    const mayHaveStarted = isAsked || (before.kind !== 'created' && mayStartAgain(now, known.rest));
    switch (now.state.kind) {
      case 'created':
        return before.kind === 'created' && runs === 0 ? [] : ['has run, and nobody knows'];
      case 'running':
        if (isSameRun(before, now.state)) return this.#comparePaused(before, now);
        if (!mayHaveStarted) return ['runs although nobody started it'];
        return before.kind === 'running' && known.causes.size === 0 ? ['runs as another process although nothing ended it'] : [];
      case 'exited': {
        const { restartsAt } = now.state;
        if (before.kind === 'exited' && isDeepStrictEqual(before.exit, now.state.exit)) {
          // One that is to be started again may be at it.
          const hasRun = known.runs !== undefined && runs > known.runs && restartsAt === undefined && before.restartsAt === undefined;
          return hasRun ? ['has run since, and nobody knows how that ended'] : [];
        }
        if (before.kind === 'exited' && !mayHaveStarted) return ['ended in another way than was told'];
        return isTrue(now.state.exit, known) ? [] : [`cannot have ended so (${[...known.causes].join(', ') || 'nobody ended it'})`];
      }
      default:
        now.state satisfies never;
        return [];
    }
  }

  #comparePaused(before: ContainerState, { id, state }: ContainerSummary): string[] {
    if (isPaused(before) === isPaused(state)) return [];
    // What ends a container lets it go on.
    const asked: readonly OperationKind[] = ['pause', 'resume', 'stop', 'kill', 'restart', 'remove'];
    return asked.some((kind) => this.#isUnderWay(kind, id)) ? [] : [isPaused(state) ? 'stands still' : 'goes on'];
  }

  #isUnderWay(kind: OperationKind, target: string): boolean {
    return this.underWay?.kind === kind && this.underWay.target === target;
  }

  #mayBeGone(known: Known): boolean {
    const { id, name } = known.summary;
    if (this.#isUnderWay('remove', id)) return true;
    // Its run was refused while an event had told of it already.
    if (this.#isUnderWay('run', name) && this.underWay?.outcome === 'refused') return true;
    return known.summary.autoRemove && known.causes.size > 0;
  }
}

function isSameRun(before: ContainerState, now: ContainerState): boolean {
  return before.kind === 'running' && now.kind === 'running' && before.pid === now.pid && before.startedAt === now.startedAt;
}

function isPaused(state: ContainerState): boolean {
  return state.kind === 'running' && state.paused === true;
}

function isTrue(exit: Exit, { traits: { body, init }, causes }: Known): boolean {
  const unseen = exit.code === null && exit.signal === null;
  if (unseen) return causes.has('supervisor');
  if (exit.signal === 'SIGKILL') return causes.has('killed') || causes.has('stopped');
  if (exit.signal !== null) return false;
  if (init && exit.code === statusOfTerm) return causes.has('stopped');
  return exit.code === statusOf[body] && (body === 'brief' || causes.has('stopped'));
}

export function describe({ name, id, state, restartPolicy, restartCount }: ContainerSummary): string {
  const policy = restartPolicy.name === 'no' ? '' : `${restartPolicy.name}, ${restartCount} restarts, `;
  return `${name} (${id.slice(0, 12)}, ${policy}${JSON.stringify(state)})`;
}
