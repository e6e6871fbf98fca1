import type { ContainerState } from '../protocol/index.ts';
import type { ContainerPlan } from './plan.ts';
import type { SupervisorClient } from './supervisorClient.ts';

/**
 * What this helper cannot do for a container because a supervisor of an earlier version runs it, for people to read. What does
 * not run has none: this version would start it.
 */
export function limitationsOf({
  state,
  client,
  plan,
}: {
  readonly state: ContainerState;
  readonly client: SupervisorClient | undefined;
  readonly plan: ContainerPlan;
}): string[] {
  if (state.kind !== 'running' || client === undefined) return [];
  const limitations: string[] = [];
  if (!client.supports('execSessions')) {
    if (plan.health !== undefined) limitations.push('its health is not checked');
    limitations.push('its exec sessions are not listed, cannot be killed, and cannot be detached');
  }
  if (!client.supports('execEnds')) limitations.push('how an exec session ended while no helper was there is not known');
  if (!client.supports('logRotation')) limitations.push('its log is not rotated and grows without bound');
  if (!client.supports('signalNotes')) limitations.push('its exit will not say who asked for it');
  return limitations;
}
