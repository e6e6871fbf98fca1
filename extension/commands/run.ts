import * as vscode from 'vscode';
import {
  type CreateOptions,
  DEFAULT_LIMITS,
  type HostInfo,
  type ImageDetails,
  type Limits,
  type LimitsChange,
  StrataError,
} from '../../helper/protocol/index.ts';
import { joinCommand, splitCommand } from '../model/commandLine.ts';
import { shortId } from '../model/containerWords.ts';
import { imageName, namedImages, nameOf } from '../model/imageGroups.ts';
import { basicLimitFields, type LimitField, limitsSummary, parseLimit } from '../model/limitFields.ts';
import { judgeReference } from '../model/pullQuestion.ts';
import type { RunOptions } from '../model/runOptions.ts';
import { formatBytes } from '../model/units.ts';
import type { RegistryLogins } from '../registryLogins.ts';
import type { Services } from '../services.ts';
import { openTerminal } from '../terminals/open.ts';
import { type RunResult, runPlan } from '../terminals/sessions.ts';
import { pullImage } from './pull.ts';
import type { CommandHandlers } from './registry.ts';
import { optionItems, separator } from './runForm.ts';
import { type InputStep, type PickItem, type PickStep, runSteps, type Step } from './steps.ts';
import type { Targets } from './targets.ts';

type Mode = 'terminal' | 'once' | 'background';

interface RunState {
  readonly image: string | undefined;
  readonly command: readonly string[];
  readonly mode: Mode;
  readonly limits: Limits;
  /** What is asked for beyond that: one limit after the other, or the form with every option. */
  readonly more: 'nothing' | 'limits' | 'form';
  readonly options: RunOptions;
}

const initial: RunState = { image: undefined, command: [], mode: 'terminal', limits: DEFAULT_LIMITS, more: 'nothing', options: {} };

const MIB = 1024 * 1024;
const presets: readonly (readonly [name: string, limits: Partial<Limits>])[] = [
  ['Small', { cpuQuotaUs: 50_000, memoryMaxBytes: 256 * MIB, pidsMax: 100 }],
  ['Medium', { cpuQuotaUs: 100_000, memoryMaxBytes: 1024 * MIB, pidsMax: 500 }],
];

export function runCommand(
  services: Services,
  targets: Targets,
  logins: RegistryLogins,
  reveal: (id: RunResult['id']) => void,
): Pick<CommandHandlers, 'strata.container.run'> {
  return {
    'strata.container.run': async (args) => {
      const row = targets.imageOf(args[0]);
      const image = row && (targets.nameOf(args[0]) ?? imageName(row));
      if (image === undefined && services.store.state.images.size === 0) {
        const ways = { 'Pull Image…': 'strata.image.pull', 'Import Image…': 'strata.image.import' } as const;
        const answer = await vscode.window.showInformationMessage('There is no image to run yet.', ...Object.keys(ways));
        if (answer !== undefined) await vscode.commands.executeCommand(ways[answer as keyof typeof ways]); // one of these keys
        return;
      }
      const start: RunState = { ...initial, image };
      const chosen = await runSteps(image === undefined ? 'Run Container' : `Run ${image}`, runQuestions(services, logins), start);
      if (chosen?.image !== undefined) await run(services, { ...chosen, image: chosen.image }, reveal);
    },
  };
}

async function run(services: Services, state: RunState & { readonly image: string }, reveal: (id: RunResult['id']) => void): Promise<void> {
  const isInteractive = state.mode !== 'background';
  const options: CreateOptions = {
    image: state.image,
    ...(state.command.length === 0 ? {} : { command: [...state.command] }),
    ...(isInteractive ? { tty: true, openStdin: true } : {}),
    ...(state.mode === 'once' ? { autoRemove: true } : {}),
    ...(limitsSummary(state.limits) === '' ? {} : { limits: changed(state.limits) }),
    ...state.options,
  };
  const started = (result: RunResult): void => {
    for (const warning of result.warnings) void vscode.window.showWarningMessage(warning);
    reveal(result.id);
  };
  if (!isInteractive) {
    started(await services.client.request('container.run', { options }));
    return;
  }
  // An error stands in the terminal, where the user looks.
  const plan = runPlan(services.client, options, (result) => {
    if (result instanceof Error) services.log.error(`run ${state.image}: ${result.message}`);
    else started(result);
  });
  openTerminal(state.image, 'terminal', plan);
}

/** Only what differs from "no limit", so that the helper's own defaults hold for the rest. */
function changed(limits: Limits): LimitsChange {
  return {
    ...(limits.cpuQuotaUs === null ? {} : { cpuQuotaUs: limits.cpuQuotaUs, cpuPeriodUs: limits.cpuPeriodUs }),
    ...(limits.memoryMaxBytes === null ? {} : { memoryMaxBytes: limits.memoryMaxBytes }),
    ...(limits.pidsMax === null ? {} : { pidsMax: limits.pidsMax }),
  };
}

function runQuestions(services: Services, logins: RegistryLogins): readonly Step<RunState>[] {
  let host: Promise<HostInfo> | undefined;
  const hostInfo = (): Promise<HostInfo> => (host ??= services.client.request('host.info', {}));
  return [
    imageQuestion(services),
    commandQuestion(services, logins),
    modeQuestion,
    limitsQuestion,
    ...basicLimitFields.map((field) => limitQuestion(field, hostInfo, ({ more }) => more !== 'limits')),
    formQuestion(hostInfo),
  ];
}

function imageQuestion({ store }: Services): PickStep<RunState> {
  const isHere = (reference: string): boolean => [...store.state.images.values()].some(({ references }) => references.includes(reference));
  return {
    kind: 'pick',
    placeholder: 'Choose an image, or write the name of one to pull',
    skip: (state) => state.image !== undefined,
    items: (state) =>
      namedImages(store.state.images.values()).map((named) => ({
        label: nameOf(named),
        description: `${formatBytes(named.image.sizeBytes)} · ${shortId(named.image.id)}`,
        iconPath: new vscode.ThemeIcon('package'),
        next: { ...state, image: nameOf(named) },
      })),
    typed: (text, state) => {
      const judgement = judgeReference(text);
      if (judgement.kind !== 'valid' || isHere(judgement.reference)) return undefined;
      return {
        label: `$(cloud-download) ${judgement.reference}`,
        description: `from ${judgement.from}`,
        next: { ...state, image: judgement.reference },
      };
    },
  };
}

function commandQuestion(services: Services, logins: RegistryLogins): InputStep<RunState> {
  return {
    kind: 'input',
    ask: async (state) => {
      const image = state.image ?? '';
      const config = (await imageOrPull(services, logins, image)).config.config;
      const own = joinCommand([...(config?.Entrypoint ?? []), ...(config?.Cmd ?? [])]);
      return {
        prompt: own === '' ? `Command to run in ${image}; the image names none itself.` : `Command to run in ${image}; empty: its own.`,
        placeholder: own === '' ? 'sh' : own,
        value: joinCommand(state.command),
      };
    },
    read: (text, state) => {
      try {
        return { next: { ...state, command: splitCommand(text) } };
      } catch (error) {
        return { problem: error instanceof Error ? error.message : String(error) };
      }
    },
  };
}

/** An image that was typed may have to be brought first. */
async function imageOrPull(services: Services, logins: RegistryLogins, image: string): Promise<ImageDetails> {
  const inspect = (): Promise<ImageDetails> => services.client.request('image.inspect', { image });
  try {
    return await inspect();
  } catch (error) {
    if (!(error instanceof StrataError) || error.code !== 'IMAGE_NOT_FOUND') throw error;
  }
  if ((await pullImage(services, logins, image)) === undefined) throw new StrataError('CANCELLED', 'the pull was given up');
  return await inspect();
}

const modeQuestion: PickStep<RunState> = {
  kind: 'pick',
  placeholder: 'How should it run?',
  items: (state) => [
    {
      label: '$(terminal) Interactive terminal',
      description: 'a shell or a program you talk to; it stays in the list when it ends',
      next: { ...state, mode: 'terminal' },
    },
    {
      label: '$(server-process) In the background',
      description: 'follow what it writes with Open Logs',
      next: { ...state, mode: 'background' },
    },
    { label: '$(trash) Interactive, removed when it ends', description: 'to try something once', next: { ...state, mode: 'once' } },
  ],
};

const limitsQuestion: PickStep<RunState> = {
  kind: 'pick',
  placeholder: 'How much may it use? Limits can be changed while it runs.',
  items: (state) => [
    { label: 'No limits', next: { ...state, more: 'nothing', limits: DEFAULT_LIMITS } },
    ...presets.map(([label, preset]): PickItem<RunState> => {
      const limits = { ...DEFAULT_LIMITS, ...preset };
      return { label, description: limitsSummary(limits), next: { ...state, more: 'nothing', limits } };
    }),
    { label: 'Custom…', description: 'cpu, memory, processes', next: { ...state, more: 'limits', limits: DEFAULT_LIMITS } },
    {
      label: 'More Options…',
      description: 'also name, environment, restart policy, health check, init, stop signal, log',
      next: { ...state, more: 'form' },
    },
  ],
};

const modeWords: Readonly<Record<Mode, string>> = {
  terminal: 'in a terminal',
  background: 'in the background',
  once: 'in a terminal, removed when it ends',
};

/** All that can be chosen, with what is chosen; Enter runs it. */
function formQuestion(hostInfo: () => Promise<HostInfo>): PickStep<RunState> {
  return {
    kind: 'pick',
    placeholder: 'Change what you like, then run it',
    skip: ({ more }) => more !== 'form',
    items: (state) => [
      { label: '$(play) Run', description: [state.image ?? '', modeWords[state.mode]].join(' '), next: state },
      separator('Options', state),
      ...optionItems(state, state.mode === 'once'),
      separator('Limits', state),
      ...basicLimitFields.map((field) => ({
        label: field.label,
        description: field.show(state.limits),
        next: state,
        details: [limitQuestion(field, hostInfo)],
      })),
    ],
  };
}

function limitQuestion(field: LimitField, hostInfo: () => Promise<HostInfo>, skip?: (state: RunState) => boolean): InputStep<RunState> {
  // `read` is called for each key and cannot wait; the host was asked for before the box was shown.
  let host: HostInfo | undefined;
  return {
    kind: 'input',
    ...(skip === undefined ? {} : { skip }),
    ask: async (state) => {
      host = await hostInfo();
      return {
        prompt: `${field.label} limit: ${field.range(host)}. Empty: no limit.`,
        placeholder: field.example,
        value: field.edit(state.limits),
      };
    },
    read: (text, state) => {
      if (host === undefined) return { problem: 'Still reading what this host has.' };
      const parsed = parseLimit(field, text, state.limits, host);
      return parsed.kind === 'invalid'
        ? { problem: parsed.message }
        : { next: { ...state, limits: { ...state.limits, ...definedOnly(parsed.change) } } };
    },
  };
}

/** A partial has optional values; a spread of one would put undefined over a value. */
function definedOnly(change: LimitsChange): Partial<Limits> {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) as Partial<Limits>; // fromEntries loses the keys
}
