import * as z from 'zod';
import {
  type Digest,
  digestSchema,
  type ImageConfig,
  imageConfigSchema,
  type RegistryCredentials,
  StrataError,
} from '../../protocol/index.ts';
import { digestOf } from '../contentStore.ts';
import { plain } from '../imageText.ts';
import {
  type Descriptor,
  indexSchema,
  indexTypes,
  isImageConfig,
  isIndex,
  layersProblem,
  manifestSchema,
  manifestTypes,
  maxMetadataBytes,
  type Platform,
} from '../manifest.ts';
import { choosePlatform } from '../platforms.ts';
import { readBody } from './http.ts';
import { RegistryClient, reachRegistry } from './registryClient.ts';
import type { Endpoint } from './registrySettings.ts';
import type { RemoteName } from './remoteName.ts';

/** An image as a registry has it, verified up to its layers. */
export interface RemoteImage {
  readonly client: RegistryClient;
  readonly repository: string;
  readonly configBytes: Uint8Array;
  readonly config: ImageConfig;
  readonly manifest: { readonly bytes: Uint8Array; readonly mediaType: string };
  /** Of what the name points to: of the index where it is one. */
  readonly digest: Digest;
  /** Bottom first, one for each diffID of the config. */
  readonly layers: readonly Descriptor[];
}

export interface Wanted {
  readonly name: RemoteName;
  readonly platform: Platform;
  readonly credentials: RegistryCredentials | undefined;
  readonly signal: AbortSignal;
}

/** Asks mirrors first, and for what they cannot give the registry itself. */
export async function findRemoteImage(endpoints: readonly Endpoint[], wanted: Wanted): Promise<RemoteImage> {
  for (const mirror of endpoints.filter(({ isMirror }) => isMirror)) {
    const client = new RegistryClient(mirror, undefined);
    try {
      if (await client.isThere(wanted.signal)) return await read(client, wanted);
    } catch (error) {
      client.close();
      if (wanted.signal.aborted) throw error;
      continue;
    }
    client.close();
  }
  const client = await reachRegistry(endpoints, wanted.credentials, wanted.signal);
  try {
    return await read(client, wanted);
  } catch (error) {
    client.close();
    throw error;
  }
}

async function read(client: RegistryClient, { name, platform, signal }: Wanted): Promise<RemoteImage> {
  const { repository, target } = name;
  const first = target.kind === 'tag' ? { reference: target.tag, digest: undefined } : { reference: target.digest, digest: target.digest };
  let found = await fetchManifest(client, repository, first, signal);
  const named = digestOf(found.bytes);
  if (isIndex(found.mediaType)) {
    const index = parse(found.bytes, indexSchema, `the index ${first.reference}`);
    const { digest } = choosePlatform(index.manifests, platform, `${repository}:${first.reference}`);
    found = await fetchManifest(client, repository, { reference: digest, digest }, signal);
  }
  if (!manifestTypes.some((type) => type === found.mediaType)) {
    throw invalid(`${repository} is of the type ${found.mediaType}, which is no image that can run`);
  }
  const manifest = parse(found.bytes, manifestSchema, 'its manifest');
  if (!isImageConfig(manifest.config.mediaType)) {
    throw invalid(`${repository} holds ${manifest.config.mediaType}, which is no container image`);
  }
  const configBytes = await fetchSmall(client, repository, manifest.config, signal);
  const config = parse(configBytes, imageConfigSchema, 'its config');
  const problem = layersProblem(manifest, config);
  if (problem !== undefined) throw invalid(problem);
  return { client, repository, configBytes, config, manifest: found, digest: named, layers: manifest.layers };
}

async function fetchManifest(
  client: RegistryClient,
  repository: string,
  { reference, digest }: { reference: string; digest: Digest | undefined },
  signal: AbortSignal,
): Promise<{ bytes: Uint8Array; mediaType: string }> {
  const answer = await client.get(repository, `manifests/${reference}`, {
    what: `image ${repository}:${reference}`,
    headers: { accept: [...indexTypes, ...manifestTypes].join(', ') },
    signal,
  });
  const bytes = await readBody(answer, maxMetadataBytes);
  // The header is not in every registry's answer; where it is, the bytes must be what it says.
  const told = digestSchema.safeParse(answer.headers['docker-content-digest']);
  const expected = digest ?? (told.success ? told.data : undefined);
  if (expected !== undefined && digestOf(bytes) !== expected)
    throw invalid(`the manifest ${reference} is not what its digest ${expected} says`);
  return { bytes, mediaType: mediaTypeOf(bytes, answer.headers['content-type']) };
}

/** The document's own word before the header's: proxies change headers. */
function mediaTypeOf(bytes: Uint8Array, header: string | undefined): string {
  const own = z.looseObject({ mediaType: z.string() }).safeParse(parseJson(bytes));
  return own.success ? own.data.mediaType : (header?.split(';')[0]?.trim() ?? '');
}

async function fetchSmall(
  client: RegistryClient,
  repository: string,
  { digest, size }: Descriptor,
  signal: AbortSignal,
): Promise<Uint8Array> {
  if (size > maxMetadataBytes) throw invalid(`the blob ${digest} has ${size} bytes, more than a config may have`);
  const bytes = await readBody(await client.get(repository, `blobs/${digest}`, { what: `blob ${digest}`, signal }), maxMetadataBytes);
  if (bytes.byteLength !== size || digestOf(bytes) !== digest) throw invalid(`the blob ${digest} is not what its digest says`);
  return bytes;
}

function parse<T>(bytes: Uint8Array, schema: z.ZodType<T>, what: string): T {
  const parsed = schema.safeParse(parseJson(bytes));
  if (!parsed.success) throw invalid(`${what}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function invalid(why: string): StrataError {
  return new StrataError('IMAGE_INVALID', `the registry's image cannot be used: ${plain(why)}`, {
    hint: 'What the registry has is damaged or of a kind that Strata does not run; pull another tag, or push it again.',
  });
}
