import * as vscode from 'vscode';
import { installedHelper } from '../client/installedHelper.ts';
import { settings } from '../contributions/settings.ts';
import { START_FROM_CHECKOUT, UNSUPPORTED_HOST } from '../contributions/welcomes.ts';
import { joinCommand } from '../model/commandLine.ts';
import type { Services } from '../services.ts';
import { readSettings } from '../settings.ts';
import type { CommandHandlers } from './registry.ts';

type HelperCommands = Pick<CommandHandlers, 'strata.helper.start' | 'strata.helper.showLog' | 'strata.refresh'>;

/** The command line that starts a helper on this host; undefined where nobody has said one and none is installed. */
export function helperStartCommand(): string | undefined {
  const { startCommand, socketPath } = readSettings();
  if (startCommand !== '') return startCommand;
  const helper = installedHelper();
  return helper === undefined ? undefined : `sudo ${joinCommand([helper, '--socket', socketPath])}`;
}

/** `redraw`: everything that is shown, from what is known then. */
export function helperCommands({ client, log }: Services, redraw: () => void): HelperCommands {
  return {
    'strata.helper.start': async () => {
      if (client.state.kind === 'unsupportedHost') {
        void vscode.window.showInformationMessage(UNSUPPORTED_HOST);
        return;
      }
      const command = helperStartCommand();
      if (command === undefined) return sayHowToStart();
      const terminal = vscode.window.createTerminal({ name: 'Strata helper', iconPath: new vscode.ThemeIcon('layers') });
      terminal.show();
      // The helper is root's: the user reads the command and answers sudo. The views fill when the socket appears.
      terminal.sendText(command, true);
    },
    'strata.helper.showLog': () => log.show(),
    'strata.refresh': async () => {
      if (client.state.kind !== 'connected') {
        client.reconnect();
        return;
      }
      await client.refresh();
      redraw();
    },
  };
}

async function sayHowToStart(): Promise<void> {
  const copy = 'Copy Command';
  const set = 'Set Start Command';
  const choice = await vscode.window.showInformationMessage(
    `No Strata helper is installed on this host. To start one, run "${START_FROM_CHECKOUT}" in the Strata checkout on this host.`,
    copy,
    set,
  );
  if (choice === copy) await vscode.env.clipboard.writeText(START_FROM_CHECKOUT);
  if (choice === set) await vscode.commands.executeCommand('workbench.action.openSettings', `strata.${settings.startCommand.key}`);
}
