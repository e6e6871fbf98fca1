import { chmodSync, copyFileSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { buildDir, distDir, inProject } from '../paths.mjs';
import { runCommand } from './runCommand.mjs';

async function configure(tree, defines, logFile) {
  const options = {
    CMAKE_EXPORT_COMPILE_COMMANDS: 'ON',
    // One place for the results, wherever the native build keeps its targets.
    CMAKE_RUNTIME_OUTPUT_DIRECTORY: tree,
    CMAKE_LIBRARY_OUTPUT_DIRECTORY: tree,
    ...defines,
  };
  const args = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
  await runCommand('cmake', ['-S', inProject('native'), '-B', tree, '-G', 'Ninja', ...args], { logFile });
}

function build(tree, targets, logFile) {
  const jobs = String(availableParallelism());
  return runCommand('cmake', ['--build', tree, '--parallel', jobs, '--target', ...targets], { logFile });
}

/** Replaces a file of dist/ by rename: a running helper keeps the one it has mapped, a running runtime the one it executes. */
function place(from, name, mode) {
  mkdirSync(distDir, { recursive: true });
  const temporary = join(distDir, `.${name}.new`);
  copyFileSync(from, temporary);
  chmodSync(temporary, mode);
  renameSync(temporary, join(distDir, name));
}

export async function buildNative({ logFile }) {
  const tree = join(buildDir, 'native');
  await configure(tree, { CMAKE_BUILD_TYPE: 'Release' }, logFile);
  await build(tree, ['strata-runtime', 'strata_addon', 'strata_native_tests'], logFile);
  place(join(tree, 'strata-runtime'), 'strata-runtime', 0o755);
  place(join(tree, 'libisal.so.2'), 'libisal.so.2', 0o644);
  place(join(tree, 'strata.node'), 'strata.node', 0o644);
}

/** The tests alone: a sanitized runtime could not be static, a sanitized addon would not load into Node. */
export async function buildNativeSanitized({ logFile }) {
  const tree = join(buildDir, 'native-sanitized');
  await configure(tree, { CMAKE_BUILD_TYPE: 'Debug', STRATA_SANITIZE: 'ON' }, logFile);
  await build(tree, ['strata_native_tests'], logFile);
  const tests = join(tree, 'strata_native_tests');
  if (!existsSync(tests)) throw new Error(`the build made no ${tests}`);
}
