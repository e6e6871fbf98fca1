import { open, stat } from 'node:fs/promises';
import * as z from 'zod';
import { type Digest, type ImageConfig, imageConfigSchema } from '../../protocol/index.ts';
import { digestOf } from '../contentStore.ts';
import { maxLayers } from '../manifest.ts';
import { type ArchivedImage, type ArchivedLayer, referenceOf } from './archivedImage.ts';
import { blobName, invalid, type LayoutFiles, parseJson, readJson, readSmall } from './layoutFiles.ts';

/** What `docker save` writes as manifest.json (moby's image/spec v1.2): an image each. */
const manifestSchema = z
  .array(
    z.looseObject({
      Config: z.string().max(4096),
      RepoTags: z.array(z.string().max(512)).nullish(),
      /** Bottom first. */
      Layers: z.array(z.string().max(4096)).nullish(),
    }),
  )
  .max(10_000);

export async function isDockerArchive(files: LayoutFiles): Promise<boolean> {
  return (await files.find('manifest.json')) !== undefined;
}

/** The names that manifest.json gives images, by their ids. */
export async function readRepoTags(files: LayoutFiles): Promise<Map<Digest, string[]>> {
  const tags = new Map<Digest, string[]>();
  for (const entry of await readJson(files, 'manifest.json', manifestSchema)) {
    // Of an image for several platforms only one may be here.
    if ((await files.find(entry.Config)) === undefined) continue;
    const id = digestOf(await readSmall(files, entry.Config, `config ${entry.Config}`));
    tags.set(id, [...(tags.get(id) ?? []), ...referencesOf(files, entry.RepoTags ?? [])]);
  }
  return tags;
}

export async function readDockerImages(files: LayoutFiles): Promise<ArchivedImage[]> {
  const images = new Map<Digest, ArchivedImage>();
  for (const entry of await readJson(files, 'manifest.json', manifestSchema)) {
    const what = `config ${entry.Config}`;
    const configBytes = await readSmall(files, entry.Config, what);
    const id = digestOf(configBytes);
    if (entry.Config.startsWith('blobs/sha256/') && entry.Config !== blobName(id)) {
      throw invalid(files, `${what} is not what its digest says`);
    }
    const known = images.get(id);
    const references = [...(known?.references ?? []), ...referencesOf(files, entry.RepoTags ?? [])];
    const config = known?.config ?? parseJson(files, configBytes, imageConfigSchema, what);
    const layers = known?.layers ?? (await layersOf(files, entry.Layers ?? [], config, references[0] ?? id));
    images.set(id, { references: [...new Set(references)], configBytes, config, manifest: undefined, layers });
  }
  return [...images.values()];
}

async function layersOf(files: LayoutFiles, names: readonly string[], config: ImageConfig, image: string): Promise<ArchivedLayer[]> {
  const diffIds = config.rootfs.diff_ids;
  if (names.length !== diffIds.length || names.length === 0) {
    throw invalid(files, `${image}: manifest.json names ${names.length} layers and its config ${diffIds.length}`);
  }
  if (names.length > maxLayers) throw invalid(files, `${image} has ${names.length} layers, and no kernel stacks more than ${maxLayers}`);
  const layers: ArchivedLayer[] = [];
  for (const [index, diffId] of diffIds.entries()) {
    const name = names[index] ?? '';
    const path = await files.find(name);
    if (path === undefined) throw invalid(files, `the layer ${name} of ${image} (${diffId}) is not in it`);
    layers.push({ path, sizeBytes: (await stat(path)).size, mediaType: await mediaTypeOf(files, path, name), digest: undefined, diffId });
  }
  return layers;
}

/** OCI's, since a manifest is made for them here. */
const tarType = 'application/vnd.oci.image.layer.v1.tar';

/** Most are plain tars, whatever their names say; podman and bazel write compressed ones, too. */
async function mediaTypeOf(files: LayoutFiles, path: string, name: string): Promise<string> {
  const head = Buffer.alloc(4);
  const file = await open(path);
  try {
    await file.read(head, 0, head.byteLength, 0);
  } finally {
    await file.close();
  }
  if (head.readUInt16BE(0) === 0x1f8b) return `${tarType}+gzip`;
  if (head.readUInt32LE(0) === 0xfd2fb528) return `${tarType}+zstd`;
  if (head.readUInt32BE(0) === 0xfd377a58) throw invalid(files, `its layer ${name} is compressed with xz, which no registry takes`);
  return tarType;
}

/** A name with a digest is not a tag: nothing here says that it is true. */
function referencesOf(files: LayoutFiles, tags: readonly string[]): string[] {
  return tags.map((tag) => {
    const reference = referenceOf(tag);
    if (reference === undefined || reference.includes('@')) throw invalid(files, `"${tag}" is no image name`);
    return reference;
  });
}
