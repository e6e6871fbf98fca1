import * as vscode from 'vscode';
import type { Layer, LayerEntry } from '../../helper/protocol/index.ts';
import { itemKinds } from '../contributions/views.ts';
import { layerUri } from '../files/layerUri.ts';
import { shortId } from '../model/containerWords.ts';
import { instructionOf } from '../model/historySteps.ts';
import type { MergedEntry } from '../model/mergedLayers.ts';
import type { LayerTarget } from '../model/store.ts';
import { formatBytes, formatTime } from '../model/units.ts';
import { codeSpan, detailsTooltip, escapeMarkdown } from './markdown.ts';

const roleWords = { upper: 'what this container changed', init: 'hosts, hostname, resolv.conf', image: 'from the image' } as const;
const roleIcons = { upper: 'edit', init: 'settings-gear', image: 'layers' } as const;

/** "upper", "init", "layer 3": image layers are counted from the bottom, as a Dockerfile is read. */
export function layerName(layer: Layer, stackSize: number): string {
  return layer.role === 'image' ? `layer ${stackSize - layer.index}` : layer.role;
}

/** The row of all layers together. */
export function mergedRootItem(target: LayerTarget | undefined): vscode.TreeItem {
  const item = new vscode.TreeItem('merged', vscode.TreeItemCollapsibleState.Collapsed);
  item.id = `${target?.id ?? ''}/merged`;
  item.description = mergedWords(target);
  item.iconPath = new vscode.ThemeIcon('files');
  item.contextValue = itemKinds.merged;
  item.tooltip = 'Every file says which layer it is from. What is mounted while the container runs (/proc, /dev, tmpfs) is not in it.';
  item.accessibilityInformation = { label: `merged, ${item.description}` };
  return item;
}

function mergedWords(target: LayerTarget | undefined): string {
  if (target?.layers !== undefined) return `as of layer ${target.layers}`;
  return target?.kind === 'image' ? 'all layers as a container would see them' : 'all layers as the container sees them';
}

export function mergedItem(
  { path, merged: { entry, layer, layers, hides }, uri }: { readonly path: string; readonly merged: MergedEntry; readonly uri: vscode.Uri },
  owner: string,
  stackSize: number,
): vscode.TreeItem {
  const item = entryItem(layer, path, entry, owner, uri);
  const from = (layers.length > 1 ? layers : [layer]).map((part) => layerName(part, stackSize)).join(', ');
  const words = entry.kind === 'directory' ? '' : entryWords(entry);
  item.id = `${owner}/merged${path}`;
  item.description = [words, from].filter((part) => part !== '').join(' · ');
  item.contextValue = entry.kind === 'directory' ? `${itemKinds.mergedEntry} directory` : itemKinds.mergedEntry;
  item.tooltip = detailsTooltip(path, [
    ['From', escapeMarkdown(from)],
    ['Hides', hides === undefined ? undefined : `the same name of ${escapeMarkdown(layerName(hides, stackSize))}`],
    ...entryDetails(entry),
  ]);
  item.accessibilityInformation = { label: `${entry.name}, ${kindWords[entry.kind]}, from ${from}` };
  return item;
}

export function layerItem(layer: Layer, number: number, owner: string): vscode.TreeItem {
  const item = new vscode.TreeItem(layer.role === 'image' ? `layer ${number}` : layer.role, vscode.TreeItemCollapsibleState.Collapsed);
  const size = layer.sizeBytes === null ? undefined : formatBytes(layer.sizeBytes);
  const what = layer.role === 'image' ? instructionOf(layer.createdBy ?? '') || roleWords.image : roleWords[layer.role];
  item.id = `${owner}/${layer.role}/${layer.index}`;
  item.description = [size, what].filter((part) => part !== undefined).join(' · ');
  item.iconPath = new vscode.ThemeIcon(roleIcons[layer.role]);
  item.contextValue = layer.role === 'image' ? `${itemKinds.layer} image` : itemKinds.layer;
  item.tooltip = detailsTooltip(layer.role === 'image' ? `Image layer ${number}` : `${layer.role} layer`, [
    ['Role', roleWords[layer.role]],
    ['Size', size],
    ['Entries', entriesOf(layer)],
    ['Made by', layer.createdBy === null ? undefined : codeSpan(layer.createdBy)],
    ['Made', layer.createdAt === null ? undefined : escapeMarkdown(formatTime(layer.createdAt))],
    ['diffID', layer.diffId === null ? undefined : codeSpan(shortId(layer.diffId))],
    ['On host', codeSpan(layer.path)],
  ]);
  item.accessibilityInformation = { label: `${layer.role} layer, ${item.description}` };
  return item;
}

function entriesOf({ entries, moreEntriesThan }: Layer): string | undefined {
  if (moreEntriesThan !== undefined) return `more than ${moreEntriesThan}`;
  return entries === null ? undefined : String(entries);
}

export function entryItem(
  layer: Layer,
  path: string,
  entry: LayerEntry,
  owner: string,
  uri = layerUri(layer.reference, path),
): vscode.TreeItem {
  const isDirectory = entry.kind === 'directory';
  const item = new vscode.TreeItem(
    entry.name,
    isDirectory ? vscode.TreeItemCollapsibleState.Collapsed : vscode.TreeItemCollapsibleState.None,
  );
  const words = entryWords(entry);
  item.id = `${owner}/${layer.role}/${layer.index}${path}`;
  item.description = words;
  item.iconPath = entryIcon(entry);
  item.contextValue = itemKinds.layerEntry;
  item.tooltip = detailsTooltip(path, entryDetails(entry));
  item.accessibilityInformation = { label: `${entry.name}, ${kindWords[entry.kind]}${words === '' ? '' : `, ${words}`}` };
  // The theme of file icons goes by the name; devices, links and whiteouts have icons of their own.
  if (entry.kind === 'file' || isDirectory) item.resourceUri = uri;
  if (entry.kind === 'file') {
    item.command = { command: 'vscode.open', title: 'Open', arguments: [uri, { preview: true }] };
  }
  return item;
}

function entryDetails(entry: LayerEntry): readonly (readonly [string, string | undefined])[] {
  return [
    ['Kind', entry.opaque === true ? 'opaque directory: hides the same directory of the layers below' : kindWords[entry.kind]],
    ['Target', entry.linkTarget === undefined ? undefined : codeSpan(entry.linkTarget)],
    ['Size', entry.kind === 'file' ? `${formatBytes(entry.sizeBytes)} (${entry.sizeBytes} bytes)` : undefined],
    ['Mode', codeSpan(modeText(entry))],
    ['Owner', `${entry.uid}:${entry.gid}`],
    ['Changed', escapeMarkdown(formatTime(entry.mtimeMs))],
  ];
}

export function messageItem(text: string, icon: string): vscode.TreeItem {
  const item = new vscode.TreeItem('');
  item.description = text;
  item.iconPath = new vscode.ThemeIcon(icon);
  item.tooltip = text;
  item.accessibilityInformation = { label: text };
  return item;
}

const kindWords: Readonly<Record<LayerEntry['kind'], string>> = {
  file: 'file',
  directory: 'directory',
  symlink: 'symbolic link',
  device: 'device',
  fifo: 'named pipe',
  socket: 'socket',
  whiteout: 'whiteout: this layer deletes the name that a layer below has',
};

function entryWords(entry: LayerEntry): string {
  switch (entry.kind) {
    case 'file':
      return formatBytes(entry.sizeBytes);
    case 'directory':
      return entry.opaque === true ? 'opaque: hides what is below' : '';
    case 'symlink':
      return `→ ${entry.linkTarget ?? '?'}`;
    case 'whiteout':
      return 'deleted here (whiteout)';
    case 'device':
    case 'fifo':
    case 'socket':
      return kindWords[entry.kind];
    default:
      return entry.kind satisfies never;
  }
}

function entryIcon(entry: LayerEntry): vscode.ThemeIcon {
  switch (entry.kind) {
    case 'file':
      return vscode.ThemeIcon.File;
    case 'directory':
      return entry.opaque === true
        ? new vscode.ThemeIcon('eye-closed', new vscode.ThemeColor('gitDecoration.modifiedResourceForeground'))
        : vscode.ThemeIcon.Folder;
    case 'symlink':
      return new vscode.ThemeIcon('file-symlink-file');
    case 'whiteout':
      return new vscode.ThemeIcon('diff-removed', new vscode.ThemeColor('gitDecoration.deletedResourceForeground'));
    case 'device':
    case 'fifo':
    case 'socket':
      return new vscode.ThemeIcon('plug');
    default:
      return entry.kind satisfies never;
  }
}

const typeLetters: Readonly<Record<LayerEntry['kind'], string>> = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  device: 'c',
  fifo: 'p',
  socket: 's',
  whiteout: 'c',
};

/** As `ls -l` writes it: "-rwxr-xr-x", set-id and sticky bits included. */
function modeText(entry: LayerEntry): string {
  const { mode } = entry;
  const triple = (shift: number, special: boolean, letter: string): string => {
    const bits = (mode >> shift) & 7;
    const last = special ? ((bits & 1) === 0 ? letter.toUpperCase() : letter) : (bits & 1) === 0 ? '-' : 'x';
    return `${(bits & 4) === 0 ? '-' : 'r'}${(bits & 2) === 0 ? '-' : 'w'}${last}`;
  };
  return `${typeLetters[entry.kind]}${triple(6, (mode & 0o4000) !== 0, 's')}${triple(3, (mode & 0o2000) !== 0, 's')}${triple(0, (mode & 0o1000) !== 0, 't')}`;
}
