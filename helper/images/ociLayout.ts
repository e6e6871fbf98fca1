import { constants } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { isSystemError } from '../native/errors.ts';
import { type Digest, type ImageConfig, imageConfigSchema, StrataError } from '../protocol/index.ts';
import { readBounded } from '../store/boundedFile.ts';
import { hexOf } from '../store/layout.ts';
import { digestOf } from './contentStore.ts';
import { type Descriptor, indexSchema, isIndex, manifestSchema, maxMetadataBytes } from './manifest.ts';

const layoutSchema = z.looseObject({ imageLayoutVersion: z.literal('1.0.0') });

const refNameAnnotation = 'org.opencontainers.image.ref.name';
/** containerd and docker write the whole name here, and only the tag into ref.name. */
const imageNameAnnotation = 'io.containerd.image.name';
export interface OciImage {
  /** The bytes as they are: their digest is the image's id. */
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  readonly layers: readonly { readonly path: string; readonly digest: Digest; readonly mediaType: string; readonly diffId: Digest }[];
  /** As it is in the layout. */
  readonly manifest: { readonly bytes: Uint8Array; readonly mediaType: string; readonly layers: readonly Descriptor[] };
  /** The name that the layout itself gives it. */
  readonly name: string | undefined;
}

/** Reads and verifies an OCI image layout directory up to its layers, whose digests are checked while they are unpacked. */
export async function readOciLayout(directory: string, options: { name?: string | undefined; architecture: string }): Promise<OciImage> {
  await readJson(join(directory, 'oci-layout'), layoutSchema, 'oci-layout');
  const index = await readJson(join(directory, 'index.json'), indexSchema, 'index.json');
  const descriptor = await chooseManifest(directory, index.manifests, options);
  const manifestBytes = await readBlob(directory, descriptor);
  const manifest = parse(manifestBytes, manifestSchema, `manifest ${descriptor.digest}`);
  const configBytes = await readBlob(directory, manifest.config);
  const config = parse(configBytes, imageConfigSchema, `config ${manifest.config.digest}`);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== manifest.layers.length || diffIds.length === 0) {
    throw invalid(`its manifest has ${manifest.layers.length} layers and its config ${diffIds.length}`);
  }
  const layers = manifest.layers.map((layer, index_) => {
    const diffId = diffIds[index_];
    if (diffId === undefined) throw invalid('its config names too few layers');
    return { path: blobPath(directory, layer.digest), digest: layer.digest, mediaType: layer.mediaType, diffId };
  });
  const kept = { bytes: manifestBytes, mediaType: descriptor.mediaType, layers: manifest.layers };
  return { configBytes, config, layers, manifest: kept, name: nameOf(descriptor) };
}

/** One manifest: the named one, else the only one; through an index of platforms to this host's. */
async function chooseManifest(
  directory: string,
  manifests: readonly Descriptor[],
  options: { name?: string | undefined; architecture: string },
): Promise<Descriptor> {
  const wanted = options.name;
  const named = wanted === undefined ? manifests : manifests.filter((entry) => namesOf(entry).includes(wanted));
  const fitting = named.filter((entry) => entry.platform === undefined || entry.platform.architecture === options.architecture);
  const chosen = fitting[0];
  if (chosen === undefined) {
    const known = manifests.flatMap(namesOf);
    throw invalid(
      wanted === undefined
        ? `it has no manifest for ${options.architecture}`
        : `it has no image "${wanted}"${known.length > 0 ? `, but ${known.map((name) => `"${name}"`).join(', ')}` : ''}`,
    );
  }
  if (fitting.length > 1) {
    const names = fitting.flatMap(namesOf);
    throw new StrataError('INVALID_REQUEST', `the OCI image layout has ${fitting.length} images: ${names.join(', ')}`, {
      hint: `Say which one, for instance with "--image ${names[0] ?? 'NAME'}".`,
    });
  }
  if (!isIndex(chosen.mediaType)) return chosen;
  const inner = parse(await readBlob(directory, chosen), indexSchema, `index ${chosen.digest}`);
  const found = await chooseManifest(directory, inner.manifests, { architecture: options.architecture });
  // The outer entry is the one with the name.
  return { ...found, annotations: { ...found.annotations, ...chosen.annotations } };
}

function namesOf(descriptor: Descriptor): string[] {
  const { annotations } = descriptor;
  return [annotations?.[imageNameAnnotation], annotations?.[refNameAnnotation]].filter((name) => name !== undefined);
}

function nameOf(descriptor: Descriptor): string | undefined {
  return namesOf(descriptor)[0];
}

function blobPath(directory: string, digest: Digest): string {
  return join(directory, 'blobs', 'sha256', hexOf(digest));
}

async function readBlob(directory: string, descriptor: Descriptor): Promise<Uint8Array> {
  const path = blobPath(directory, descriptor.digest);
  const bytes = await readSmall(path, `blob ${descriptor.digest}`);
  if (digestOf(bytes) !== descriptor.digest || bytes.byteLength !== descriptor.size) {
    throw invalid(`blob ${descriptor.digest} is not what its digest says`, { path });
  }
  return bytes;
}

async function readSmall(path: string, what: string): Promise<Uint8Array> {
  const bytes = await readFileOfLayout(path, what);
  if (bytes === undefined) throw invalid(`${what} is no regular file`, { path });
  if (bytes.byteLength > maxMetadataBytes) throw invalid(`${what} is larger than 4 MiB`, { path });
  return bytes;
}

/** Whoever wrote the layout chose what stands under this name: a FIFO or a device would hold a thread of the helper for ever. */
async function readFileOfLayout(path: string, what: string): Promise<Uint8Array | undefined> {
  try {
    return await readBounded(path, { mostBytes: maxMetadataBytes + 1, flags: constants.O_NOFOLLOW, kind: 'regular' });
  } catch (error) {
    if (isSystemError(error)) throw invalid(`${what} cannot be read (${error.code})`, { path });
    throw error;
  }
}

async function readJson<T>(path: string, schema: z.ZodType<T>, what: string): Promise<T> {
  return parse(await readSmall(path, what), schema, what);
}

function parse<T>(bytes: Uint8Array, schema: z.ZodType<T>, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw invalid(`${what} is no JSON`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw invalid(`${what}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function invalid(why: string, details: Record<string, string> = {}): StrataError {
  return new StrataError('IMAGE_INVALID', `this is no OCI image layout that can be imported: ${why}`, { details });
}
