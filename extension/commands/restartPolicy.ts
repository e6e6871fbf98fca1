import type { ContainerSummary, RestartPolicy } from '../../helper/protocol/index.ts';
import { policyOf, restartChoices, restartWords, retryCountProblem } from '../model/restartPolicies.ts';
import type { Services } from '../services.ts';
import { runSteps } from './steps.ts';

interface PolicyState {
  readonly name: RestartPolicy['name'];
  readonly retries: string;
}

/** Whether it is started again when it ends; for on failure also how often. From its next end on. */
export async function changeRestartPolicy({ client, errors }: Services, container: ContainerSummary): Promise<void> {
  const present = container.restartPolicy;
  const start: PolicyState = { name: present.name, retries: String(present.maximumRetryCount ?? '') };
  const chosen = await runSteps<PolicyState>(
    `Restart Policy of ${container.name}`,
    [
      {
        kind: 'pick',
        placeholder: `Now: ${restartWords(present)}. When shall it be started again?`,
        items: (state) =>
          restartChoices.map(({ name, label, description }) => ({
            label,
            description: name === present.name ? `${description} (as it is now)` : description,
            next: { ...state, name },
          })),
      },
      {
        kind: 'input',
        skip: ({ name }) => name !== 'on-failure',
        ask: ({ retries }) => ({ prompt: 'How many times it may be started again; nothing: any number of times.', value: retries }),
        read: (text, state) => {
          const problem = retryCountProblem(text);
          return problem === undefined ? { next: { ...state, retries: text } } : { problem };
        },
      },
    ],
    start,
  );
  if (chosen === undefined) return;
  const restartPolicy = policyOf(chosen.name, chosen.retries);
  await errors.guard(`Change the restart policy of ${container.name}`, () =>
    client.request('container.update', { container: container.id, limits: {}, restartPolicy }),
  );
}
