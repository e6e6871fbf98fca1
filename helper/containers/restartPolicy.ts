import type { Exit, RestartPolicy } from '../protocol/index.ts';

/** What is remembered of the restarts of a container from its last start by a person on. */
export interface RestartHistory {
  /** Starts by its policy. */
  readonly count: number;
  /** Of them the last ones in a row that did not last. */
  readonly shortRuns: number;
  /** A person stopped or killed it, and has not started it again. */
  readonly stoppedByPerson: boolean;
}

export const NO_RESTARTS: RestartHistory = { count: 0, shortRuns: 0, stoppedByPerson: false };

export const NO_POLICY: RestartPolicy = { name: 'no' };

/** The times of Docker: who knows them from there is not surprised here. */
const firstDelayMs = 100;
const mostDelayMs = 60_000;
/** A run of this length shows that it can run: the next delay is the first again. */
const longRunMs = 10_000;

/** Whether an exit is followed by another start. Pure. `helperStart`: asked for what ended while no helper was there, or before. */
export function restarts(
  policy: RestartPolicy,
  exit: Exit,
  { history, helperStart = false }: { readonly history: RestartHistory; readonly helperStart?: boolean },
): boolean {
  switch (policy.name) {
    case 'no':
      return false;
    case 'always':
      // As with Docker a helper that starts brings it back even when a person had stopped it; unless-stopped is for those who mind.
      return helperStart || !history.stoppedByPerson;
    case 'unless-stopped':
      return !history.stoppedByPerson;
    case 'on-failure':
      if (history.stoppedByPerson || exit.code === 0) return false;
      return policy.maximumRetryCount === undefined || policy.maximumRetryCount === 0 || history.count < policy.maximumRetryCount;
    default:
      return policy.name satisfies never;
  }
}

/** After an exit; `ranForMs` null: it did not come to run, or nobody knows for how long it did. Pure. */
export function afterRun(history: RestartHistory, ranForMs: number | null): RestartHistory {
  return ranForMs !== null && ranForMs >= longRunMs ? { ...history, shortRuns: 0 } : history;
}

/** How long a start by the policy waits. Pure. */
export function restartDelayMs({ shortRuns }: RestartHistory): number {
  return Math.min(mostDelayMs, firstDelayMs * 2 ** Math.min(shortRuns, 20));
}

/** When the policy starts it. Pure. */
export function beforeRestart(history: RestartHistory): RestartHistory {
  return { count: history.count + 1, shortRuns: history.shortRuns + 1, stoppedByPerson: false };
}
