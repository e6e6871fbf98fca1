import * as vscode from 'vscode';
import type { ContainerId } from '../helper/protocol/index.ts';
import { connect } from '../helper/wire/connect.ts';
import { HelperClient } from './client/helperClient.ts';
import { bootstrapCommand } from './commands/bootstrap.ts';
import { browseCommands } from './commands/browse.ts';
import { changeCommands } from './commands/changes.ts';
import { commitCommand } from './commands/commit.ts';
import { copyCommands, copyInto } from './commands/copies.ts';
import { fileEditCommands } from './commands/fileEdits.ts';
import { helperCommands, helperStartCommand } from './commands/helper.ts';
import { imageArchiveCommands } from './commands/imageArchives.ts';
import { imageCommands } from './commands/images.ts';
import { lifecycleCommands } from './commands/lifecycle.ts';
import { limitCommand } from './commands/limits.ts';
import { logCommands } from './commands/logs.ts';
import { lookCommands } from './commands/look.ts';
import { pullCommands } from './commands/pull.ts';
import { pushCommand } from './commands/push.ts';
import { registerCommands } from './commands/registry.ts';
import { loginCommands } from './commands/registryLogin.ts';
import { runCommand } from './commands/run.ts';
import { shellCommands } from './commands/shell.ts';
import { squashCommand } from './commands/squash.ts';
import { Targets } from './commands/targets.ts';
import { contextKeys } from './contributions/context.ts';
import { ErrorReporter } from './errors.ts';
import { DOCUMENT_SCHEME, HelperDocuments } from './files/helperDocuments.ts';
import { hostPath } from './files/hostFile.ts';
import { LayerFileSystem } from './files/layerFileSystem.ts';
import { LAYER_SCHEME } from './files/layerUri.ts';
import { ViewFileSystem } from './files/viewFileSystem.ts';
import { CONTAINER_SCHEME, PAST_SCHEME } from './files/viewUri.ts';
import { LogDocuments } from './logs/logDocuments.ts';
import { LogToolbar } from './logs/logToolbar.ts';
import { FigureStore } from './model/figures.ts';
import { ShellMemory } from './model/shellMemory.ts';
import { Store } from './model/store.ts';
import { RegistryLogins } from './registryLogins.ts';
import { ChangesControls } from './scm/changesControls.ts';
import type { Services } from './services.ts';
import { readSettings } from './settings.ts';
import { CgroupsView } from './views/cgroupsView.ts';
import { ContainerBadges } from './views/containerBadges.ts';
import { ContainersView } from './views/containersView.ts';
import type { DropFiles } from './views/fileDrop.ts';
import { ImagesView } from './views/imagesView.ts';
import { LayersView } from './views/layersView.ts';
import { StatusBar } from './views/statusBar.ts';

/** Wiring only: who exists, and who knows whom. */
export function activate(context: vscode.ExtensionContext): void {
  const own = <T extends vscode.Disposable>(disposable: T): T => {
    context.subscriptions.push(disposable);
    return disposable;
  };
  const services = makeServices(context, own);
  const { client, store, figures } = services;

  const drop: DropFiles = (uris, { container, path }) =>
    void services.errors.guard('Copy to Container', async () => {
      await copyInto(services, layers, { container, paths: uris.map(hostPath), directory: path });
    });
  own(new ContainerBadges(services));
  const containers = own(new ContainersView(services, drop));
  const images = own(new ImagesView(services));
  const layers = own(new LayersView(services, drop));
  const cgroups = own(new CgroupsView(services));
  own(new StatusBar(services));
  const layerFiles = own(new LayerFileSystem(client));
  own(
    vscode.workspace.registerFileSystemProvider(LAYER_SCHEME, layerFiles, {
      isCaseSensitive: true,
      isReadonly: new vscode.MarkdownString('Layers are shown as they are and cannot be changed from here.'),
    }),
  );
  const files = own(new ViewFileSystem(client));
  own(vscode.workspace.registerFileSystemProvider(CONTAINER_SCHEME, files, { isCaseSensitive: true }));
  own(
    vscode.workspace.registerFileSystemProvider(PAST_SCHEME, files, {
      isCaseSensitive: true,
      isReadonly: new vscode.MarkdownString('An image never changes, and what was before a layer is over. Change files in a container.'),
    }),
  );
  own(files.onDidChangeFile(() => layers.refresh()));
  const documents = own(new HelperDocuments(services));
  own(vscode.workspace.registerTextDocumentContentProvider(DOCUMENT_SCHEME, documents));

  const logs = own(new LogDocuments(services));
  own(new LogToolbar(logs));

  const changes = own(
    new ChangesControls(services, (uris) => {
      layerFiles.changed(uris.filter(({ scheme }) => scheme === LAYER_SCHEME));
      files.changed(uris.filter(({ scheme }) => scheme === CONTAINER_SCHEME));
    }),
  );
  const keyRows = { containers: () => containers.keyRows(), images: () => images.keyRows() };
  const targets = new Targets(store, keyRows, (control) => changes.containerOf(control));
  const logins = new RegistryLogins(context.secrets);
  const handlers = {
    ...runCommand(services, targets, logins, (id: ContainerId) => void containers.reveal(id)),
    ...lifecycleCommands(services, targets),
    ...limitCommand(services, targets),
    ...lookCommands(services, targets, { layers, documents }),
    ...browseCommands(services, targets, layers),
    ...fileEditCommands(services, layers, files),
    ...shellCommands(services, targets, new ShellMemory(context.globalState)),
    ...logCommands(logs, targets),
    ...imageCommands(services, targets, documents),
    ...pullCommands(services, targets, logins),
    ...loginCommands(logins),
    ...pushCommand(services, targets, logins),
    ...imageArchiveCommands(services, targets),
    ...bootstrapCommand(services),
    ...commitCommand(services, targets, changes),
    ...squashCommand(services, targets),
    ...copyCommands(services, targets, layers),
    ...changeCommands(targets, changes),
    ...helperCommands(services, () => {
      for (const shown of [containers, images, layers, cgroups, documents]) shown.refresh();
    }),
  };
  own(registerCommands(handlers, services.errors));

  const showState = (): void => {
    const { state } = client;
    void vscode.commands.executeCommand('setContext', contextKeys.state, state.kind);
    void vscode.commands.executeCommand('setContext', contextKeys.role, state.kind === 'connected' ? state.role : 'none');
    void vscode.commands.executeCommand('setContext', contextKeys.canStartHelper, helperStartCommand() !== undefined);
  };
  showState();
  own(new vscode.Disposable(client.onState(showState)));
  own(
    new vscode.Disposable(
      client.onMessage((message) => {
        if (message.kind === 'cleared') figures.clear();
        store.apply(message);
      }),
    ),
  );
  own(
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration('strata.socketPath')) client.reconnect(readSettings().socketPath);
      if (event.affectsConfiguration('strata.helper')) showState();
      if (event.affectsConfiguration('strata.cgroups')) cgroups.settingsChanged();
    }),
  );
  client.start();
}

function makeServices(context: vscode.ExtensionContext, own: <T extends vscode.Disposable>(disposable: T) => T): Services {
  const log = own(vscode.window.createOutputChannel('Strata', { log: true }));
  const { version } = context.extension.packageJSON as { readonly version: string }; // VS Code has parsed our own manifest
  const client = own(
    new HelperClient(readSettings().socketPath, (socketPath) => connect({ socketPath, client: { name: 'vscode', version } }), log),
  );
  return { client, store: new Store(), figures: new FigureStore(), errors: new ErrorReporter(log), log };
}
