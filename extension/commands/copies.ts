import { basename, join } from 'node:path';
import * as vscode from 'vscode';
import { type CopyOptions, copyIn, copyOut } from '../../helper/archive/copies.ts';
import { baseName, isContent } from '../../helper/archive/copyPlan.ts';
import { writeWhole } from '../../helper/archive/writeWhole.ts';
import { type ContainerId, type ContainerSummary, containerPathSchema, StrataError } from '../../helper/protocol/index.ts';
import { ContainerArchive } from '../../helper/wire/containerArchive.ts';
import { hostPath } from '../files/hostFile.ts';
import { formatBytes } from '../model/units.ts';
import type { Services } from '../services.ts';
import type { LayersView } from '../views/layersView.ts';
import { cancellable } from './cancellable.ts';
import { counted, reportBytes, startAt, startIn } from './fileTransfer.ts';
import type { CommandHandlers } from './registry.ts';
import type { Targets } from './targets.ts';

type CopyCommands = Pick<CommandHandlers, 'strata.container.copyTo' | 'strata.container.copyFrom' | 'strata.container.export'>;

export function copyCommands(services: Services, targets: Targets, layers: LayersView): CopyCommands {
  const { store } = services;
  return {
    'strata.container.copyTo': async (args) => {
      const place = layers.placeOf(args[0]);
      const container = place === undefined ? await targets.container(args, 'Copy to container') : store.container(place.container);
      if (container === undefined) return;
      const paths = chosenUris(args) ?? (await askForFiles(container));
      if (paths !== undefined) await copyInto(services, layers, { container: container.id, paths, directory: place?.path });
    },
    'strata.container.copyFrom': async (args) => {
      const place = layers.placeOf(args[0]);
      const container = place === undefined ? await targets.container(args, 'Copy from container') : store.container(place.container);
      if (container === undefined) return;
      const path =
        place?.path ?? (await askForPath(`Copy from ${container.name}`, 'What to copy: a file or directory of the container.', '/'));
      if (path !== undefined) await copyFrom(services, container, path);
    },
    'strata.container.export': async (args) => {
      const container = await targets.container(args, 'Export file system');
      if (container !== undefined) await exportFileSystem(services, container);
    },
  };
}

/**
 * Copies files of the host into a directory of a container, for a command or a drop. Without a directory the user is asked for one.
 * `refresh` shows what has changed.
 */
export async function copyInto(
  services: Services,
  view: { refresh(): void },
  asked: { readonly container: ContainerId; readonly paths: readonly string[]; readonly directory: string | undefined },
): Promise<void> {
  const { client, store } = services;
  const container = store.container(asked.container);
  if (container === undefined) return;
  const directory =
    asked.directory ??
    (await askForPath(
      `Copy to ${container.name}`,
      `Where to copy ${countWords(asked.paths)} to: a directory of the container, or a new name.`,
      (
        await client.request('container.inspect', { container: container.id })
      ).process.cwd,
    ));
  if (directory === undefined || !(await mayReplace(services, container, { ...asked, directory }))) return;
  const skipped: string[] = [];
  const bytes = await cancellable(`Copying ${countWords(asked.paths)} to ${container.name}`, async (signal, report) => {
    const end = new ContainerArchive(client, container.id, signal);
    let sum = 0;
    // One after the other: each may fail, and the first that does ends it.
    for (const path of asked.paths) sum += (await copyIn(end, path, directory, copyOptions(signal, report, skipped))).bytes;
    return sum;
  });
  view.refresh();
  tell(`Copied ${countWords(asked.paths)} (${formatBytes(bytes)}) to ${directory} in ${container.name}.`, skipped);
}

async function copyFrom(services: Services, container: ContainerSummary, path: string): Promise<void> {
  const [uri] =
    (await vscode.window.showOpenDialog({
      title: `Copy ${path} from ${container.name} to…`,
      openLabel: 'Copy Here',
      canSelectFiles: false,
      canSelectFolders: true,
      ...startIn(),
    })) ?? [];
  if (uri === undefined) return;
  const folder = hostPath(uri);
  // What has no name of its own gets the container's.
  const isNameless = isContent(path);
  const target = join(folder, isNameless ? container.name : baseName(path));
  if ((await exists(target)) && !(await confirmReplace(`"${target}" is there already.`))) return;
  const skipped: string[] = [];
  const { bytes } = await cancellable(`Copying ${path} from ${container.name}`, (signal, report) =>
    copyOut(
      new ContainerArchive(services.client, container.id, signal),
      path,
      isNameless ? target : folder,
      copyOptions(signal, report, skipped),
    ),
  );
  tell(`Copied ${path} (${formatBytes(bytes)}) from ${container.name} to ${folder}.`, skipped);
}

async function exportFileSystem(services: Services, container: ContainerSummary): Promise<void> {
  const uri = await vscode.window.showSaveDialog({
    title: `Export the File System of ${container.name}`,
    saveLabel: 'Export',
    filters: { 'Tar archives': ['tar'] },
    ...startAt(`${container.name}.tar`),
  });
  if (uri === undefined) return;
  const path = hostPath(uri);
  await cancellable(`Exporting the file system of ${container.name}`, async (signal, report) => {
    const bytes = await new ContainerArchive(services.client, container.id, signal).export();
    await writeWhole(counted(bytes, reportBytes(report)), path);
  });
  tell(`Exported the file system of ${container.name} to ${path}.`, []);
}

/** From the explorer: what was clicked, and all that is selected. */
function chosenUris([first, all]: readonly unknown[]): readonly string[] | undefined {
  if (!(first instanceof vscode.Uri)) return undefined;
  const uris = Array.isArray(all) ? all.filter((uri) => uri instanceof vscode.Uri) : [];
  return (uris.length > 0 ? uris : [first]).map(hostPath);
}

async function askForFiles(container: ContainerSummary): Promise<readonly string[] | undefined> {
  const uris = await vscode.window.showOpenDialog({
    title: `Copy to ${container.name}`,
    openLabel: 'Copy',
    canSelectFiles: true,
    canSelectFolders: true,
    canSelectMany: true,
    ...startIn(),
  });
  return uris?.map(hostPath);
}

async function askForPath(title: string, prompt: string, value: string): Promise<string | undefined> {
  return await vscode.window.showInputBox({
    title,
    prompt,
    value,
    ignoreFocusOut: true,
    validateInput: (text) => (containerPathSchema.safeParse(text).success ? undefined : 'Write a path that starts with "/".'),
  });
}

/** Asks where files of the container would be replaced. */
async function mayReplace(
  { client }: Services,
  container: ContainerSummary,
  { paths, directory }: { readonly paths: readonly string[]; readonly directory: string },
): Promise<boolean> {
  const end = new ContainerArchive(client, container.id);
  const kindOf = async (path: string): Promise<string | undefined> => {
    try {
      return (await end.stat(path, true)).kind;
    } catch (error) {
      if (error instanceof StrataError && (error.code === 'PATH_NOT_FOUND' || error.code === 'NOT_A_DIRECTORY')) return undefined;
      throw error;
    }
  };
  const targets =
    (await kindOf(directory)) === 'directory' ? paths.map((path) => `${directory.replace(/\/+$/, '')}/${basename(path)}`) : [directory];
  const kinds = await Promise.all(targets.map(kindOf));
  const replaced = targets.filter((_, index) => kinds[index] !== undefined);
  if (replaced.length === 0) return true;
  const [only] = replaced;
  return await confirmReplace(
    replaced.length === 1 ? `"${only}" is in ${container.name} already.` : `${replaced.length} of them are in ${container.name} already.`,
  );
}

async function confirmReplace(message: string): Promise<boolean> {
  const detail = 'Files are replaced. Directories are merged: files of the same names are replaced in them.';
  return (await vscode.window.showWarningMessage(message, { modal: true, detail }, 'Replace')) === 'Replace';
}

async function exists(path: string): Promise<boolean> {
  try {
    await vscode.workspace.fs.stat(vscode.Uri.file(path));
    return true;
  } catch {
    return false;
  }
}

function copyOptions(signal: AbortSignal, report: (message: string) => void, skipped: string[]): CopyOptions {
  return { signal, progress: reportBytes(report), skipped: (path) => skipped.push(path) };
}

function tell(text: string, skipped: readonly string[]): void {
  if (skipped.length === 0) {
    void vscode.window.showInformationMessage(text);
    return;
  }
  const more = skipped.length > 3 ? `, and ${skipped.length - 3} more` : '';
  void vscode.window.showWarningMessage(
    `${text} Left out, since they are no files, directories or links: ${skipped.slice(0, 3).join(', ')}${more}.`,
  );
}

function countWords(paths: readonly string[]): string {
  const [only] = paths;
  return paths.length === 1 && only !== undefined ? basename(only) : `${paths.length} files and folders`;
}
