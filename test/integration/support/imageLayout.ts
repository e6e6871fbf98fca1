import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { gzipSync } from 'node:zlib';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Files of a layer: path → content. */
export type LayerFiles = Readonly<Record<string, string | Buffer>>;

const hash = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const indexType = 'application/vnd.oci.image.index.v1+json';

interface ImageOptions {
  readonly command?: string[];
  readonly architecture?: string;
  /** image-spec's, bottom first. */
  readonly history?: readonly object[];
}

/** An OCI image layout directory, written as image-spec has it, for skopeo to push and for tests to damage. */
export class ImageLayout {
  readonly directory: string;
  readonly #manifests: object[] = [];

  constructor(directory: string) {
    this.directory = directory;
    fs.mkdirSync(path.join(directory, 'blobs/sha256'), { recursive: true });
    fs.writeFileSync(path.join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  }

  /** The layers' uncompressed tars, bottom first. */
  add(tag: string, tars: readonly Buffer[], options: ImageOptions = {}): void {
    this.#name(tag, this.#manifest(tars, options));
  }

  /** One name for an image of each architecture. */
  addIndex(tag: string, images: Readonly<Record<string, readonly Buffer[]>>): void {
    const manifests = Object.entries(images).map(([architecture, tars]) => ({
      ...this.#manifest(tars, { architecture }),
      platform: { os: 'linux', architecture },
    }));
    this.#name(tag, this.#put(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests })), indexType));
  }

  #manifest(tars: readonly Buffer[], { command = ['sh'], architecture = goArchitecture(), history }: ImageOptions): Descriptor {
    const layers = tars.map((tar) => this.#put(gzipSync(tar, { level: 1 }), 'application/vnd.oci.image.layer.v1.tar+gzip'));
    const config = {
      created: '2026-01-01T00:00:00Z',
      architecture,
      os: 'linux',
      config: { Cmd: command, Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'] },
      rootfs: { type: 'layers', diff_ids: tars.map(hash) },
      history: history ?? tars.map(() => ({ created: '2026-01-01T00:00:00Z', created_by: 'test' })),
    };
    const manifest = {
      schemaVersion: 2,
      mediaType: manifestType,
      config: this.#put(Buffer.from(JSON.stringify(config)), 'application/vnd.oci.image.config.v1+json'),
      layers,
    };
    return this.#put(Buffer.from(JSON.stringify(manifest)), manifestType);
  }

  #put(bytes: Buffer, mediaType: string): Descriptor {
    const digest = hash(bytes);
    fs.writeFileSync(path.join(this.directory, 'blobs/sha256', digest.slice(7)), bytes);
    return { mediaType, digest, size: bytes.byteLength };
  }

  #name(tag: string, descriptor: Descriptor): void {
    this.#manifests.push({ ...descriptor, annotations: { 'org.opencontainers.image.ref.name': tag } });
    fs.writeFileSync(path.join(this.directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: this.#manifests }));
  }
}

export function goArchitecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch;
}

/** A tar of these files, made by GNU tar. */
export function tarOf(workspace: string, files: LayerFiles): Buffer {
  const directory = fs.mkdtempSync(path.join(workspace, 'layer-'));
  for (const [name, content] of Object.entries(files)) {
    fs.mkdirSync(path.join(directory, path.dirname(name)), { recursive: true });
    fs.writeFileSync(path.join(directory, name), content);
  }
  return execFileSync('tar', ['-c', '--sort=name', '--mtime=@0', '-C', directory, '.'], { maxBuffer: 1e9 });
}
