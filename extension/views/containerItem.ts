import * as vscode from 'vscode';
import type { ContainerSummary } from '../../helper/protocol/index.ts';
import { itemKinds } from '../contributions/views.ts';
import { joinCommand } from '../model/commandLine.ts';
import { type Appearance, appearanceOf, healthSentence, shortId, stateWords } from '../model/containerWords.ts';
import { limitsSummary } from '../model/limitFields.ts';
import { restartWords } from '../model/restartPolicies.ts';
import { formatDuration, formatTime } from '../model/units.ts';
import { containerUri } from './containerBadges.ts';
import { codeSpan, detailsTooltip, escapeMarkdown } from './markdown.ts';

const icons: Readonly<Record<Appearance, readonly [icon: string, color: string]>> = {
  created: ['vm-outline', 'disabledForeground'],
  running: ['vm-running', 'charts.green'],
  healthStarting: ['vm-running', 'charts.yellow'],
  healthy: ['vm-running', 'charts.green'],
  unhealthy: ['vm-running', 'list.errorForeground'],
  paused: ['debug-pause', 'charts.yellow'],
  restarting: ['sync', 'charts.yellow'],
  ended: ['vm', 'disabledForeground'],
  failed: ['error', 'list.errorForeground'],
  oom: ['flame', 'list.errorForeground'],
  unknown: ['question', 'list.warningForeground'],
};

export function containerIcon(container: ContainerSummary): vscode.ThemeIcon {
  const [icon, color] = icons[appearanceOf(container)];
  return new vscode.ThemeIcon(icon, new vscode.ThemeColor(color));
}

/** The flags that menus ask for: state, paused or about to restart, whether there is a stdin to attach to, and whether it is removed when it ends. */
export function containerContext(container: ContainerSummary): string {
  const { state, openStdin, tty, autoRemove } = container;
  const appearance = appearanceOf(container);
  const passing = appearance === 'paused' || appearance === 'restarting' ? [appearance] : [];
  return [itemKinds.container, state.kind, ...passing, ...(openStdin || tty ? ['stdin'] : []), ...(autoRemove ? ['autoRemove'] : [])].join(
    ' ',
  );
}

export function containerItem(container: ContainerSummary): vscode.TreeItem {
  const item = new vscode.TreeItem(container.name);
  const words = stateWords(container);
  item.id = `container/${container.id}`;
  const restarted =
    container.restartCount === 0 ? '' : ` · ${container.restartCount} ${container.restartCount === 1 ? 'restart' : 'restarts'}`;
  item.description = `${words}${restarted} · ${container.image}`;
  item.iconPath = containerIcon(container);
  item.resourceUri = containerUri(container);
  item.contextValue = containerContext(container);
  item.accessibilityInformation = { label: `Container ${container.name}, ${words}${restarted}, image ${container.image}` };
  return item;
}

/** "2 so far · on failure, 5 times at most"; nothing where nobody asked for any. */
function restartsOf({ restartPolicy, restartCount }: ContainerSummary): string | undefined {
  if (restartPolicy.name === 'no' && restartCount === 0) return undefined;
  return escapeMarkdown(`${restartCount} so far · ${restartWords(restartPolicy)}`);
}

/** Of one that an earlier version of Strata runs. */
function limitationWords({ limitations = [] }: ContainerSummary): string | undefined {
  return limitations.length === 0 ? undefined : escapeMarkdown(limitations.join('; '));
}

export function containerTooltip(container: ContainerSummary): vscode.MarkdownString {
  const { state } = container;
  const limits = limitsSummary(container.limits);
  const started = state.kind === 'created' ? null : state.startedAt;
  const finished = state.kind === 'exited' ? state.exit.finishedAt : undefined;
  return detailsTooltip(container.name, [
    ['State', stateWords(container)],
    ['Health', healthSentence(container)],
    ['Why', state.kind === 'exited' && state.exit.code !== 0 ? escapeMarkdown(state.exit.reason) : undefined],
    ['Until a restart', limitationWords(container)],
    ['Image', codeSpan(container.image)],
    ['Command', container.command.length === 0 ? undefined : codeSpan(joinCommand(container.command))],
    ['Limits', limits === '' ? 'none' : escapeMarkdown(limits)],
    ['Starts again', state.kind === 'exited' && state.restartsAt !== undefined ? formatTime(state.restartsAt) : undefined],
    ['Restarts', restartsOf(container)],
    ['Host pid', state.kind === 'running' ? String(state.pid) : undefined],
    ['Started', started === null ? undefined : formatTime(started)],
    ['Ended', finished === undefined ? undefined : formatTime(finished)],
    ['Ran for', started === null || finished === undefined ? undefined : formatDuration(Date.parse(finished) - Date.parse(started))],
    ['Created', formatTime(container.createdAt)],
    ['When it ends', container.autoRemove ? 'it is removed' : undefined],
    ['Id', codeSpan(shortId(container.id))],
  ]);
}
