// Who may import whom (ARCHITECTURE.md, "Layers"). The rules stand here as a table; files are read with a small
// scanner, because the tools that do this do not understand TypeScript 7 yet and pass without having looked.
// Before it looks at the project it must find planted violations, so that a blind check is noticed.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import { projectDir } from './paths.mjs';

const domain = ['containers', 'images', 'layers', 'cgroups', 'networks', 'volumes', 'builds', 'compose'];

/**
 * The layers, most specific first: a file belongs to the first whose pattern matches its path. `may` names the layers it
 * may import besides its own, `packages` the npm packages ('node' stands for every node: module).
 */
const layers = [
  { name: 'protocol', files: /^helper\/protocol\//, may: [], packages: ['zod'] },
  // Both ends of the socket: the server listens, clients connect.
  { name: 'wire', files: /^helper\/wire\//, may: ['protocol'], packages: ['node', 'zod', 'ws', 'vscode-jsonrpc'] },
  // What a client packs to send it and unpacks where it came to, and archives of images; root file systems are the native core's.
  { name: 'archive', files: /^helper\/archive\//, may: ['protocol'], packages: ['node'] },
  // What a person logged in to registries with: read on their side of the socket.
  { name: 'credentials', files: /^helper\/credentials\//, may: ['protocol'], packages: ['node', 'zod'] },
  { name: 'native', files: /^helper\/native\//, may: ['protocol', 'addon-types', 'common'], packages: ['node'] },
  { name: 'store', files: /^helper\/store\//, may: ['protocol', 'common'], packages: ['node', 'zod'] },
  { name: 'events', files: /^helper\/events\//, may: ['protocol', 'common'], packages: ['node', 'zod'] },
  {
    name: 'domain',
    files: new RegExp(`^helper/(${domain.join('|')}|host)/`),
    may: ['protocol', 'archive', 'events', 'store', 'native', 'common', 'version'],
    packages: ['node', 'zod'],
  },
  {
    name: 'server',
    files: /^helper\/server\//,
    may: ['protocol', 'wire', 'events', 'store', 'native', 'domain', 'common', 'version'],
    packages: ['node', 'zod', 'ws', 'vscode-jsonrpc'],
  },
  {
    name: 'client',
    files: /^extension\/client\//,
    may: ['protocol', 'wire', 'archive'],
    packages: ['node', 'zod'],
  },
  { name: 'model', files: /^extension\/model\//, may: ['protocol'], packages: ['node', 'zod'] },
  // The command line is a client like any other: it knows nothing of the daemon.
  {
    name: 'cli',
    files: /^helper\/cli\//,
    may: ['protocol', 'wire', 'archive', 'credentials', 'version'],
    packages: ['node', 'zod', 'commander'],
  },
  {
    name: 'helper-main',
    files: /^helper\/main\.ts$/,
    may: ['protocol', 'wire', 'events', 'store', 'native', 'domain', 'server', 'common', 'version'],
    packages: ['node', 'commander'],
  },
  { name: 'version', files: /^helper\/version\.ts$/, may: [], packages: [] },
  // What all of the daemon's layers share: its log.
  { name: 'common', files: /^helper\/[A-Za-z]+\.ts$/, may: ['protocol'], packages: ['node', 'pino'] },
  { name: 'addon-types', files: /^native\/addon\/index\.d\.ts$/, may: [], packages: [] },
  {
    name: 'extension',
    files: /^extension\//,
    may: ['client', 'model', 'protocol', 'wire', 'archive', 'credentials'],
    packages: ['node', 'vscode', 'vscode-languageclient'],
  },
];

const testFiles = /^test\//;

const importForms = [
  /^\s*(?:import|export)\s[^'"`;]*?\bfrom\s*['"]([^'"]+)['"]/gm,
  /^\s*import\s*['"]([^'"]+)['"]/gm,
  /\b(?:import|require)\s*\(\s*['"]([^'"]+)['"]\s*\)/g,
];

/** Import specifiers of a source text, types included: a layer that only knows another's types still knows it. */
export function importsOf(source) {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return [...new Set(importForms.flatMap((form) => [...code.matchAll(form)].map((match) => match[1])))];
}

const layerOf = (file) => layers.find((layer) => layer.files.test(file));

/** One violation, or undefined. `file` and relative specifiers are posix paths from the project's root. */
export function violationOf(file, specifier) {
  if (testFiles.test(file)) return undefined;
  const layer = layerOf(file);
  if (layer === undefined) return `${file} belongs to no layer; give it a place in ARCHITECTURE.md`;
  if (!specifier.startsWith('.')) {
    const name = specifier.startsWith('node:')
      ? 'node'
      : specifier
          .split('/')
          .slice(0, specifier.startsWith('@') ? 2 : 1)
          .join('/');
    return layer.packages.includes(name) ? undefined : `${file} (${layer.name}) imports the package '${name}'`;
  }
  const target = posix.join(posix.dirname(file), specifier);
  if (target === 'package.json') return undefined; // the one place for the version
  if (testFiles.test(target)) return `${file} imports ${target}: nothing imports tests`;
  const targetLayer = layerOf(target);
  if (targetLayer === undefined) return `${file} imports ${target}, which belongs to no layer`;
  if (targetLayer === layer || layer.may.includes(targetLayer.name)) return undefined;
  return `${file} (${layer.name}) imports ${target} (${targetLayer.name})`;
}

/** Files that import each other in a circle, as 'a -> b -> a'. */
export function cyclesIn(graph) {
  const cycles = [];
  const done = new Set();
  const visit = (file, trail) => {
    if (trail.includes(file)) {
      cycles.push([...trail.slice(trail.indexOf(file)), file].join(' -> '));
      return;
    }
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return cycles;
}

/** C++ has the same rule: the runtime and the addon stand on core and never see each other. */
export function nativeViolationOf(file, include) {
  const from = /^native\/(core|runtime|addon)\//.exec(file)?.[1];
  const to = /^(?:\.\.\/)?(core|runtime|addon)\//.exec(include)?.[1];
  if (from === undefined || to === undefined || to === from || to === 'core') return undefined;
  return `${file} includes "${include}": ${from} may not know ${to}`;
}

const planted = [
  violationOf('helper/containers/service.ts', '../server/session.ts'),
  violationOf('helper/containers/service.ts', 'ws'),
  violationOf('helper/protocol/model/containers.ts', 'node:fs'),
  violationOf('extension/model/reducer.ts', 'vscode'),
  violationOf('extension/views/tree.ts', '../../helper/store/files.ts'),
  violationOf('helper/store/files.ts', '../../test/support/requires.ts'),
  nativeViolationOf('native/addon/tar.cc', 'runtime/init.h'),
  cyclesIn(
    new Map([
      ['a.ts', ['b.ts']],
      ['b.ts', ['a.ts']],
    ]),
  ).at(0),
  importsOf("import type {\n  A,\n} from './planted.ts';").at(0),
  importsOf("export * from './planted.ts';").at(0),
  importsOf("const x = await import('./planted.ts');").at(0),
];

function* sourceFiles(dir, ending) {
  if (!existsSync(dir)) return;
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (name === 'node_modules') continue;
    if (statSync(path).isDirectory()) yield* sourceFiles(path, ending);
    else if (ending.test(name)) yield path;
  }
}

/** @returns {string[]} all violations in the project */
export function checkImports() {
  if (planted.some((finding) => finding === undefined)) {
    return [`the import check is blind: it missed planted violation ${planted.indexOf(undefined) + 1} of ${planted.length}`];
  }
  const violations = [];
  const graph = new Map();
  for (const top of ['helper', 'extension']) {
    for (const path of sourceFiles(join(projectDir, top), /\.ts$/)) {
      const file = relative(projectDir, path);
      const specifiers = importsOf(readFileSync(path, 'utf8'));
      violations.push(...specifiers.map((specifier) => violationOf(file, specifier)));
      graph.set(
        file,
        specifiers.filter((s) => s.startsWith('.')).map((s) => posix.join(dirname(file), s)),
      );
    }
  }
  violations.push(...cyclesIn(graph).map((cycle) => `import cycle: ${cycle}`));
  for (const path of sourceFiles(join(projectDir, 'native'), /\.(cc|h)$/)) {
    const file = relative(projectDir, path);
    for (const [, include] of readFileSync(path, 'utf8').matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)) {
      violations.push(nativeViolationOf(file, include));
    }
  }
  return violations.filter((violation) => violation !== undefined);
}
