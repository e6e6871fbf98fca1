// Where things are. Everything that is installed or built lies in one of four ignored folders, so that
// `git clean -fdx` is a fresh clone.
import { existsSync } from 'node:fs';
import { arch } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const projectDir = resolve(dirname(fileURLToPath(import.meta.url)), '..');
export const inProject = (...parts) => join(projectDir, ...parts);

/** Downloads, stamps and logs of the set-up: may be deleted at any time, costs a set-up. */
export const cacheDir = inProject('.cache');
/** What the product is made of: bundles, runtime, addon, default image. */
export const distDir = inProject('dist');
/** Intermediate results and reports: CMake's trees, test reports, screenshots, the .vsix. */
export const buildDir = inProject('build');

/** The product's own Node 24, from the lock file. The system's Node only runs the set-up that fetches it. */
export const nodePackageDir = inProject('node_modules', `node-linux-${arch()}`);
export const nodeBinary = join(nodePackageDir, 'bin', 'node');

export const workbenchDir = join(cacheDir, 'workbench');
export const codeServerEntry = join(workbenchDir, 'node_modules/code-server/out/node/entry.js');
export const vsixFile = join(buildDir, 'strata.vsix');
export const vmDir = join(cacheDir, 'vm');

/** Path of a tool that npm installed. */
export const npmTool = (name) => inProject('node_modules', '.bin', name);

/** Path of an executable on PATH, or undefined. */
export function findOnPath(name) {
  for (const dir of (process.env.PATH ?? '').split(':')) {
    // npm puts node_modules/.bin first; what it holds is never the person's own program.
    if (dir === '' || dir.includes('node_modules/.bin')) continue;
    const file = join(dir, name);
    if (existsSync(file)) return file;
  }
  return undefined;
}
