// code-server from npm, run by the product's Node 24, without the native builds that serve nothing here.
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inProject, nodeBinary, nodePackageDir, workbenchDir } from '../paths.mjs';
import { node24Environment } from './npmPackages.mjs';
import { runCommand } from './runCommand.mjs';

const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];

export async function installWorkbench({ logFile, say }) {
  // From nothing: npm is not sure to mend an installation that was interrupted.
  rmSync(workbenchDir, { recursive: true, force: true });
  mkdirSync(workbenchDir, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) {
    copyFileSync(inProject('scripts/workbench', name), join(workbenchDir, name));
  }
  const env = node24Environment(nodePackageDir);
  const npm = (cwd, ...args) => runCommand('npm', [...args, ...quiet], { logFile, cwd, env });
  await npm(workbenchDir, 'ci', '--ignore-scripts');
  say('fetched code-server');

  // What its postinstall does, less the builds of unused addons. `install`, not `ci`: the lock file that is shipped
  // inside is not in step with its package.json. node-pty and @parcel/watcher bring binaries along.
  const vscode = join(workbenchDir, 'node_modules/code-server/lib/vscode');
  await npm(vscode, 'install', '--omit=dev', '--ignore-scripts');
  await npm(join(vscode, 'extensions'), 'install', '--omit=dev', '--ignore-scripts');
  say("fetched VS Code's own packages");

  // Without spdlog every output channel stays empty; without native-watchdog an extension host may outlive its server.
  await npm(vscode, 'rebuild', '@vscode/spdlog', '@vscode/native-watchdog');
  const probe = "require('@vscode/spdlog'); require('node-pty');";
  await runCommand(nodeBinary, ['-e', probe], { logFile, cwd: vscode });
}
