import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import * as vscode from 'vscode';
import { writeWhole } from '../../helper/archive/writeWhole.ts';
import type { MethodResult } from '../../helper/protocol/index.ts';
import { loadArchive, saveImages } from '../../helper/wire/imageArchives.ts';
import { fileBytes } from '../client/archiveUpload.ts';
import { hostPath } from '../files/hostFile.ts';
import { imageName, type NamedImage, nameOf } from '../model/imageGroups.ts';
import { formatBytes } from '../model/units.ts';
import type { Services } from '../services.ts';
import { cancellable, type Report } from './cancellable.ts';
import { counted, startAt, startIn } from './fileTransfer.ts';
import { followLayers } from './layerProgress.ts';
import type { CommandHandlers } from './registry.ts';
import type { Targets } from './targets.ts';

type Loaded = MethodResult<'image.load'>['images'];

export function imageArchiveCommands(
  services: Services,
  targets: Targets,
): Pick<CommandHandlers, 'strata.image.load' | 'strata.image.save'> {
  return {
    'strata.image.load': () => load(services),
    'strata.image.save': async (args) => {
      const images = await targets.allNamed(args, 'Save image');
      if (images.length > 0) await save(services, images);
    },
  };
}

async function load(services: Services): Promise<void> {
  const [uri] =
    (await vscode.window.showOpenDialog({
      title: 'Load Images: an archive of "docker save" or "podman save", an OCI archive, or an OCI layout directory',
      openLabel: 'Load',
      canSelectFiles: true,
      canSelectFolders: true,
      canSelectMany: false,
      ...startIn(),
    })) ?? [];
  if (uri === undefined) return;
  const path = hostPath(uri);
  const images = await cancellable(`Loading images from ${basename(path)}`, async (signal, report) => {
    const { progress, stop } = followLayers(services.client, report);
    try {
      return await loadFrom(services, { path, progress, signal });
    } finally {
      stop();
    }
  });
  void vscode.window.showInformationMessage(`Loaded ${loadedWords(images)}.`);
}

/** A file is read with the user's rights and sent; a directory the helper reads by itself. */
async function loadFrom(
  { client }: Services,
  { path, progress, signal }: { readonly path: string; readonly progress: number; readonly signal: AbortSignal },
): Promise<Loaded> {
  if (await isDirectory(path))
    return (await client.request('image.load', { source: { kind: 'directory', path }, progress }, { signal })).images;
  return await loadArchive(client, fileBytes(path, signal), { progress }, signal);
}

/** What cannot be looked at is read as a file, which tells what is wrong with it. */
async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function loadedWords(images: Loaded): string {
  const names = images.flatMap(({ image, references }) => (references.length === 0 ? [imageName(image)] : references));
  return names.length > 5 ? `${names.length} images` : names.join(', ');
}

async function save({ client }: Services, images: readonly NamedImage[]): Promise<void> {
  const [first] = images;
  const what = images.length === 1 && first !== undefined ? nameOf(first) : `${images.length} images`;
  const uri = await vscode.window.showSaveDialog({
    title: `Save ${what} as an archive that Docker, Podman and Strata load`,
    saveLabel: 'Save',
    filters: { 'Image archives': ['tar'] },
    ...startAt(`${what.replaceAll(/[^\w.-]+/g, '-')}.tar`),
  });
  if (uri === undefined) return;
  const path = hostPath(uri);
  const sizeBytes = await cancellable(`Saving ${what}`, async (signal, report) => {
    const names = images.map(({ image, reference }) => reference ?? image.id);
    const archive = await saveImages(client, { images: names }, signal);
    await writeWhole(counted(archive.bytes, reportShare(report, archive.sizeBytes)), path);
    return archive.sizeBytes;
  });
  void vscode.window.showInformationMessage(`Saved ${what} to ${path} (${formatBytes(sizeBytes)}).`);
}

/** Tells of each percent once. */
function reportShare(report: Report, totalBytes: number): (bytes: number) => void {
  let shownPercent = 0;
  return (bytes) => {
    const percent = totalBytes === 0 ? 100 : Math.floor((100 * bytes) / totalBytes);
    if (percent <= shownPercent) return;
    report(`${formatBytes(bytes)} of ${formatBytes(totalBytes)}`, percent - shownPercent);
    shownPercent = percent;
  };
}
