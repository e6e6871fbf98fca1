// The set-up as a table. A step: what it is for, what must come before it, what it reads (a change of these repeats
// it), what it makes (relative to the project), how, and what a person does when it fails.
import { findOnPath } from '../paths.mjs';
import { buildBundles } from './bundles.mjs';
import { installGroup, isInstalled } from './debianPackages.mjs';
import { buildDefaultImage } from './defaultImage.mjs';
import { buildNative, buildNativeSanitized } from './native.mjs';
import { installNpmPackages } from './npmPackages.mjs';
import { prepareVm } from './vm.mjs';
import { packExtension } from './vsix.mjs';
import { installWorkbench } from './workbench.mjs';

const none = () => [];
const aptHelp = [
  'look at the log; `apt-get update` by hand shows whether the mirrors of this machine are reachable',
  'where apt has no chromium (Ubuntu), set CHROMIUM to the path of a Chromium or Chrome',
].join('; ');

const debianStep = (group, why, needs) => ({
  id: `debian-${group}`,
  why,
  needs,
  inputs: none,
  outputs: none,
  isDone: () => isInstalled(group),
  run: (context) => installGroup(group, context),
  help: aptHelp,
});

export const steps = [
  // apt takes one at a time, hence the chain of needs.
  debianStep('native', 'Debian packages that the native core is built with', []),
  debianStep('workbench', 'Debian packages that the browser workbench is built with', ['debian-native']),
  debianStep('tests', 'Debian packages that the tests use', ['debian-native']),
  debianStep('engines', 'Docker, Podman and containerd, which the integration tests run on our runtime', ['debian-tests']),
  debianStep('bench', 'Debian packages that the benchmark compares with', ['debian-engines']),
  {
    id: 'npm',
    why: 'npm packages from the lock file, with the Node 24 that runs the product',
    needs: [],
    inputs: () => ['package-lock.json'],
    outputs: () => ['node_modules/.package-lock.json', 'node_modules/.bin/node', 'node_modules/.bin/strata'],
    run: installNpmPackages,
    help: 'check that the registry answers: `npm ping`',
  },
  {
    id: 'native',
    why: 'the native core: the runtime and the addon',
    needs: ['debian-native', 'npm'],
    inputs: () => ['native', 'test/native', 'scripts/setup/native.mjs'],
    outputs: () => ['dist/strata-runtime', 'dist/strata.node', 'dist/libisal.so.2'],
    run: buildNative,
    help: 'the compiler error is in the log; after a change of compiler delete build/native',
  },
  {
    id: 'native-sanitized',
    why: 'the native tests with address and undefined-behaviour sanitizers',
    needs: ['native'],
    inputs: () => ['native', 'test/native', 'scripts/setup/native.mjs'],
    outputs: () => ['build/native-sanitized/strata_native_tests'],
    run: buildNativeSanitized,
    help: 'the compiler error is in the log; after a change of compiler delete build/native-sanitized',
  },
  {
    id: 'bundles',
    why: 'the TypeScript bundles: extension, helper, command line',
    needs: ['npm'],
    // package.json: the version is part of the bundles.
    inputs: () => ['extension', 'helper', 'package.json', 'package-lock.json', 'scripts/setup/bundles.mjs'],
    outputs: () => ['dist/extension.cjs', 'dist/helper.cjs', 'dist/cli.cjs'],
    run: buildBundles,
    help: 'esbuild names file and line; `npm run check` tells more',
  },
  {
    id: 'image',
    why: 'the embedded default image',
    needs: ['debian-native'],
    inputs: () => ['scripts/busyboxImage.mjs', 'scripts/tarWriter.mjs', findOnPath('busybox') ?? '/bin/busybox'],
    outputs: () => ['dist/images/busybox.tar'],
    run: buildDefaultImage,
    help: 'the image is made of the Debian package busybox-static: `apt-get install --reinstall busybox-static`',
  },
  {
    id: 'workbench',
    why: 'the browser workbench (code-server)',
    needs: ['debian-native', 'debian-workbench', 'npm'],
    inputs: () => ['scripts/workbench', 'scripts/setup/workbench.mjs'],
    outputs: () => ['.cache/workbench/node_modules/code-server/out/node/entry.js'],
    run: installWorkbench,
    help: 'check that the registry answers: `npm ping`',
  },
  {
    id: 'vsix',
    why: 'the packed extension',
    needs: ['bundles'],
    inputs: () => [
      'package.json',
      '.vscodeignore',
      // What was bundled, whatever it was bundled from: read when the step that makes it has run.
      'dist/extension.cjs',
      'media',
      'scripts/setup/vsix.mjs',
      'README.md',
      'CHANGELOG.md',
      'LICENSE',
    ],
    outputs: () => ['build/strata.vsix'],
    run: packExtension,
    help: 'vsce names what the manifest lacks; `npm run generate` brings its contributions up to date',
  },
  {
    id: 'vm',
    why: 'the virtual machine with cgroup v2 only, for tests on a second kind of kernel',
    needs: ['debian-native', 'debian-tests'],
    inputs: () => ['test/support/vm', 'scripts/setup/vm.mjs'],
    outputs: () => ['.cache/vm/kernel/initrd', '.cache/vm/kernel/vmlinux'],
    run: prepareVm,
    help: 'it is made of Debian 12 packages that are downloaded, not installed; see the log for the one that is missing',
  },
];

const product = ['native', 'bundles', 'image'];

/** What each command needs. */
export const goals = {
  build: product,
  helper: product,
  desktop: [...product, 'vsix'],
  browser: [...product, 'vsix', 'workbench'],
  package: ['vsix'],
  workbench: ['workbench', 'debian-tests'],
  machine: ['vm'],
  check: ['npm'],
  unit: ['npm'],
  native: ['native', 'native-sanitized'],
  integration: [...product, 'debian-tests', 'debian-engines'],
  vm: [...product, 'vm'],
  e2e: [...product, 'vsix', 'workbench', 'debian-tests'],
  bench: [...product, 'debian-tests', 'debian-engines', 'debian-bench'],
};
