// The images of the image bench: made once into the cache, the same bytes on every machine but for Debian's packages.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { goArchitecture } from '../integration/support/imageLayout.ts';
import { isInstalled } from './contenders.ts';

/** Raised when what is made changes. */
const version = 1;
const cache = path.resolve(import.meta.dirname, '../../.cache/bench', `images-${version}`);

const compressors = {
  gzip: { command: ['gzip', '-6', '-n', '-c'], mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' },
  zstd: { command: ['zstd', '-3', '-q', '-c'], mediaType: 'application/vnd.oci.image.layer.v1.tar+zstd' },
} as const;
export type LayerCompression = keyof typeof compressors;
export const layerCompressions = Object.keys(compressors) as readonly LayerCompression[]; // Object.keys loses the keys

/** An OCI image layout with one image under the tag "bench". */
export interface BenchImage {
  readonly name: string;
  readonly compression: LayerCompression;
  readonly layout: string;
  /** Bottom first. */
  readonly blobs: readonly string[];
}

const sets: Record<string, (directory: string) => string[] | undefined> = { debian: makeDebian, files: makeFiles, mixed: makeMixed };
export const imageNames = Object.keys(sets);

/** `undefined` where what it is made with is missing. */
export function benchImage(name: string, compression: LayerCompression): BenchImage | undefined {
  const layout = path.join(cache, `${name}-${compression}`);
  if (!fs.existsSync(layout)) {
    const make = sets[name];
    if (make === undefined) throw new Error(`there is no image "${name}": ${imageNames.join(', ')}`);
    const tars = tarsOf(name, make);
    if (tars === undefined) return undefined;
    const half = `${layout}.half`;
    fs.rmSync(half, { recursive: true, force: true });
    writeLayout(half, tars, compression);
    fs.renameSync(half, layout);
  }
  const manifests = readJson(path.join(layout, 'index.json')) as { manifests: [{ digest: string }] };
  const manifest = readJson(blobPath(layout, manifests.manifests[0].digest)) as { layers: { digest: string }[] };
  return { name, compression, layout, blobs: manifest.layers.map(({ digest }) => blobPath(layout, digest)) };
}

/** The uncompressed layers, kept beside the layouts. */
function tarsOf(name: string, make: (directory: string) => string[] | undefined): string[] | undefined {
  const directory = path.join(cache, `${name}-tars`);
  if (fs.existsSync(directory)) return fs.globSync(`${directory}/*.tar`).sort();
  console.log(`making the image "${name}" (once)`);
  const half = `${directory}.half`;
  fs.rmSync(half, { recursive: true, force: true });
  fs.mkdirSync(half, { recursive: true });
  if (make(half) === undefined) return undefined;
  fs.renameSync(half, directory);
  return fs.globSync(`${directory}/*.tar`).sort();
}

function makeDebian(directory: string): string[] | undefined {
  if (!isInstalled('mmdebstrap')) return undefined;
  const tar = path.join(directory, '0.tar');
  const made = spawnSync('mmdebstrap', ['--variant=minbase', '--quiet', 'bookworm', tar], { stdio: ['ignore', 'ignore', 'inherit'] });
  return made.status === 0 ? [tar] : undefined;
}

const layerCount = 10;
const filesPerLayer = 5000;
const filesPerDirectory = 50;

/** 50,000 small files in ten layers; from the second on each deletes files of the one below it and empties directories of it. */
function makeFiles(directory: string): string[] {
  const random = new Random('files');
  return Array.from({ length: layerCount }, (_, layer) =>
    tarTree(directory, layer, (root) => {
      for (let index = 0; index < filesPerLayer; index += 1) {
        const parent = path.join(root, fileParent(layer, index));
        if (index % filesPerDirectory === 0) fs.mkdirSync(parent, { recursive: true });
        fs.writeFileSync(path.join(parent, `file-${index}.txt`), random.text(100 + random.below(8000)));
      }
      if (layer === 0) return;
      for (let index = 0; index < filesPerLayer; index += 100) {
        const hidden = path.join(root, fileParent(layer - 1, index));
        fs.mkdirSync(hidden, { recursive: true });
        fs.writeFileSync(path.join(hidden, index % 1000 === 0 ? '.wh..wh..opq' : `.wh.file-${index}.txt`), '');
      }
    }),
  );
}

const fileParent = (layer: number, index: number): string =>
  `usr/share/layer-${layer}/group-${Math.floor(index / filesPerDirectory / 10)}/part-${Math.floor(index / filesPerDirectory)}`;

/** 1 GiB: a third each of words, of what a compiler writes, and of bytes that no compressor makes smaller; files of 4 KiB to 32 MiB. */
function makeMixed(directory: string): string[] {
  const random = new Random('mixed');
  return [
    tarTree(directory, 0, (root) => {
      let left = 1024 ** 3;
      for (let index = 0; left > 0; index += 1) {
        const size = Math.min(left, 4096 << random.below(14));
        const parent = path.join(root, `srv/data-${index % 20}`);
        fs.mkdirSync(parent, { recursive: true });
        const bytes = [random.text.bind(random), random.code.bind(random), random.noise.bind(random)][index % 3]?.(size);
        fs.writeFileSync(path.join(parent, `file-${index}`), bytes ?? '');
        left -= size;
      }
    }),
  ];
}

/** A layer's tar, from a tree that `fill` makes in memory. */
function tarTree(directory: string, layer: number, fill: (root: string) => void): string {
  const root = fs.mkdtempSync('/dev/shm/strata-bench-');
  try {
    fs.chmodSync(root, 0o755);
    fill(root);
    const tar = path.join(directory, `${layer}.tar`);
    execFileSync('tar', [
      '-c',
      '--sort=name',
      '--mtime=@1700000000',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '-f',
      tar,
      '-C',
      root,
      '.',
    ]);
    return tar;
  } finally {
    fs.rmSync(root, { recursive: true });
  }
}

function writeLayout(layout: string, tars: readonly string[], compression: LayerCompression): void {
  fs.mkdirSync(path.join(layout, 'blobs/sha256'), { recursive: true });
  fs.writeFileSync(path.join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const put = (bytes: string, mediaType: string): object => {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    fs.writeFileSync(blobPath(layout, digest), bytes);
    return { mediaType, digest, size: Buffer.byteLength(bytes) };
  };
  const { command, mediaType } = compressors[compression];
  const layers = tars.map((tar) => {
    const compressed = path.join(layout, 'blobs/half');
    const [program = '', ...args] = command;
    const output = fs.openSync(compressed, 'w');
    execFileSync(program, [...args, tar], { stdio: ['ignore', output, 'inherit'] });
    fs.closeSync(output);
    const digest = sumOf(compressed);
    fs.renameSync(compressed, blobPath(layout, digest));
    return { mediaType, digest, size: fs.statSync(blobPath(layout, digest)).size };
  });
  const created = '2026-01-01T00:00:00Z';
  const config = {
    created,
    architecture: goArchitecture(),
    os: 'linux',
    config: { Cmd: ['sh'] },
    rootfs: { type: 'layers', diff_ids: tars.map(sumOf) },
    history: tars.map(() => ({ created, created_by: 'bench' })),
  };
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const described = put(JSON.stringify(config), 'application/vnd.oci.image.config.v1+json');
  const manifest = put(JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config: described, layers }), manifestType);
  const annotations = { 'org.opencontainers.image.ref.name': 'bench' };
  fs.writeFileSync(path.join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }));
}

function sumOf(file: string): string {
  return `sha256:${execFileSync('sha256sum', [file], { encoding: 'utf8' }).slice(0, 64)}`;
}

function blobPath(layout: string, digest: string): string {
  return path.join(layout, 'blobs', digest.replace(':', '/'));
}

function readJson(file: string): unknown {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}

/** The same bytes for the same seed: SHA-256 in counter mode, a block at a time. */
class Random {
  readonly #seed: string;
  #counter = 0;
  #bytes = Buffer.alloc(0);

  constructor(seed: string) {
    this.#seed = seed;
  }

  noise(size: number): Buffer {
    const parts: Buffer[] = [];
    for (let have = 0; have < size; ) {
      if (this.#bytes.length === 0) {
        this.#counter += 1;
        // Half a MiB for each step of the counter; the hash that has any length wanted.
        this.#bytes = createHash('shake256', { outputLength: 512 * 1024 })
          .update(`${this.#seed} ${this.#counter}`)
          .digest();
      }
      const part = this.#bytes.subarray(0, size - have);
      this.#bytes = this.#bytes.subarray(part.length);
      parts.push(part);
      have += part.length;
    }
    return Buffer.concat(parts);
  }

  below(limit: number): number {
    return this.noise(4).readUInt32LE() % limit;
  }

  /** Words as in documentation: gzip makes a quarter of it. */
  text(size: number): Buffer {
    const out = Buffer.alloc(size);
    const choices = this.noise(Math.ceil(size / 3));
    for (let at = 0, index = 0; at < size; index += 1) {
      const choice = choices[index % choices.length] ?? 0;
      // Some words are common and most are rare, as in any language.
      const rank =
        choice < 160 ? choice % 24 : 24 + ((choice * 256 + (choices[(index * 7 + 3) % choices.length] ?? 0)) % (words.length - 24));
      at += out.write(index % 13 === 12 ? `${words[rank]}\n` : `${words[rank]} `, at);
    }
    return out;
  }

  /** Instructions with addresses between them: gzip makes a half of it. */
  code(size: number): Buffer {
    const out = this.noise(size);
    for (let at = 0; at + 16 <= size; at += 16) {
      const kind = out[at] ?? 0;
      out.fill(0, at + 12, at + 16);
      out.write(opcodes[kind % opcodes.length] ?? '', at, 'latin1');
      if (kind % 3 === 0) out.copyWithin(at + 8, Math.max(0, at - 8 - (kind & 0xf0)), Math.max(0, at - 4 - (kind & 0xf0)));
    }
    return out;
  }
}

const opcodes = [
  '\x48\x89\xe5\x48\x83\xec',
  '\x48\x8b\x45\xf8\x48\x89',
  '\xe8\x00\x00\x00\x00\x48',
  '\x0f\x1f\x44\x00\x00\xc3',
  '\x55\x41\x57\x41\x56\x53',
];

/** 2,000 words of two to five syllables. */
const words: readonly string[] = (() => {
  const syllables = ['ta', 'ne', 'ri', 'so', 'lu', 'con', 'der', 'mi', 'pa', 'ver', 'ing', 'ex', 'al', 'un', 'de', 're'];
  return Array.from({ length: 2000 }, (_, index) => {
    let word = '';
    for (let rest = index + 16; rest > 0; rest = Math.floor(rest / 16)) word += syllables[rest % 16] ?? '';
    return word;
  });
})();
