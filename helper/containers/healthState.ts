import type { HealthDetails, HealthResult } from '../protocol/index.ts';
import type { HealthPlan } from './healthPlan.ts';

/** As Docker keeps. */
const keptResults = 5;

export const NEW_HEALTH: HealthDetails = { status: 'starting', failingStreak: 0, results: [] };

/**
 * After one more check. Pure.
 *
 * A success makes it healthy at once; `retries` failures one after the other make it unhealthy. Failures in the start period
 * are shown and do not count while it is starting.
 */
export function afterCheck(
  state: HealthDetails,
  result: HealthResult,
  { retries, inStartPeriod }: Pick<HealthPlan, 'retries'> & { readonly inStartPeriod: boolean },
): HealthDetails {
  const results = [...state.results, result].slice(-keptResults);
  if (result.exitCode === 0) return { status: 'healthy', failingStreak: 0, results };
  if (inStartPeriod && state.status === 'starting') return { ...state, results };
  const failingStreak = state.failingStreak + 1;
  return { status: failingStreak >= retries ? 'unhealthy' : state.status, failingStreak, results };
}

/** From the end of one check to the next. Pure. */
export function nextCheckMs(
  { status }: Pick<HealthDetails, 'status'>,
  plan: Pick<HealthPlan, 'intervalMs' | 'startIntervalMs'>,
  inStartPeriod: boolean,
): number {
  return status === 'starting' && inStartPeriod ? plan.startIntervalMs : plan.intervalMs;
}
