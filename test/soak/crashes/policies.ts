import type { ContainerSummary, RestartPolicy } from '../../../helper/protocol/index.ts';
import type { Random } from '../random.ts';

/**
 * Whether a person wants a container to rest: 'maybe' where one asked for its end or its start and was not told what came of
 * that.
 */
export type Rest = 'no' | 'yes' | 'maybe';

export function choosePolicy(random: Random): RestartPolicy {
  return random.pick<RestartPolicy>([
    { name: 'no' },
    { name: 'no' },
    { name: 'no' },
    { name: 'always' },
    { name: 'unless-stopped' },
    { name: 'on-failure', maximumRetryCount: 2 },
  ]);
}

/** Whether its policy may have started it since, after an end that somebody or something has caused. */
export function mayStartAgain({ restartPolicy: { name } }: ContainerSummary, rest: Rest): boolean {
  return name !== 'no' && rest !== 'yes';
}

/** What of a listed container is not as its policy has it. */
export function policyProblems({ state, restartPolicy, restartCount }: ContainerSummary, rest: Rest): string[] {
  const { name, maximumRetryCount = Number.POSITIVE_INFINITY } = restartPolicy;
  const most = name === 'no' ? 0 : name === 'on-failure' ? maximumRetryCount : Number.POSITIVE_INFINITY;
  const problems = restartCount > most ? [`was started again ${restartCount} times, not ${most} at most`] : [];
  if (name === 'no') return problems;
  if (state.kind === 'running' && rest === 'yes') problems.push('runs although it was stopped');
  if (state.kind !== 'exited') return problems;
  const { restartsAt } = state;
  const isPending = restartsAt !== undefined;
  // While it is started it is told as waiting still, and that start is counted.
  const isToCome = isPending && Date.parse(restartsAt) > Date.now();
  if (isToCome && (rest === 'yes' || restartCount >= most)) problems.push('is to be started again although it must not');
  // None of them ends with 0, so each end is a failure.
  if (!isPending && rest === 'no' && restartCount < most) problems.push('rests although it is to be started again');
  return problems;
}
