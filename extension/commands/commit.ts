import * as vscode from 'vscode';
import { type ContainerId, type ContainerSummary, type MethodResult, type Params, repositoryOf } from '../../helper/protocol/index.ts';
import { nameOf } from '../model/imageGroups.ts';
import { formatBytes } from '../model/units.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';
import { type Naming, newNameStep, normalizedName, suggestedName } from './newImageName.ts';
import type { CommandHandlers } from './registry.ts';
import { type InputStep, type PickItem, runSteps } from './steps.ts';
import type { Targets } from './targets.ts';

interface CommitState extends Naming {
  readonly message: string;
  readonly author: string;
  readonly changes: readonly string[];
  readonly pause: boolean;
}

type TextField = 'message' | 'author';

/** What a person has written in the SCM view. */
interface Messages {
  messageOf(container: ContainerId): string;
  clearMessage(container: ContainerId): void;
}

export function commitCommand(services: Services, targets: Targets, messages: Messages): Pick<CommandHandlers, 'strata.container.commit'> {
  return {
    'strata.container.commit': async (args) => {
      const container = await targets.container(args, 'Commit as image');
      if (container === undefined) return;
      if (await commit(services, container, messages.messageOf(container.id))) messages.clearMessage(container.id);
    },
  };
}

/** False: the user left. */
async function commit({ client }: Services, container: ContainerSummary, message: string): Promise<boolean> {
  const start: CommitState = {
    reference: suggestedName(repositoryOf(container.image), container.name),
    message,
    author: '',
    changes: [],
    pause: true,
  };
  const chosen = await runSteps<CommitState>(
    `Commit ${container.name} as Image`,
    [newNameStep(), { kind: 'pick', placeholder: 'Enter commits it', items: (state) => formItems(container, state) }],
    start,
  );
  if (chosen === undefined) return false;
  const { image } = await cancellable(
    `Committing ${container.name}…`,
    (signal): Promise<MethodResult<'container.commit'>> => client.request('container.commit', paramsOf(container, chosen), { signal }),
  );
  const name = nameOf({ image, reference: image.references.find((reference) => reference === normalizedName(chosen.reference)) });
  void vscode.window.showInformationMessage(`Committed ${container.name} as ${name} (${formatBytes(image.sizeBytes)}).`);
  return true;
}

function paramsOf(container: ContainerSummary, { reference, message, author, changes, pause }: CommitState): Params<'container.commit'> {
  return {
    container: container.id,
    ...(reference === '' ? {} : { reference: normalizedName(reference) }),
    ...(message === '' ? {} : { message }),
    ...(author === '' ? {} : { author }),
    ...(changes.length === 0 ? {} : { changes: [...changes] }),
    ...(pause ? {} : { pause }),
  };
}

function formItems(container: ContainerSummary, state: CommitState): readonly PickItem<CommitState>[] {
  const isRunning = container.state.kind === 'running' && container.state.paused !== true;
  return [
    {
      label: '$(package) Commit',
      description: `${container.name} as ${state.reference === '' ? 'an image without a name' : normalizedName(state.reference)}`,
      next: state,
    },
    {
      label: 'Message',
      description: state.message || 'none',
      next: state,
      details: [textStep('message', 'What has changed. Empty: no message.')],
    },
    {
      label: 'Author',
      description: state.author || 'none',
      next: state,
      details: [textStep('author', 'Who made it. Empty: nobody is named.')],
    },
    {
      label: 'Configuration',
      description: state.changes.length === 0 ? "the container's" : state.changes.join('; '),
      next: state,
      details: [changeStep],
    },
    // What stands still anyway is not asked about.
    ...(isRunning
      ? [
          {
            label: 'Meanwhile',
            description: state.pause ? 'the container stands still, so that its files fit together' : 'the container runs on',
            next: { ...state, pause: !state.pause },
            details: [],
          },
        ]
      : []),
  ];
}

function textStep(field: TextField, prompt: string): InputStep<CommitState> {
  return {
    kind: 'input',
    ask: (state) => ({ prompt, value: state[field] }),
    read: (text, state) => ({ next: { ...state, [field]: text.trim() } }),
  };
}

/** A ";" may also stand in an instruction: it ends one where another begins, or nothing is left. */
const betweenInstructions = /;\s*(?=(?:CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|ONBUILD|STOPSIGNAL|USER|VOLUME|WORKDIR)\s)|;\s*$/i;

/** One instruction after the other; the helper says which it does not take. */
const changeStep: InputStep<CommitState> = {
  kind: 'input',
  ask: ({ changes }) => ({
    prompt: 'Instructions of a Dockerfile that change the config, with ";" between them. Empty: none.',
    placeholder: 'CMD ["nginx"]; ENV PORT=8080; USER app',
    value: changes.join('; '),
  }),
  read: (text, state) => {
    const changes = text
      .split(betweenInstructions)
      .map((change) => change.trim())
      .filter((change) => change !== '');
    const strange = changes.find((change) => !/^[a-z]+\s+\S/i.test(change));
    return strange === undefined
      ? { next: { ...state, changes } }
      : { problem: `"${strange}" is no instruction: write for instance USER app.` };
  },
};
