import * as vscode from 'vscode';
import type { HelperDocuments } from '../files/helperDocuments.ts';
import { imageName } from '../model/imageGroups.ts';
import type { Services } from '../services.ts';
import { readSettings } from '../settings.ts';
import { openTerminal } from '../terminals/open.ts';
import { logsPlan } from '../terminals/sessions.ts';
import type { LayersView } from '../views/layersView.ts';
import type { CommandHandlers } from './registry.ts';
import { isRunning, type Targets } from './targets.ts';

type LookCommands = Pick<
  CommandHandlers,
  | 'strata.container.logs'
  | 'strata.container.inspect'
  | 'strata.container.processes'
  | 'strata.container.copyId'
  | 'strata.container.copyName'
  | 'strata.layers.show'
  | 'strata.layers.refresh'
  | 'strata.layers.copyHostPath'
  | 'strata.host.info'
>;

export function lookCommands(
  services: Services,
  targets: Targets,
  { layers, documents }: { readonly layers: LayersView; readonly documents: HelperDocuments },
): LookCommands {
  const { client, store } = services;
  return {
    'strata.container.logs': async (args) => {
      for (const container of await targets.containers(args, 'Follow logs in a terminal')) {
        openTerminal(`${container.name}: logs`, 'output', logsPlan(client, container.id, readSettings().logTail));
      }
    },
    'strata.container.inspect': async (args) => {
      const container = await targets.container(args, 'Inspect');
      if (container !== undefined) await documents.open('container', container.id, container.name);
    },
    'strata.container.processes': async (args) => {
      const container = await targets.container(args, 'Show processes', isRunning);
      if (container !== undefined) await documents.open('processes', container.id, container.name);
    },
    'strata.container.copyId': async (args) => {
      const containers = await targets.containers(args, 'Copy id');
      if (containers.length > 0) await vscode.env.clipboard.writeText(containers.map((container) => container.id).join('\n'));
    },
    'strata.container.copyName': async (args) => {
      const containers = await targets.containers(args, 'Copy name');
      if (containers.length > 0) await vscode.env.clipboard.writeText(containers.map((container) => container.name).join('\n'));
    },
    'strata.layers.show': async (args) => {
      const image = targets.imageOf(args[0]);
      if (image !== undefined) {
        await layers.reveal({ kind: 'image', id: image.id });
        return;
      }
      const chosen = args.length > 0 ? await targets.container(args, 'Show layers') : await anyTarget(services);
      if (chosen !== undefined)
        await layers.reveal('layerCount' in chosen ? { kind: 'image', id: chosen.id } : { kind: 'container', id: chosen.id });
    },
    'strata.layers.refresh': () => layers.refresh(),
    'strata.layers.copyHostPath': async ([node]) => {
      const path = layers.hostPath(node);
      if (path !== undefined) await vscode.env.clipboard.writeText(path);
    },
    'strata.host.info': () => documents.open('host', 'host', 'strata-host'),
  };

  /** From the palette: any container or image. */
  async function anyTarget({ store: { state } }: Services): Promise<ReturnType<typeof store.container> | ReturnType<typeof store.image>> {
    const containers = [...state.containers.values()].map((value) => ({
      label: value.name,
      description: `container of ${value.image}`,
      value,
    }));
    const images = [...state.images.values()].map((value) => ({ label: imageName(value), description: 'image', value }));
    const chosen = await vscode.window.showQuickPick([...containers, ...images], {
      title: 'Show layers',
      placeHolder: 'Choose a container or an image',
    });
    return chosen?.value;
  }
}
