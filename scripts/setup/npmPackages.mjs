import { chmodSync, lstatSync, rmSync, symlinkSync } from 'node:fs';
import { relative } from 'node:path';
import { inProject, nodeBinary } from '../paths.mjs';
import { plainEnvironment, runCommand } from './runCommand.mjs';

/** Install scripts stay off: nothing in the lock file needs one, and a registry's package runs no code as root here. */
export async function installNpmPackages({ logFile }) {
  refuseLink(inProject('node_modules'));
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await runCommand('npm', args, { logFile });
  // An optional dependency that fails to install is no error to npm, but Node 24 is not optional to us.
  await runCommand(nodeBinary, ['--version'], { logFile });
  // `npx strata` looks here first; without it npx would install the whole checkout into its cache.
  linkCommand('strata', '../../scripts/strata.mjs');
  chmodSync(inProject('scripts/strata.mjs'), 0o755);
  // npm 11 makes this link, npm 10 does not. npm's scripts and `#!/usr/bin/env node` tools then run on Node 24.
  linkCommand('node', `../${relative(inProject('node_modules'), nodeBinary)}`);
}

/** `npm ci` empties the folder first, and of a link that is somebody else's folder. */
export function refuseLink(path) {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  throw new Error(`${path} is a link, and npm would empty what it points to: remove the link`);
}

function linkCommand(name, target) {
  const link = inProject('node_modules/.bin', name);
  rmSync(link, { force: true });
  symlinkSync(target, link);
}

/** Environment in which npm builds native code for the product's Node 24 instead of the system's Node. */
export function node24Environment(nodePackageDir, extra = {}) {
  return plainEnvironment({
    PATH: `${nodePackageDir}/bin:${process.env.PATH}`,
    npm_config_nodedir: nodePackageDir,
    // Debian's Node trusts the machine's certificates, this one only its own list: behind a company's proxy that is not enough.
    NODE_USE_SYSTEM_CA: '1',
    ...extra,
  });
}
