import * as vscode from 'vscode';
import type { CommandId } from '../contributions/commands.ts';
import type { LogDocument } from '../logs/logDocument.ts';
import type { LogDocuments } from '../logs/logDocuments.ts';
import { parseFilter } from '../model/log/logFilter.ts';
import type { ShownSources } from '../model/log/logLine.ts';
import { type LogRange, parseTime, rangePresets, rangeWords, WHOLE_LOG } from '../model/log/logRange.ts';
import { formatTime } from '../model/units.ts';
import type { CommandHandlers } from './registry.ts';
import { runSteps, type Step } from './steps.ts';
import type { Targets } from './targets.ts';

type LogCommands = Pick<CommandHandlers, Extract<CommandId, `strata.log.${string}`> | 'strata.container.openLogs'>;

/** A filter is tried while it is typed, when so long no key came. */
const TYPING_MS = 250;

export function logCommands(documents: LogDocuments, targets: Targets): LogCommands {
  const onActive =
    (act: (log: LogDocument) => Promise<void> | void): (() => Promise<void>) =>
    async () => {
      const log = documents.active;
      if (log === undefined) void vscode.window.showInformationMessage('Open the logs of a container first: "Open Logs".');
      else await act(log);
    };
  return {
    'strata.container.openLogs': async (args) => {
      for (const container of await targets.containers(args, 'Open logs')) await documents.show(container);
    },
    'strata.log.follow': onActive((log) => log.sticky.follow(true)),
    'strata.log.unfollow': onActive((log) => log.sticky.follow(false)),
    'strata.log.filter': onActive(askForFilter),
    'strata.log.changeFilter': onActive(askForFilter),
    'strata.log.sources': onActive(askForSources),
    'strata.log.range': onActive(askForRange),
    'strata.log.times': onActive((log) => log.choose({ times: !log.choices.times })),
    'strata.log.earlier': onActive((log) => log.loadEarlier()),
    'strata.log.menu': onActive(showMenu),
  };
}

/** What fits is shown while it is typed; leaving brings back what was there. */
async function askForFilter(log: LogDocument): Promise<void> {
  const before = log.choices.filter;
  const box = vscode.window.createInputBox();
  box.title = 'Filter Lines';
  box.prompt = 'Lines with this text, or /a regular expression/; "!" in front: the other lines. Empty: all lines.';
  box.placeholder = 'error';
  box.value = before?.text ?? '';
  let typing: NodeJS.Timeout | undefined;
  const show = (): Promise<void> => {
    clearTimeout(typing);
    const parsed = parseFilter(box.value);
    return parsed.kind === 'invalid' ? Promise.resolve() : log.choose({ filter: parsed.filter });
  };
  try {
    const isAccepted = await new Promise<boolean>((resolve) => {
      box.onDidChangeValue((typed) => {
        const parsed = parseFilter(typed);
        box.validationMessage = parsed.kind === 'invalid' ? parsed.message : '';
        clearTimeout(typing);
        typing = setTimeout(() => void show(), TYPING_MS);
      });
      box.onDidAccept(() => {
        if (parseFilter(box.value).kind === 'filter') resolve(true);
      });
      box.onDidHide(() => resolve(false));
      box.show();
    });
    if (isAccepted) await show();
    else if (log.choices.filter !== before) await log.choose({ filter: before });
  } finally {
    clearTimeout(typing);
    box.dispose();
  }
}

async function askForSources(log: LogDocument): Promise<void> {
  const choices: readonly (vscode.QuickPickItem & { readonly sources: ShownSources })[] = [
    { label: 'stdout and stderr', description: 'each line says which it is of', sources: 'both' },
    { label: 'stdout', sources: 'stdout' },
    { label: 'stderr', sources: 'stderr' },
  ];
  const placeHolder = log.isTty
    ? 'This container writes to a terminal: all that it writes is stdout'
    : 'Which of the two streams that it writes to?';
  const chosen = await vscode.window.showQuickPick(choices, { title: 'Streams', placeHolder });
  if (chosen !== undefined) await log.choose({ sources: chosen.sources });
}

interface RangeState {
  readonly range: LogRange;
  readonly isOwn: boolean;
}

async function askForRange(log: LogDocument): Promise<void> {
  const nowMs = Date.now();
  const timeStep = (prompt: string, key: 'sinceMs' | 'untilMs'): Step<RangeState> => ({
    kind: 'input',
    skip: ({ isOwn }) => !isOwn,
    ask: ({ range }) => {
      const value = range[key];
      return { prompt, placeholder: '10m, 14:30, 2026-11-20 14:30', value: value === undefined ? '' : formatTime(value) };
    },
    read: (text, state) => {
      const { [key]: _, ...others } = state.range;
      if (text.trim() === '') return { next: { ...state, range: others } };
      const time = parseTime(text, nowMs);
      if (time === undefined) return { problem: 'Write a time, like 14:30 or 2026-11-20 14:30, or how long ago: 10m, 2h, 3d.' };
      if (key === 'untilMs' && time <= (state.range.sinceMs ?? -Infinity)) return { problem: 'The end must be after the beginning.' };
      return { next: { ...state, range: { ...others, [key]: time } } };
    },
  });
  const answer = await runSteps<RangeState>(
    'Time Range',
    [
      {
        kind: 'pick',
        placeholder: `Which part of the log? Now: ${log.choices.range.words}`,
        items: (state) => [
          ...rangePresets(nowMs).map((range) => ({
            label: capitalized(range === WHOLE_LOG ? 'all of it' : range.words),
            description: range.sinceMs === undefined ? '' : rangeWords(range.sinceMs, undefined),
            next: { range, isOwn: false },
          })),
          { label: 'From … To …', description: 'times of your own', next: { ...state, range: log.choices.range, isOwn: true } },
        ],
      },
      timeStep('From when? Empty: from the beginning.', 'sinceMs'),
      timeStep('To when? Empty: to the end, and on.', 'untilMs'),
    ],
    { range: WHOLE_LOG, isOwn: false },
  );
  if (answer === undefined) return;
  const { sinceMs, untilMs } = answer.range;
  const isAll = sinceMs === undefined && untilMs === undefined;
  const range = answer.isOwn && !isAll ? { ...answer.range, words: rangeWords(sinceMs, untilMs) } : answer.range;
  await log.choose({ range: isAll ? WHOLE_LOG : range });
}

/** Everything that the icons do, with what holds now: what the status bar opens. */
async function showMenu(log: LogDocument): Promise<void> {
  const { filter, sources, range, times } = log.choices;
  const items: readonly (vscode.QuickPickItem & { readonly command: CommandId })[] = [
    log.sticky.isFollowing
      ? { label: '$(debug-pause) Stop Following', command: 'strata.log.unfollow' }
      : { label: '$(arrow-circle-down) Follow the End', command: 'strata.log.follow' },
    { label: '$(filter) Filter Lines…', description: filter?.text ?? 'all lines', command: 'strata.log.filter' },
    {
      label: '$(list-selection) Choose Streams…',
      description: sources === 'both' ? 'stdout and stderr' : sources,
      command: 'strata.log.sources',
    },
    { label: '$(history) Time Range…', description: range.words, command: 'strata.log.range' },
    { label: times ? '$(watch) Hide Times' : '$(watch) Show Times', command: 'strata.log.times' },
    {
      label: '$(arrow-circle-up) Load Earlier Lines',
      description: log.hasEarlier ? '' : 'there are none',
      command: 'strata.log.earlier',
    },
  ];
  const chosen = await vscode.window.showQuickPick(items, { title: 'Log', placeHolder: 'What to show' });
  if (chosen !== undefined) await vscode.commands.executeCommand(chosen.command);
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
