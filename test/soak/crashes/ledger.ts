import { isDeepStrictEqual } from 'node:util';
import type { ContainerSummary, Exit } from '../../../helper/protocol/index.ts';
import type { Connection } from '../../../helper/wire/connection.ts';
import type { Place } from '../../integration/support/helperProcess.ts';
import { type Body, countRuns, statusOf } from './bodies.ts';

/** What may have ended a run. */
export type Cause = 'itself' | 'stopped' | 'killed' | 'supervisor';

/** A container as a client was last told that it is. */
export interface Known {
  summary: ContainerSummary;
  readonly body: Body;
  readonly causes: Set<Cause>;
  /** Runs that have left their line when it was last listed; undefined: a state was told since. */
  runs: number | undefined;
}

export type OperationKind = 'create' | 'run' | 'start' | 'exec' | 'stop' | 'kill' | 'remove' | 'rename' | 'update';

/** What was asked for when the crash came, and what the client heard of it. */
export interface UnderWay {
  readonly kind: OperationKind;
  /** The container that it is about, or the name and body of a new one. */
  readonly target: string;
  readonly body: Body;
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
  readonly #expected = new Map<string, Cause>();
  readonly #place: Place;
  underWay: UnderWay | undefined;
  /** Ends of runs that were listed, each once. */
  readonly ends = new Set<string>();

  constructor(place: Place) {
    this.#place = place;
  }

  /** Everything that this connection hears from now on counts as told. */
  listen(connection: Connection): void {
    connection.onEvent((event, params) => {
      if (event === 'container.changed' && 'container' in params && typeof params.container === 'object') this.#told(params.container);
      if (event === 'container.exited' && 'exit' in params) this.#toldExit(params.id, params.exit);
      if (event === 'container.removed' && 'id' in params) this.forget(params.id as string);
    });
  }

  #told(summary: ContainerSummary): void {
    const known = this.known.get(summary.id);
    if (known !== undefined) Object.assign(known, { summary, runs: undefined });
    else if (!this.#removed.has(summary.id)) this.#add(summary);
  }

  #toldExit(id: string, exit: Exit): void {
    const known = this.known.get(id);
    if (known === undefined) return;
    const { state } = known.summary;
    known.runs = undefined;
    known.summary = { ...known.summary, state: { kind: 'exited', exit, startedAt: state.kind === 'created' ? null : state.startedAt } };
  }

  /** Something has befallen a container, which nobody may have told of yet. */
  expect(id: string, cause: Cause): void {
    this.known.get(id)?.causes.add(cause);
    this.#expected.set(id, cause);
  }

  #add(summary: ContainerSummary): Known {
    const body = this.underWay?.target === summary.name ? this.underWay.body : 'sleeper';
    const causes = new Set<Cause>(body === 'brief' ? ['itself'] : []);
    const expected = this.#expected.get(summary.id);
    if (expected !== undefined) causes.add(expected);
    const known: Known = { summary, body, causes, runs: undefined };
    this.known.set(summary.id, known);
    return known;
  }

  /** Whether a run has to come to its end without anybody asking for it. */
  mustEnd(id: string, killedSupervisors: readonly string[]): boolean {
    return this.known.get(id)?.body === 'brief' || killedSupervisors.includes(id);
  }

  /** It was told to be gone. */
  forget(id: string): void {
    this.known.delete(id);
    this.#removed.add(id);
  }

  /** Compares what a helper lists with what was told, takes it as told from now on, and returns what does not agree. */
  compare(listed: readonly ContainerSummary[]): string[] {
    const problems: string[] = [];
    for (const summary of listed) {
      if (summary.state.kind === 'exited') this.ends.add(`${summary.id} ${summary.state.exit.finishedAt}`);
      const known = this.known.get(summary.id);
      if (this.#removed.has(summary.id)) problems.push(`${describe(summary)} is back after it was told to be removed`);
      else if (known !== undefined) problems.push(...this.#compareOne(known, summary));
      else problems.push(...this.#compareNew(summary));
    }
    for (const [id, known] of this.known) {
      if (listed.some((summary) => summary.id === id)) continue;
      if (!this.#mayBeGone(known)) problems.push(`${describe(known.summary)} is lost`);
      this.forget(id);
    }
    return problems;
  }

  #compareNew(summary: ContainerSummary): string[] {
    const { underWay } = this;
    if (underWay === undefined || underWay.target !== summary.name) return [`${describe(summary)} comes from nowhere`];
    const known = this.#add(summary);
    // Refused and yet there: who asked does not know of it.
    const problems = underWay.outcome === 'refused' ? [`${describe(summary)} is there although its ${underWay.kind} was refused`] : [];
    known.summary = { ...summary, state: { kind: 'created' } };
    return [...problems, ...this.#compareOne(known, summary)];
  }

  #compareOne(known: Known, now: ContainerSummary): string[] {
    const before = known.summary;
    const runs = countRuns(this.#place.root.concat(`/containers/${now.id}/upper`));
    const problems: string[] = [];
    if (now.name !== before.name && !this.#isUnderWay('rename', now.id)) problems.push(`was named ${before.name}`);
    if (!isDeepStrictEqual(now.limits, before.limits) && !this.#isUnderWay('update', now.id)) {
      problems.push(`had the limits ${JSON.stringify(before.limits)}, not ${JSON.stringify(now.limits)}`);
    }
    problems.push(...this.#compareState(known, now, runs));
    known.summary = now;
    known.runs = runs;
    return problems.map((problem) => `${describe(now)} ${problem} (told: ${JSON.stringify(before.state)}, ${runs} runs)`);
  }

  #compareState(known: Known, now: ContainerSummary, runs: number): string[] {
    const before = known.summary.state;
    const mayHaveStarted = this.#isUnderWay('start', now.id) || this.#isUnderWay('run', now.name);
    switch (now.state.kind) {
      case 'created':
        return before.kind === 'created' && runs === 0 ? [] : ['has run, and nobody knows'];
      case 'running':
        if (before.kind === 'running') return isDeepStrictEqual(before, now.state) ? [] : ['runs as another process'];
        return mayHaveStarted ? [] : ['runs although nobody started it'];
      case 'exited': {
        if (before.kind === 'exited' && isDeepStrictEqual(before, now.state)) {
          return known.runs === undefined || runs <= known.runs ? [] : ['has run since, and nobody knows how that ended'];
        }
        if (before.kind === 'exited' && !mayHaveStarted) return ['ended in another way than was told'];
        return isTrue(now.state.exit, known) ? [] : [`cannot have ended so (${[...known.causes].join(', ') || 'nobody ended it'})`];
      }
      default:
        now.state satisfies never;
        return [];
    }
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

function isTrue(exit: Exit, { body, causes }: Known): boolean {
  const unseen = exit.code === null && exit.signal === null;
  if (unseen) return causes.has('supervisor');
  if (exit.signal === 'SIGKILL') return causes.has('killed') || causes.has('stopped');
  if (exit.signal !== null) return false;
  return exit.code === statusOf[body] && (body === 'brief' || causes.has('stopped'));
}

export function describe({ id, name, state }: ContainerSummary): string {
  return `${name} (${id.slice(0, 12)}, ${JSON.stringify(state)})`;
}
