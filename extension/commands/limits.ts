import * as vscode from 'vscode';
import { type ContainerSummary, DEFAULT_LIMITS, type HostInfo, type Stats } from '../../helper/protocol/index.ts';
import { type LimitField, limitFields, parseLimit } from '../model/limitFields.ts';
import type { Services } from '../services.ts';
import type { CommandHandlers } from './registry.ts';
import { runSteps } from './steps.ts';
import type { Targets } from './targets.ts';

interface LimitState {
  readonly field: LimitField | undefined;
  readonly text: string;
}

export function limitCommand(services: Services, targets: Targets): Pick<CommandHandlers, 'strata.container.limit'> {
  return {
    'strata.container.limit': async (args) => {
      const container = await targets.container(args, 'Change limits');
      if (container !== undefined) await changeLimit(services, container);
    },
  };
}

/** Which limit (with its present value and use), then its new value; applied while the container runs. */
async function changeLimit({ client, store, errors }: Services, container: ContainerSummary): Promise<void> {
  const [host, stats] = await Promise.all([client.request('host.info', {}), presentUse(client, container)]);
  const chosen = await askForLimit(container, host, stats);
  if (chosen?.field === undefined) return;
  const { field, text } = chosen;
  // The limits may have changed while the question stood.
  const present = store.container(container.id)?.limits ?? container.limits;
  const parsed = parseLimit(field, text, present, host);
  if (parsed.kind === 'invalid') {
    void vscode.window.showErrorMessage(`${container.name}: ${parsed.message}`);
    return;
  }
  await errors.guard(`Limit ${field.label.toLowerCase()} of ${container.name}`, async () => {
    const { limits, warnings } = await client.request('container.update', { container: container.id, limits: parsed.change });
    for (const warning of warnings) void vscode.window.showWarningMessage(warning);
    const when = container.state.kind === 'running' ? 'now' : 'from its next start';
    void vscode.window.showInformationMessage(
      `${container.name}: ${field.label} is ${field.show(limits)} ${when} (was ${field.show(present)}).`,
    );
  });
}

async function askForLimit(container: ContainerSummary, host: HostInfo, stats: Stats | undefined): Promise<LimitState | undefined> {
  const useOf = (field: LimitField): string => (stats === undefined ? '' : (field.use?.(stats) ?? ''));
  return runSteps<LimitState>(
    `Limits of ${container.name}`,
    [
      {
        kind: 'pick',
        placeholder: container.state.kind === 'running' ? 'Applied at once, without a restart' : 'Applied at the next start',
        items: (state) =>
          limitFields.map((field) => ({
            label: field.label,
            description: [field.show(container.limits), useOf(field)].filter((part) => part !== '').join(' · '),
            next: { ...state, field },
          })),
      },
      {
        kind: 'input',
        ask: ({ field }) => {
          if (field === undefined) return { prompt: '' };
          const use = useOf(field);
          const empty = field.key === 'cpuWeight' ? `Empty: ${DEFAULT_LIMITS.cpuWeight}.` : 'Empty: no limit.';
          return {
            prompt: `${field.label}: ${field.range(host)}.${use === '' ? '' : ` It ${use}.`} ${empty}`,
            placeholder: field.example,
            value: field.edit(container.limits),
          };
        },
        read: (text, state) => {
          if (state.field === undefined) return { problem: 'Choose a limit first.' };
          const parsed = parseLimit(state.field, text, container.limits, host);
          return parsed.kind === 'invalid' ? { problem: parsed.message } : { next: { ...state, text } };
        },
      },
    ],
    { field: undefined, text: '' },
  );
}

async function presentUse(client: Services['client'], container: ContainerSummary): Promise<Stats | undefined> {
  if (container.state.kind !== 'running') return undefined;
  const { samples } = await client.request('stats.read', { containers: [container.id] });
  return samples[0];
}
