// The desktop VS Code, where there is one and a place to show it.
import { spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findOnPath, vsixFile } from '../paths.mjs';
import { plainEnvironment } from '../setup/runCommand.mjs';
import { writeSettings } from './settingsFile.mjs';

/** The `code` command, or undefined when it would have nowhere to open a window. */
export function desktopCommand() {
  const command = findOnPath('code');
  if (command === undefined) return undefined;
  // In a terminal of VS Code (Remote-SSH included) `code` talks to that window and needs no display.
  const hasWindow = process.env.VSCODE_IPC_HOOK_CLI || process.env.DISPLAY || process.env.WAYLAND_DISPLAY;
  // VS Code refuses to run as root, and a root-owned profile in the person's home would be no favour.
  return hasWindow && process.getuid() !== 0 ? command : undefined;
}

/**
 * Where VS Code keeps the settings of this host. In a remote window `code` is the server's own, below the server's folder,
 * and those are its machine settings; else they are the user's, which are the machine's when VS Code runs on it.
 */
export function hostSettingsFile(command, env = process.env) {
  const server = /^(.*\/\.vscode-server[^/]*)\/.*\/remote-cli\/code$/.exec(command)?.[1];
  if (server !== undefined) return join(env.VSCODE_AGENT_FOLDER || server, 'data/Machine/settings.json');
  const userData = env.VSCODE_PORTABLE
    ? join(env.VSCODE_PORTABLE, 'user-data')
    : join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'Code');
  return join(userData, 'User/settings.json');
}

/** So that the extension finds this helper, and can start it again when it has ended. */
function writeHostSettings(command, { socket, startCommand }) {
  const settings = { 'strata.socketPath': socket, 'strata.helper.startCommand': startCommand };
  const file = hostSettingsFile(realpathSync(command));
  if (writeSettings(file, settings)) console.log(`[start] strata.socketPath and strata.helper.startCommand are set in ${file}`);
  else console.error(`[start] ${file} could not be read: set these yourself, for 'Start Helper': ${JSON.stringify(settings)}`);
}

export async function openDesktop(command, helper) {
  writeHostSettings(command, helper);
  const env = plainEnvironment();
  for (const args of [['--install-extension', vsixFile, '--force'], [process.env.INIT_CWD ?? process.cwd()]]) {
    const result = spawnSync(command, args, { env, stdio: 'inherit' });
    if (result.status !== 0) throw new Error(`'code ${args[0]}' failed: try it by hand, or use \`npm start -- --browser\``);
  }
  console.log("[start] VS Code is open: look for Strata in its activity bar (in a window that was open, run 'Developer: Reload Window')");
}
