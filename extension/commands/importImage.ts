import { basename } from 'node:path';
import * as vscode from 'vscode';
import type { ImageSummary } from '../../helper/protocol/index.ts';
import { importArchive } from '../client/archiveUpload.ts';
import type { HelperClient } from '../client/helperClient.ts';
import { hostPath } from '../files/hostFile.ts';
import { imageName } from '../model/imageGroups.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';
import { startIn } from './fileTransfer.ts';

type SourceKind = 'tar' | 'directory' | 'ociLayout';

const sources: readonly (vscode.QuickPickItem & { readonly source: SourceKind })[] = [
  {
    label: '$(file-zip) Root file system archive',
    description: 'a tar as "docker export" writes it; gzip, zstd and xz too',
    source: 'tar',
  },
  { label: '$(folder) Root file system directory', description: 'becomes an image with one layer', source: 'directory' },
  { label: '$(layers) OCI image layout', description: 'a directory with index.json and blobs; keeps its layers', source: 'ociLayout' },
];

export async function importImage(services: Services): Promise<void> {
  const chosen = await vscode.window.showQuickPick(sources, { title: 'Import Image', placeHolder: 'What is the image made from?' });
  if (chosen === undefined) return;
  const { source } = chosen;
  const isFile = source === 'tar';
  const [uri] =
    (await vscode.window.showOpenDialog({
      title: 'Import Image',
      openLabel: 'Import',
      canSelectFiles: isFile,
      canSelectFolders: !isFile,
      canSelectMany: false,
      ...startIn(),
    })) ?? [];
  if (uri === undefined) return;
  const path = hostPath(uri);
  const suggested = basename(path)
    .replace(/\.(tar|tgz|tar\.\w+)$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-');
  const reference = await vscode.window.showInputBox({
    title: 'Import Image',
    prompt:
      source === 'ociLayout'
        ? 'Name of the image; empty: the name that the layout gives it.'
        : 'Name of the image: name or name:tag, lower case.',
    value: source === 'ociLayout' ? '' : suggested,
    validateInput: (text) => (text === '' && source !== 'ociLayout' ? 'Write a name.' : undefined),
  });
  if (reference === undefined) return;
  await cancellable(`Importing ${reference === '' ? basename(path) : reference}…`, async (signal) => {
    const image = await sendImage(services.client, { kind: source, path, reference }, signal);
    void vscode.window.showInformationMessage(`Imported ${imageName(image)}.`);
  });
}

async function sendImage(
  client: HelperClient,
  source: { readonly kind: SourceKind; readonly path: string; readonly reference: string },
  signal: AbortSignal,
): Promise<ImageSummary> {
  const { kind, path } = source;
  const named = source.reference === '' ? {} : { reference: source.reference };
  if (kind === 'tar') return await importArchive(client, { path, ...named }, signal);
  return (await client.request('image.import', { source: { kind, path }, ...named }, { signal })).image;
}
