import * as vscode from 'vscode';
import type { ImageSummary } from '../../helper/protocol/index.ts';
import { itemKinds } from '../contributions/views.ts';
import { shortId } from '../model/containerWords.ts';
import { formatBytes, formatTime } from '../model/units.ts';
import { codeSpan, detailsTooltip, escapeMarkdown } from './markdown.ts';

/** The name a person would use: the first reference, else the short id. */
export function imageName(image: ImageSummary): string {
  return image.references[0] ?? shortId(image.id);
}

export function imageItem(image: ImageSummary): vscode.TreeItem {
  const item = new vscode.TreeItem(imageName(image));
  const others = image.references.length - 1;
  const layers = `${image.layerCount} ${image.layerCount === 1 ? 'layer' : 'layers'}`;
  item.id = `image/${image.id}`;
  item.description = [formatBytes(image.sizeBytes), layers, others > 0 ? `+${others} ${others === 1 ? 'name' : 'names'}` : '']
    .filter((part) => part !== '')
    .join(' · ');
  item.iconPath = new vscode.ThemeIcon('package');
  item.contextValue = itemKinds.image;
  item.accessibilityInformation = { label: `Image ${imageName(image)}, ${item.description}` };
  return item;
}

export function imageTooltip(image: ImageSummary): vscode.MarkdownString {
  return detailsTooltip(imageName(image), [
    ['Names', image.references.map(codeSpan).join(', ')],
    ['Size', `${formatBytes(image.sizeBytes)}, unpacked`],
    ['Layers', String(image.layerCount)],
    ['Platform', escapeMarkdown(`${image.os}/${image.architecture}`)],
    ['Created', image.createdAt === null ? undefined : escapeMarkdown(formatTime(image.createdAt))],
    ['Id', codeSpan(shortId(image.id))],
  ]);
}
