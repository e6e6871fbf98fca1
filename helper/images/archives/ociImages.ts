import { stat } from 'node:fs/promises';
import * as z from 'zod';
import { type Digest, imageConfigSchema } from '../../protocol/index.ts';
import { type Descriptor, indexSchema, isImageConfig, isIndex, layersProblem, manifestSchema, manifestTypes } from '../manifest.ts';
import { choosePlatform, parsePlatform, platformText } from '../platforms.ts';
import { type ArchivedImage, type ArchivedLayer, type Choice, isMeant, referenceOf } from './archivedImage.ts';
import { blobName, invalid, type LayoutFiles, parseJson, readBlob, readJson } from './layoutFiles.ts';

const layoutSchema = z.looseObject({ imageLayoutVersion: z.literal('1.0.0') });

export const refNameAnnotation = 'org.opencontainers.image.ref.name';
/** containerd and docker write the whole name here, and only the tag into ref.name. */
export const imageNameAnnotation = 'io.containerd.image.name';

/** An index may be in an index; deeper is nobody's. */
const maxDepth = 4;

export async function isOciLayout(files: LayoutFiles): Promise<boolean> {
  return (await files.find('oci-layout')) !== undefined && (await files.find('index.json')) !== undefined;
}

/** What a layout calls an image. */
interface Names {
  /** Whole names. */
  readonly whole: readonly string[];
  /** Annotations ref.name, which may be whole names or only tags. */
  readonly bare: readonly string[];
}

/**
 * The images of an OCI image layout, of each the one for the platform. What is no image (a signature, a chart) is left out. `tags`: what else is known of names,
 * by image id.
 */
export async function readOciImages(
  files: LayoutFiles,
  choice: Choice,
  tags: ReadonlyMap<Digest, readonly string[]>,
): Promise<ArchivedImage[]> {
  await readJson(files, 'oci-layout', layoutSchema);
  const { manifests } = await readJson(files, 'index.json', indexSchema);
  const found = new Map<Digest, { descriptor: Descriptor; entries: Descriptor[] }>();
  for (const entry of meantOf(manifests, choice)) {
    const descriptor = await manifestOf(files, entry, choice);
    const known = found.get(descriptor.digest);
    if (known === undefined) found.set(descriptor.digest, { descriptor, entries: [entry] });
    else known.entries.push(entry);
  }
  const images: ArchivedImage[] = [];
  for (const { descriptor, entries } of found.values()) {
    const names = { whole: entries.flatMap(wholeNames), bare: entries.flatMap(bareNames) };
    const image = await readImage(files, descriptor, names, tags);
    if (image !== undefined) images.push(image);
  }
  return images;
}

/** Those that were asked for; of one image for several platforms that stands in the outer index, without an index of its own, one. */
function meantOf(manifests: readonly Descriptor[], { image, platform }: Choice): readonly Descriptor[] {
  const named = image === undefined ? [] : manifests.filter((entry) => isMeant(image, namesOf(entry), [entry.digest]));
  const meant = named.length > 0 ? named : manifests;
  const flat = meant.filter((entry) => entry.platform !== undefined && !isIndex(entry.mediaType));
  const platforms = new Map(Map.groupBy(flat, (entry) => namesOf(entry).join('\n')));
  const left = new Set<Descriptor>();
  for (const [names, entries] of platforms) {
    const kinds = new Set(entries.map((entry) => kindOf(entry)));
    if (kinds.size === 1 && platform === undefined) continue;
    const chosen = choosePlatform(
      entries,
      platform ?? parsePlatform(undefined),
      names === '' ? 'the image' : (names.split('\n')[0] ?? names),
    );
    for (const entry of entries) if (kindOf(entry) !== kindOf(chosen)) left.add(entry);
  }
  return meant.filter((entry) => !left.has(entry));
}

function kindOf({ platform }: Descriptor): string {
  return platform === undefined ? '' : platformText(platform);
}

/** Through indexes of platforms to the manifest. */
async function manifestOf(files: LayoutFiles, entry: Descriptor, { platform }: Choice): Promise<Descriptor> {
  let descriptor = entry;
  for (let depth = 0; isIndex(descriptor.mediaType); depth += 1) {
    if (depth === maxDepth) throw invalid(files, `index ${entry.digest} holds indexes within indexes without end`);
    const what = `index ${descriptor.digest}`;
    const { manifests } = parseJson(files, await readBlob(files, descriptor, what), indexSchema, what);
    const [only] = manifests;
    // An index of one that does not say for what it is.
    const isPlain = manifests.length === 1 && only !== undefined && only.platform === undefined;
    descriptor = isPlain
      ? only
      : choosePlatform(manifests, platform ?? parsePlatform(undefined), namesOf(entry)[0] ?? `the image ${entry.digest}`);
  }
  return descriptor;
}

async function readImage(
  files: LayoutFiles,
  descriptor: Descriptor,
  names: Names,
  tags: ReadonlyMap<Digest, readonly string[]>,
): Promise<ArchivedImage | undefined> {
  if (!manifestTypes.some((type) => type === descriptor.mediaType)) return undefined;
  const what = `manifest ${descriptor.digest}`;
  const bytes = await readBlob(files, descriptor, what);
  const manifest = parseJson(files, bytes, manifestSchema, what);
  if (!isImageConfig(manifest.config.mediaType)) return undefined;
  const configBytes = await readBlob(files, manifest.config, `config ${manifest.config.digest}`);
  const config = parseJson(files, configBytes, imageConfigSchema, `config ${manifest.config.digest}`);
  const name = names.whole[0] ?? names.bare[0] ?? what;
  const problem = layersProblem(manifest, config);
  if (problem !== undefined) throw invalid(files, `${name}: ${problem}`);
  const layers = await Promise.all(manifest.layers.map((layer, index) => layerOf(files, layer, config.rootfs.diff_ids[index], name)));
  const told = referencesOf(files, names, tags.get(manifest.config.digest) ?? []);
  // A name with a digest is the image's where it is that of its manifest, and needed where there is no other.
  const tagged = told.filter((reference) => !reference.includes('@'));
  const references = tagged.length > 0 ? tagged : told.filter((reference) => reference.endsWith(`@${descriptor.digest}`)).slice(0, 1);
  return { references, configBytes, config, manifest: { bytes, mediaType: descriptor.mediaType, layers: manifest.layers }, layers };
}

async function layerOf(files: LayoutFiles, layer: Descriptor, diffId: Digest | undefined, image: string): Promise<ArchivedLayer> {
  const path = await files.find(blobName(layer.digest));
  if (path === undefined || diffId === undefined) throw invalid(files, `the layer ${layer.digest} of ${image} is not in it`);
  const { size } = await stat(path);
  if (size !== layer.size) throw invalid(files, `the layer ${layer.digest} of ${image} has ${size} bytes, not ${layer.size}`);
  return { path, sizeBytes: size, mediaType: layer.mediaType, digest: layer.digest, diffId };
}

/** A bare name serves where nobody gives a whole one. */
function referencesOf(files: LayoutFiles, { whole, bare }: Names, tags: readonly string[]): string[] {
  const known = [...whole, ...tags];
  const references = (known.length > 0 ? known : bare).map((name) => {
    const reference = referenceOf(name);
    if (reference === undefined) throw invalid(files, `"${name}" is no image name`);
    return reference;
  });
  return [...new Set(references)];
}

function wholeNames({ annotations }: Descriptor): string[] {
  const name = annotations?.[imageNameAnnotation];
  return name === undefined ? [] : [name];
}

function bareNames({ annotations }: Descriptor): string[] {
  const name = annotations?.[refNameAnnotation];
  return name === undefined ? [] : [name];
}

/** All that a person may call it. */
function namesOf(descriptor: Descriptor): string[] {
  return [...wholeNames(descriptor), ...bareNames(descriptor)];
}
