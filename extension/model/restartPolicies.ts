import type { RestartPolicy } from '../../helper/protocol/index.ts';

/** What a person chooses from; the retries of on-failure are asked for by themselves. */
export const restartChoices = [
  { name: 'no', label: 'Never', description: 'what ended stays ended' },
  { name: 'on-failure', label: 'On failure', description: 'when it ends with another status than 0' },
  { name: 'unless-stopped', label: 'Unless stopped', description: 'whenever it ends, and with the host, but not after a stop by a person' },
  {
    name: 'always',
    label: 'Always',
    description: 'as unless stopped; after a start of the helper or the host also what a person had stopped',
  },
] as const satisfies readonly { readonly name: RestartPolicy['name']; readonly label: string; readonly description: string }[];

/** "on failure, 5 times at most" */
export function restartWords({ name, maximumRetryCount = 0 }: RestartPolicy): string {
  const label = restartChoices.find((choice) => choice.name === name)?.label ?? name;
  const times = maximumRetryCount === 0 ? '' : `, ${maximumRetryCount} ${maximumRetryCount === 1 ? 'time' : 'times'} at most`;
  return `${label.toLowerCase()}${times}`;
}

/** "5", or nothing for no bound; what is wrong with anything else in words. */
export function retryCountProblem(text: string): string | undefined {
  const trimmed = text.trim();
  if (trimmed === '' || (/^\d{1,7}$/.test(trimmed) && Number(trimmed) <= 1_000_000)) return undefined;
  return 'Write how many times it may be started again, up to 1 000 000, or nothing for any number.';
}

export function policyOf(name: RestartPolicy['name'], retries: string): RestartPolicy {
  const count = Number(retries.trim());
  return name === 'on-failure' && count > 0 ? { name, maximumRetryCount: count } : { name };
}
