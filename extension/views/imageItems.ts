import * as vscode from 'vscode';
import type { ImageUsage } from '../../helper/protocol/index.ts';
import { itemKinds } from '../contributions/views.ts';
import { shortId } from '../model/containerWords.ts';
import type { HistoryStep } from '../model/historySteps.ts';
import { hubPage, type NamedImage, nameOf, type Repository, tagOf } from '../model/imageGroups.ts';
import { formatBytes, formatTime } from '../model/units.ts';
import { codeSpan, detailsTooltip, escapeMarkdown } from './markdown.ts';

const { Collapsed, Expanded, None } = vscode.TreeItemCollapsibleState;

/** Of images that have no name any more. */
const UNTAGGED = 'untagged';

export function repositoryItem({ name, images }: Repository): vscode.TreeItem {
  const item = new vscode.TreeItem(name === '' ? UNTAGGED : name, Expanded);
  const count = name === '' ? counted(images.length, 'image') : counted(images.length, 'tag');
  item.id = `repository/${name}`;
  item.description = images.length === 1 ? '' : count;
  item.iconPath = new vscode.ThemeIcon('repo');
  item.contextValue = [itemKinds.repository, ...(name === '' ? [] : ['named']), ...hubFlag(name)].join(' ');
  item.tooltip = name === '' ? 'Images without a name: another image has got it, or it was taken away.' : name;
  item.accessibilityInformation = { label: `${name === '' ? 'Images without a name' : `Repository ${name}`}, ${count}` };
  return item;
}

export function imageItem(named: NamedImage): vscode.TreeItem {
  const { image, reference } = named;
  const item = new vscode.TreeItem(reference === undefined ? shortId(image.id) : tagOf(reference), Collapsed);
  const name = nameOf(named);
  item.id = `image/${image.id}/${reference ?? ''}`;
  item.description = `${formatBytes(image.sizeBytes)} · ${counted(image.layerCount, 'layer')}`;
  item.iconPath = new vscode.ThemeIcon('package');
  item.contextValue = [
    itemKinds.image,
    ...(reference === undefined ? [] : ['named', ...hubFlag(reference)]),
    ...(image.layerCount > 1 ? ['layered'] : []),
  ].join(' ');
  item.accessibilityInformation = { label: `Image ${name}, ${item.description}` };
  return item;
}

/** `usage` is undefined where the helper cannot tell. */
export function imageTooltip(named: NamedImage, usage: ImageUsage | undefined): vscode.MarkdownString {
  const { image } = named;
  const others = image.references.filter((reference) => reference !== named.reference);
  return detailsTooltip(nameOf(named), [
    ['Also named', others.map(codeSpan).join(', ')],
    ['Size', `${formatBytes(image.sizeBytes)}, unpacked`],
    [
      'Shared',
      usage === undefined ? undefined : usage.sharedBytes === 0 ? 'nothing' : `${formatBytes(usage.sharedBytes)} with other images`,
    ],
    ['Its own', usage === undefined ? undefined : `${formatBytes(usage.uniqueBytes)}: what its removal frees`],
    ['Compressed', usage === undefined || usage.blobBytes === 0 ? undefined : `${formatBytes(usage.blobBytes)}, as registries have it`],
    ['Used by', usage === undefined ? undefined : usage.containers.map(codeSpan).join(', ')],
    ['Layers', String(image.layerCount)],
    ['Platform', escapeMarkdown(`${image.os}/${image.architecture}`)],
    ['Created', image.createdAt === null ? undefined : escapeMarkdown(formatTime(image.createdAt))],
    ['Id', codeSpan(shortId(image.id))],
  ]);
}

export function stepItem(step: HistoryStep, key: string): vscode.TreeItem {
  const { entry, layer, instruction, rest } = step;
  const item = new vscode.TreeItem(layer === undefined ? instruction || 'step' : `layer ${layer}`, None);
  const words = layer === undefined ? rest : [instruction, rest].filter((part) => part !== '').join(' ');
  item.id = key;
  item.description = [entry.layer === null ? '' : formatBytes(entry.layer.sizeBytes), words].filter((part) => part !== '').join(' · ');
  item.iconPath =
    layer === undefined ? new vscode.ThemeIcon('settings', new vscode.ThemeColor('disabledForeground')) : new vscode.ThemeIcon('layers');
  item.contextValue = itemKinds.historyStep;
  item.tooltip = detailsTooltip(layer === undefined ? 'Step without a layer' : `Layer ${layer}`, [
    ['Size', entry.layer === null ? undefined : formatBytes(entry.layer.sizeBytes)],
    ['Made by', entry.createdBy === null ? undefined : codeSpan(entry.createdBy)],
    ['Comment', entry.comment === null ? undefined : escapeMarkdown(entry.comment)],
    ['Made', entry.createdAt === null ? undefined : escapeMarkdown(formatTime(entry.createdAt))],
    ['diffID', entry.layer === null ? undefined : codeSpan(shortId(entry.layer.diffId))],
  ]);
  item.accessibilityInformation = {
    label: layer === undefined ? `${instruction || 'Step'} ${rest}, no layer` : `Layer ${layer}, ${item.description}`,
  };
  return item;
}

function hubFlag(reference: string): string[] {
  return reference !== '' && hubPage(reference) !== undefined ? ['hub'] : [];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
