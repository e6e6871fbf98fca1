import * as vscode from 'vscode';
import { type MethodResult, repositoryOf } from '../../helper/protocol/index.ts';
import { type NamedImage, nameOf } from '../model/imageGroups.ts';
import { type SquashChoice, squashChoices } from '../model/squashChoices.ts';
import { formatBytes } from '../model/units.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';
import { type Naming, newNameStep, normalizedName, suggestedName } from './newImageName.ts';
import type { CommandHandlers } from './registry.ts';
import { type PickItem, runSteps } from './steps.ts';
import type { Targets } from './targets.ts';

interface SquashState extends Naming {
  readonly keep: number;
}

export function squashCommand(services: Services, targets: Targets): Pick<CommandHandlers, 'strata.image.squash'> {
  return {
    'strata.image.squash': async (args) => {
      const named = await targets.named(args, 'Squash image', ({ image }) => image.layerCount > 1);
      if (named !== undefined) await squash(services, named);
    },
  };
}

async function squash({ client }: Services, named: NamedImage): Promise<void> {
  const { image } = named;
  const { entries } = await client.request('image.history', { image: image.id });
  const choices = squashChoices(entries, image.layerCount);
  const start: SquashState = {
    keep: 0,
    reference: named.reference === undefined ? '' : suggestedName(repositoryOf(named.reference), 'squashed'),
  };
  const chosen = await runSteps<SquashState>(
    `Squash ${nameOf(named)}`,
    [
      {
        kind: 'pick',
        placeholder: 'Which layers become one? The image itself stays as it is',
        items: (state) => choices.map((choice) => choiceItem(choice, state)),
      },
      newNameStep(),
    ],
    start,
  );
  if (chosen === undefined) return;
  const reference = chosen.reference === '' ? undefined : normalizedName(chosen.reference);
  const made = await cancellable(
    `Squashing ${nameOf(named)}`,
    (signal): Promise<MethodResult<'image.squash'>> =>
      client.request('image.squash', { image: image.id, keep: chosen.keep, ...(reference === undefined ? {} : { reference }) }, { signal }),
  );
  const name = nameOf({ image: made.image, reference });
  void vscode.window.showInformationMessage(
    `Squashed ${nameOf(named)} as ${name}: ${formatBytes(made.image.sizeBytes)} instead of ${formatBytes(image.sizeBytes)}.`,
  );
}

function choiceItem({ keep, squashed, above }: SquashChoice, state: SquashState): PickItem<SquashState> {
  const next = { ...state, keep };
  if (keep === 0) return { label: `All ${squashed} layers become one`, next };
  const label = keep === 1 ? 'The lowest layer stays' : `The lowest ${keep} layers stay`;
  return { label, description: `${squashed} become one`, ...(above === '' ? {} : { detail: `up to ${above}` }), next };
}
