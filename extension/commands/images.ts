import { homedir } from 'node:os';
import { basename } from 'node:path';
import * as vscode from 'vscode';
import type { ImageSummary } from '../../helper/protocol/index.ts';
import { importArchive } from '../client/archiveUpload.ts';
import type { HelperClient } from '../client/helperClient.ts';
import type { HelperDocuments } from '../files/helperDocuments.ts';
import { hostPath } from '../files/hostFile.ts';
import type { Services } from '../services.ts';
import { imageName } from '../views/imageItem.ts';
import { cancellable } from './cancellable.ts';
import type { CommandHandlers } from './registry.ts';
import type { Targets } from './targets.ts';

type ImageCommands = Pick<CommandHandlers, 'strata.image.import' | 'strata.image.remove' | 'strata.image.inspect' | 'strata.image.copyId'>;

export function imageCommands(services: Services, targets: Targets, documents: HelperDocuments): ImageCommands {
  const { client } = services;
  return {
    'strata.image.import': () => importImage(services),
    'strata.image.remove': async (args) => {
      const images = await targets.images(args, 'Remove image');
      if (images.length === 0 || !(await confirmRemoval(services, images))) return;
      await Promise.all(
        images.map((image) =>
          services.errors.guard(`Remove ${imageName(image)}`, () => client.request('image.remove', { image: image.id, force: true })),
        ),
      );
    },
    'strata.image.inspect': async (args) => {
      const [image] = await targets.images(args, 'Inspect image');
      if (image !== undefined) await documents.open('image', image.id, imageName(image));
    },
    'strata.image.copyId': async (args) => {
      const [image] = await targets.images(args, 'Copy image id');
      if (image !== undefined) await vscode.env.clipboard.writeText(image.id);
    },
  };
}

async function confirmRemoval({ store }: Services, images: readonly ImageSummary[]): Promise<boolean> {
  const ids = new Set(images.map((image) => image.id));
  const users = [...store.state.containers.values()].filter((container) => ids.has(container.imageId)).map((container) => container.name);
  const uses = users.length === 0 ? '' : ` In use by ${users.join(', ')}: the helper will refuse until they are removed.`;
  const names = images.map((image) =>
    image.references.length > 1 ? `${imageName(image)} (also named ${image.references.slice(1).join(', ')})` : imageName(image),
  );
  const answer = await vscode.window.showWarningMessage(
    images.length === 1 ? `Remove image "${names[0] ?? ''}"?` : `Remove ${images.length} images?`,
    {
      modal: true,
      detail: `${images.length === 1 ? '' : `${names.join('\n')}\n\n`}All names are removed, and the layers that no other image uses are deleted.${uses}`,
    },
    'Remove',
  );
  return answer === 'Remove';
}

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

async function importImage(services: Services): Promise<void> {
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
      // Without a folder VS Code might begin anywhere.
      ...(vscode.workspace.workspaceFolders === undefined ? { defaultUri: vscode.Uri.file(homedir()) } : {}),
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
