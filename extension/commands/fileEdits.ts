import { posix } from 'node:path';
import * as vscode from 'vscode';
import type { ViewFileSystem } from '../files/viewFileSystem.ts';
import { viewUri } from '../files/viewUri.ts';
import type { Services } from '../services.ts';
import type { FilePlace, LayersView } from '../views/layersView.ts';
import type { CommandHandlers } from './registry.ts';

type FileEditCommands = Pick<
  CommandHandlers,
  'strata.files.newFile' | 'strata.files.newFolder' | 'strata.files.rename' | 'strata.files.delete'
>;

/** On rows of `merged` of a container. Editors that are open are told by the file system what became of their files. */
export function fileEditCommands({ store }: Services, layers: LayersView, files: ViewFileSystem): FileEditCommands {
  return {
    'strata.files.newFile': async ([node]) => {
      const place = layers.placeOf(node);
      const name = place && (await askForName(`New file in ${place.path}`, ''));
      if (place === undefined || name === undefined) return;
      const uri = uriOf(place, posix.join(place.path, name));
      await files.writeFile(uri, new Uint8Array(), { create: true, overwrite: false });
      await vscode.commands.executeCommand('vscode.open', uri);
    },
    'strata.files.newFolder': async ([node]) => {
      const place = layers.placeOf(node);
      const name = place && (await askForName(`New folder in ${place.path}`, ''));
      if (place !== undefined && name !== undefined) await files.createDirectory(uriOf(place, posix.join(place.path, name)));
    },
    'strata.files.rename': async ([node]) => {
      const place = layers.placeOf(node);
      const old = place && posix.basename(place.path);
      const name = old && (await askForName(`Rename ${place.path}`, old));
      if (place === undefined || name === undefined || name === old) return;
      const from = uriOf(place, place.path);
      const to = uriOf(place, posix.join(posix.dirname(place.path), name));
      // As an edit the editors that have it open go along. It tells nobody why it failed; asked again, the file system does.
      const edit = new vscode.WorkspaceEdit();
      edit.renameFile(from, to, { overwrite: false });
      if (!(await vscode.workspace.applyEdit(edit))) await files.rename(from, to, { overwrite: false });
    },
    'strata.files.delete': async ([node]) => {
      const place = layers.placeOf(node);
      const container = place && store.container(place.container);
      if (place === undefined || container === undefined) return;
      const detail =
        place.kind === 'directory' ? 'What is in it is deleted, too. The image keeps what it has.' : 'The image keeps what it has.';
      const message = `Delete "${place.path}" in ${container.name}?`;
      if ((await vscode.window.showWarningMessage(message, { modal: true, detail }, 'Delete')) !== 'Delete') return;
      await files.delete(uriOf(place, place.path), { recursive: true });
    },
  };
}

function uriOf({ container }: FilePlace, path: string): vscode.Uri {
  return viewUri({ kind: 'container', container }, path);
}

async function askForName(title: string, value: string): Promise<string | undefined> {
  return await vscode.window.showInputBox({
    title,
    value,
    prompt: 'A name, which is no path.',
    validateInput: (name) =>
      /^(?!\.{1,2}$)[^/\0]{1,255}$/.test(name) ? undefined : 'A name has 1 to 255 characters, none of which is "/".',
  });
}
