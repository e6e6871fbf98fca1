import * as vscode from 'vscode';
import { type ContainerSummary, StrataError, type ViewEntry } from '../../helper/protocol/index.ts';
import { messageOf } from '../errors.ts';
import { viewUri } from '../files/viewUri.ts';
import type { Services } from '../services.ts';
import type { LayersView } from '../views/layersView.ts';
import type { CommandHandlers } from './registry.ts';
import type { Targets } from './targets.ts';

type BrowseCommands = Pick<CommandHandlers, 'strata.files.browse' | 'strata.files.browseAsOf' | 'strata.files.goTo'>;

export function browseCommands(services: Services, targets: Targets, layers: LayersView): BrowseCommands {
  return {
    'strata.files.browse': async (args) => {
      const image = targets.imageOf(args[0]);
      if (image !== undefined) {
        await layers.browse({ kind: 'image', id: image.id });
        return;
      }
      const container = await targets.container(args, 'Browse files');
      if (container !== undefined) await layers.browse({ kind: 'container', id: container.id });
    },
    'strata.files.browseAsOf': async ([node]) => {
      const target = layers.asOf(node);
      if (target !== undefined) await layers.browse(target);
    },
    'strata.files.goTo': async (args) => {
      const container = await targets.container(args, 'Go to file');
      const path = container === undefined ? undefined : await askForFile(services, container);
      if (container === undefined || path === undefined) return;
      await vscode.commands.executeCommand('vscode.open', viewUri({ kind: 'container', container: container.id }, path));
    },
  };
}

interface PathItem extends vscode.QuickPickItem {
  readonly path: string;
  readonly isDirectory: boolean;
}

/** A path is typed as in a shell: what the directory has that was typed so far is offered. */
function askForFile({ client }: Services, { id, name }: ContainerSummary): Promise<string | undefined> {
  const pick = vscode.window.createQuickPick<PathItem>();
  let shown: string | undefined;
  const list = async (value: string): Promise<void> => {
    const directory = value.startsWith('/') ? value.slice(0, value.lastIndexOf('/') + 1) : '/';
    if (directory === shown) return;
    shown = directory;
    pick.busy = true;
    const answer = await listing(client, id, directory);
    if (directory !== shown) return; // another was typed meanwhile
    pick.busy = false;
    pick.items = typeof answer === 'string' ? [] : answer.map((entry) => itemOf(directory, entry));
    pick.title = typeof answer === 'string' ? answer : `Go to file in ${name}`;
  };
  return new Promise((resolve) => {
    pick.title = `Go to file in ${name}`;
    pick.placeholder = 'A path in the container: /etc/hosts';
    pick.value = '/';
    pick.onDidChangeValue((value) => void list(value));
    pick.onDidAccept(() => {
      const [item] = pick.activeItems;
      if (item?.isDirectory === true) {
        pick.value = `${item.path}/`;
        void list(pick.value);
        return;
      }
      resolve(item?.path ?? pick.value);
      pick.hide();
    });
    pick.onDidHide(() => {
      resolve(undefined);
      pick.dispose();
    });
    pick.show();
    void list(pick.value);
  });
}

/** What a directory has; words, where it cannot be listed. */
async function listing(client: Services['client'], container: string, path: string): Promise<readonly ViewEntry[] | string> {
  try {
    return (await client.request('view.list', { view: { kind: 'container', container }, path })).entries;
  } catch (error) {
    if (error instanceof StrataError) return messageOf(error);
    throw error;
  }
}

function itemOf(directory: string, { name, kind, linkKind, linkTarget }: ViewEntry): PathItem {
  const isDirectory = (linkKind ?? kind) === 'directory';
  return {
    label: `${directory}${name}`,
    path: `${directory}${name}`,
    isDirectory,
    iconPath: isDirectory ? vscode.ThemeIcon.Folder : vscode.ThemeIcon.File,
    ...(linkTarget !== undefined && { description: `→ ${linkTarget}` }),
  };
}
