import * as vscode from 'vscode';
import { policyOf, restartChoices, retryCountProblem } from '../model/restartPolicies.ts';
import {
  environmentOption,
  healthCommandOption,
  healthIntervalOption,
  logFilesOption,
  logSizeOption,
  nameOption,
  optionWords,
  type RunOptions,
  stopSignalOption,
  stopTimeoutOption,
  type TextOption,
} from '../model/runOptions.ts';
import type { InputStep, PickItem, Step } from './steps.ts';

/** What the form is asked with: the options are a part of a larger state. */
interface HasOptions {
  readonly options: RunOptions;
}

interface Row<S> {
  readonly label: string;
  readonly words: (options: RunOptions) => string;
  readonly details: readonly Step<S>[];
}

/** The rows of "More Options", each with its present value and what is asked when it is chosen. */
export function optionItems<S extends HasOptions>(state: S, isRemovedAtItsEnd: boolean): readonly PickItem<S>[] {
  const rows: readonly Row<S>[] = [
    { label: 'Name', words: optionWords.name, details: [textStep(nameOption)] },
    { label: 'Environment', words: optionWords.environment, details: [textStep(environmentOption)] },
    // What is removed at its end cannot be started again.
    ...(isRemovedAtItsEnd ? [] : [{ label: 'Restart', words: optionWords.restarts, details: restartSteps<S>() }]),
    { label: 'Health check', words: optionWords.health, details: healthSteps<S>() },
    { label: 'First process', words: optionWords.init, details: [initStep<S>()] },
    { label: 'Stop', words: optionWords.stop, details: [textStep(stopSignalOption), textStep(stopTimeoutOption)] },
    { label: 'Log', words: optionWords.logs, details: [textStep(logSizeOption), textStep(logFilesOption)] },
  ];
  return rows.map(({ label, words, details }) => ({ label, description: words(state.options), next: state, details }));
}

export const separator = <S>(label: string, state: S): PickItem<S> => ({
  label,
  kind: vscode.QuickPickItemKind.Separator,
  next: state,
});

function withOptions<S extends HasOptions>(state: S, options: RunOptions): S {
  return { ...state, options };
}

function textStep<S extends HasOptions>(option: TextOption, skip?: (state: S) => boolean): InputStep<S> {
  return {
    kind: 'input',
    ...(skip === undefined ? {} : { skip }),
    ask: ({ options }) => ({ prompt: option.prompt, placeholder: option.placeholder, value: option.edit(options) }),
    read: (text, state) => {
      const result = option.read(text, state.options);
      return 'problem' in result ? result : { next: withOptions(state, result.next) };
    },
  };
}

function restartSteps<S extends HasOptions>(): readonly Step<S>[] {
  return [
    {
      kind: 'pick',
      placeholder: 'When shall it be started again?',
      items: (state) =>
        restartChoices.map(({ name, label, description }) => ({
          label,
          description,
          next: withOptions(state, { ...state.options, restartPolicy: { name } }),
        })),
    },
    {
      kind: 'input',
      skip: ({ options }) => options.restartPolicy?.name !== 'on-failure',
      ask: () => ({ prompt: 'How many times it may be started again; nothing: any number of times.' }),
      read: (text, state) => {
        const problem = retryCountProblem(text);
        if (problem !== undefined) return { problem };
        return { next: withOptions(state, { ...state.options, restartPolicy: policyOf('on-failure', text) }) };
      },
    },
  ];
}

function healthSteps<S extends HasOptions>(): readonly Step<S>[] {
  const isNotTyped = ({ options }: S): boolean => options.healthcheck?.test?.[0] !== 'CMD-SHELL';
  return [
    {
      kind: 'pick',
      placeholder: 'How shall its health be checked?',
      items: (state) => {
        const { healthcheck, ...others } = state.options;
        const before = healthcheck?.test?.[0] === 'CMD-SHELL' ? healthcheck : { test: ['CMD-SHELL', ''] };
        return [
          { label: 'As the image says', next: withOptions(state, others) },
          {
            label: 'By a command…',
            description: 'run in the container again and again',
            next: withOptions(state, { ...others, healthcheck: before }),
          },
          {
            label: 'Never',
            description: 'also where the image has a check',
            next: withOptions(state, { ...others, healthcheck: { test: ['NONE'] } }),
          },
        ];
      },
    },
    textStep(healthCommandOption, isNotTyped),
    textStep(healthIntervalOption, isNotTyped),
  ];
}

function initStep<S extends HasOptions>(): Step<S> {
  return {
    kind: 'pick',
    placeholder: 'What shall be the first process of the container?',
    items: (state) => {
      const { init: _, ...others } = state.options;
      return [
        { label: 'The command itself', description: 'as usual', next: withOptions(state, others) },
        {
          label: "Strata's init",
          description: 'reaps processes that lose their parent, hands signals on',
          next: withOptions(state, { ...others, init: true }),
        },
      ];
    },
  };
}
