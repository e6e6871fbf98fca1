import { mkdirSync } from 'node:fs';
import { buildDir, inProject, nodeBinary, vsixFile } from '../paths.mjs';
import { runCommand } from './runCommand.mjs';

/** The extension is bundled, so that vsce has no dependencies to look for. */
export async function packExtension({ logFile }) {
  mkdirSync(buildDir, { recursive: true });
  const vsce = inProject('node_modules/@vscode/vsce/vsce');
  const args = ['package', '--no-dependencies', '--allow-missing-repository', '--no-rewrite-relative-links', '--out', vsixFile];
  await runCommand(nodeBinary, [vsce, ...args], { logFile });
}
