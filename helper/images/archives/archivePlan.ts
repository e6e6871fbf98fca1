import type { archiveFormats, Digest } from '../../protocol/index.ts';
import type { Descriptor } from '../manifest.ts';
import { remoteName } from '../registry/remoteName.ts';
import { blobName } from './layoutFiles.ts';
import { imageNameAnnotation, refNameAnnotation } from './ociImages.ts';

export type ArchiveFormat = (typeof archiveFormats)[number];

/** What of an image goes into an archive. */
export interface SavedContent {
  readonly manifest: { readonly bytes: Uint8Array; readonly descriptor: Descriptor };
  readonly config: { readonly bytes: Uint8Array; readonly descriptor: Descriptor };
  /** Bottom first; `path` is the blob's file. */
  readonly layers: readonly { readonly descriptor: Descriptor; readonly path: string }[];
}

/** An image to save, and the names that it has in the archive: as names are kept here. */
export interface SavedImage {
  readonly content: SavedContent;
  readonly references: readonly string[];
}

/** One file of an archive: bytes, or a blob of the host. */
export interface ArchiveFile {
  readonly name: string;
  readonly content:
    | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
    | { readonly kind: 'blob'; readonly path: string; readonly digest: Digest };
  readonly sizeBytes: number;
}

/**
 * Pure. The files of an archive, what tells of the others first, each blob once. A docker-archive is an OCI image layout with manifest.json beside it, as docker writes it since version 25;
 * an oci-archive the layout alone. The same images under the same names give the same files.
 */
export function planArchive(images: readonly SavedImage[], format: ArchiveFormat): ArchiveFile[] {
  const files = new Map<string, ArchiveFile>();
  const add = (file: ArchiveFile): void => {
    if (!files.has(file.name)) files.set(file.name, file);
  };
  add(jsonFile('oci-layout', { imageLayoutVersion: '1.0.0' }));
  add(jsonFile('index.json', { schemaVersion: 2, mediaType: indexType, manifests: images.flatMap(descriptorsOf) }));
  if (format === 'docker-archive') add(jsonFile('manifest.json', images.map(dockerManifest)));
  for (const { content } of images) {
    add(bytesFile(blobName(content.manifest.descriptor.digest), content.manifest.bytes));
    add(bytesFile(blobName(content.config.descriptor.digest), content.config.bytes));
  }
  for (const { content } of images) {
    for (const { descriptor, path } of content.layers) {
      const { digest, size } = descriptor;
      add({ name: blobName(digest), content: { kind: 'blob', path, digest }, sizeBytes: size });
    }
  }
  return [...files.values()];
}

const indexType = 'application/vnd.oci.image.index.v1+json';

/** One for each name: what reads a layout looks for a name among them. */
function descriptorsOf({ content, references }: SavedImage): object[] {
  const { mediaType, digest, size } = content.manifest.descriptor;
  const descriptor = { mediaType, digest, size };
  if (references.length === 0) return [descriptor];
  return references.map((reference) => {
    const { registry, repository, target } = remoteName(reference);
    const name = `${registry}/${repository}`;
    const annotations =
      target.kind === 'tag'
        ? { [imageNameAnnotation]: `${name}:${target.tag}`, [refNameAnnotation]: target.tag }
        : { [imageNameAnnotation]: `${name}@${target.digest}` };
    return { ...descriptor, annotations };
  });
}

/** moby's image/spec v1.2, with the paths that the layout has. Docker knows no names with a digest here. */
function dockerManifest({ content, references }: SavedImage): object {
  const tags = references.filter((reference) => !reference.includes('@'));
  return {
    Config: blobName(content.config.descriptor.digest),
    RepoTags: tags.length === 0 ? null : tags,
    Layers: content.layers.map(({ descriptor }) => blobName(descriptor.digest)),
  };
}

function jsonFile(name: string, value: object): ArchiveFile {
  return bytesFile(name, new TextEncoder().encode(JSON.stringify(value)));
}

function bytesFile(name: string, bytes: Uint8Array): ArchiveFile {
  return { name, content: { kind: 'bytes', bytes }, sizeBytes: bytes.byteLength };
}
