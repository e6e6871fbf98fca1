// One file each for the extension, the helper and the command line: a .vsix of a few files, a helper that starts fast.
import { distDir, inProject } from '../paths.mjs';

/** Also what check-imports walks: an entry is named once. */
export const bundleEntries = {
  extension: { entry: 'extension/extension.ts', target: 'node20' }, // the extension host's Node at engines.vscode
  helper: { entry: 'helper/main.ts', target: 'node24' },
  cli: { entry: 'helper/cli/main.ts', target: 'node24' },
};

/**
 * What esbuild is told for one of them; a test bundles a part as the whole is bundled.
 * @returns {import('esbuild').BuildOptions}
 */
export function bundleOptions(name) {
  const { entry, target } = bundleEntries[name];
  return {
    absWorkingDir: inProject(),
    entryPoints: [entry],
    outfile: `${distDir}/${name}.cjs`,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target,
    // vscode is the host's; the other two are optional accelerators that ws asks for and does without.
    external: ['vscode', 'bufferutil', 'utf-8-validate', '*.node'],
    // The same expressions work from source (tests) and from the bundle: `import.meta.dirname` is dist/ there.
    define: { 'import.meta.dirname': '__dirname', 'import.meta.filename': '__filename' },
    minifySyntax: true,
    minifyWhitespace: true, // a helper that idles holds its source in memory
    keepNames: false,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'linked',
    logLevel: 'silent',
  };
}

export async function buildBundles() {
  const esbuild = await import('esbuild');
  for (const [name, entry] of Object.entries(bundleEntries)) {
    try {
      await esbuild.build(bundleOptions(name));
    } catch (error) {
      const messages = await esbuild.formatMessages(error.errors ?? [], { kind: 'error' });
      throw new Error(`bundling ${entry.entry}:\n${messages.join('\n') || error.message}`, { cause: error });
    }
  }
}
