import * as z from 'zod';
import { digestSchema, type ImageConfig } from '../protocol/index.ts';

/** image-spec: the parts of indexes and manifests that Strata reads. Docker's media types are the same objects under older names. */
const platformSchema = z.looseObject({ architecture: z.string(), os: z.string(), variant: z.string().optional() });
export type Platform = z.infer<typeof platformSchema>;

const descriptorSchema = z.looseObject({
  mediaType: z.string(),
  digest: digestSchema,
  size: z.int().min(0),
  annotations: z.record(z.string(), z.string()).optional(),
  platform: platformSchema.optional(),
});
export type Descriptor = z.infer<typeof descriptorSchema>;

export const indexSchema = z.looseObject({ schemaVersion: z.literal(2), manifests: z.array(descriptorSchema) });
export const manifestSchema = z.looseObject({ schemaVersion: z.literal(2), config: descriptorSchema, layers: z.array(descriptorSchema) });
export type Manifest = z.infer<typeof manifestSchema>;

/** A manifest or config larger than this is an attack, not an image (image-spec's advice to registries is 4 MiB). */
export const maxMetadataBytes = 4 * 1024 * 1024;

export const indexTypes = ['application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json'] as const;
export const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
] as const;

export const ociManifestType = manifestTypes[0];
export const ociConfigType = 'application/vnd.oci.image.config.v1+json';
const configTypes: readonly string[] = [ociConfigType, 'application/vnd.docker.container.image.v1+json'];

export const ociLayerTypes = {
  tar: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const;

/** Every type of layer that can be unpacked, and OCI's name for it. */
const layerTypes = new Map<string, string>([
  ...Object.values(ociLayerTypes).map((type) => [type, type] as const),
  ['application/vnd.docker.image.rootfs.diff.tar', ociLayerTypes.tar],
  ['application/vnd.docker.image.rootfs.diff.tar.gzip', ociLayerTypes.gzip],
  ['application/vnd.docker.image.rootfs.diff.tar.zstd', ociLayerTypes.zstd],
]);

export function isLayerType(mediaType: string): boolean {
  return layerTypes.has(mediaType);
}

/** What OCI calls a layer of this type; one that is not known stays as it is. */
export function ociLayerType(mediaType: string): string {
  return layerTypes.get(mediaType) ?? mediaType;
}

export function isIndex(mediaType: string): boolean {
  return indexTypes.some((type) => type === mediaType);
}

/** OVL_MAX_STACK of the kernel's fs/overlayfs. */
export const maxLayers = 500;

/** Else it is an artifact: a chart, a signature, whatever can be kept in a registry. */
export function isImageConfig(mediaType: string): boolean {
  return configTypes.includes(mediaType);
}

/** Pure. Why no container can run on these layers; undefined where it can. */
export function layersProblem({ layers }: Manifest, { rootfs }: ImageConfig): string | undefined {
  const unknown = layers.find(({ mediaType }) => !layerTypes.has(mediaType));
  if (unknown !== undefined) return `its layer ${unknown.digest} is of the type ${unknown.mediaType}, which Strata cannot unpack`;
  if (rootfs.diff_ids.length !== layers.length || layers.length === 0) {
    return `its manifest has ${layers.length} layers and its config ${rootfs.diff_ids.length}`;
  }
  return layers.length > maxLayers ? `it has ${layers.length} layers, and no kernel stacks more than ${maxLayers}` : undefined;
}
