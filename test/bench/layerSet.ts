// The layers of the layer bench: a million entries in thirty layers, made once into the cache.
import * as fs from 'node:fs';
import * as path from 'node:path';

/** Raised when what is made changes. */
const version = 1;
const layerCount = 30;
/** Of each layer; half of them are those of the layer below as well. */
const directoriesOfLayer = 2780;
const filesOfDirectory = 10;

/** Directories, top first. */
export function benchLayers(): string[] {
  const cache = path.resolve(import.meta.dirname, '../../.cache/bench', `layers-${version}`);
  if (!fs.existsSync(cache)) {
    console.log('making a million files in 30 layers (once)');
    const half = `${cache}.half`;
    fs.rmSync(half, { recursive: true, force: true });
    for (let layer = 0; layer < layerCount; layer += 1) makeLayer(path.join(half, String(layer)), layer);
    fs.renameSync(half, cache);
  }
  return Array.from({ length: layerCount }, (_, at) => path.join(cache, String(layerCount - 1 - at)));
}

/** As packages lie: usr/lib/<package>/<directory>, ten files in each, every twentieth a link. */
function makeLayer(root: string, layer: number): void {
  for (let at = 0; at < directoriesOfLayer; at += 1) {
    const number = (layer * directoriesOfLayer) / 2 + at;
    const directory = path.join(root, 'usr/lib', `package-${Math.floor(number / 20)}`, `module-${number}`);
    fs.mkdirSync(directory, { recursive: true });
    for (let file = 0; file < filesOfDirectory; file += 1) {
      // A third of what the layer below has in the same directory is replaced.
      const name = path.join(directory, `component-${file % 3 === 0 ? file : `${layer % 2}-${file}`}.js`);
      if ((number + file) % 20 === 0) fs.symlinkSync(`component-${file}.js`, name);
      else fs.writeFileSync(name, `export const file = '${layer} ${number} ${file}';\n`);
    }
  }
  // What is left of the million, in one large directory.
  const rest = path.join(root, 'var/data');
  fs.mkdirSync(rest, { recursive: true });
  for (let file = 0; file < 2600; file += 1) fs.writeFileSync(path.join(rest, `record-${layer}-${file}`), `${layer} ${file}\n`);
}
