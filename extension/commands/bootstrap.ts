import { randomInt } from 'node:crypto';
import * as vscode from 'vscode';
import { methods, type Params } from '../../helper/protocol/index.ts';
import { judgeReference } from '../model/pullQuestion.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';
import type { CommandHandlers } from './registry.ts';
import { runSteps, type Step } from './steps.ts';

type Variant = NonNullable<Params<'image.bootstrap'>['variant']>;

interface BootstrapState {
  readonly suite: string;
  readonly variant: Variant;
  readonly reference: string;
}

const suites = [
  ['trixie', 'Debian 13'],
  ['bookworm', 'Debian 12'],
  ['bullseye', 'Debian 11'],
  ['sid', 'what Debian is working on'],
] as const;

const variants: readonly (readonly [Variant, string])[] = [
  ['minbase', 'what is needed to install more'],
  ['buildd', 'with compilers'],
  ['standard', 'with the usual tools'],
];

export function bootstrapCommand(services: Services): Pick<CommandHandlers, 'strata.image.bootstrap'> {
  return {
    'strata.image.bootstrap': async () => {
      const start: BootstrapState = { suite: '', variant: 'minbase', reference: '' };
      const chosen = await runSteps('New Debian Image', steps, start);
      if (chosen !== undefined) await bootstrap(services, chosen);
    },
  };
}

const steps: readonly Step<BootstrapState>[] = [
  {
    kind: 'pick',
    placeholder: 'Which release? Or write another one that your mirror has',
    items: (state) => suites.map(([suite, description]) => ({ label: suite, description, next: { ...state, suite } })),
    typed: (text, state) =>
      methods['image.bootstrap'].params.shape.suite.safeParse(text).success
        ? { label: text, description: 'as written', next: { ...state, suite: text } }
        : undefined,
  },
  {
    kind: 'pick',
    placeholder: 'How much of it?',
    items: (state) => variants.map(([variant, description]) => ({ label: variant, description, next: { ...state, variant } })),
  },
  {
    kind: 'input',
    ask: ({ suite }) => ({ prompt: 'Name of the image.', value: `debian:${suite}` }),
    read: (text, state) => {
      const judgement = judgeReference(text);
      if (judgement.kind === 'valid') return { next: { ...state, reference: judgement.reference } };
      return { problem: judgement.kind === 'invalid' ? judgement.problem : 'Write a name.' };
    },
  },
];

/** The helper runs the host's mmdebstrap or debootstrap, and says what is missing where it has neither. */
async function bootstrap({ client }: Services, { suite, variant, reference }: BootstrapState): Promise<void> {
  await cancellable(`Making ${reference}`, async (signal, report) => {
    const progress = randomInt(2 ** 31); // of this connection's requests the events are told apart by it
    const stop = client.onMessage((message) => {
      if (message.kind === 'event' && message.event === 'image.bootstrapping' && message.params.progress === progress)
        report(message.params.line);
    });
    try {
      await client.request('image.bootstrap', { reference, suite, variant, progress }, { signal });
    } finally {
      stop();
    }
  });
  void vscode.window.showInformationMessage(`Made ${reference}.`);
}
