import { type Digest, type ImageConfig, StrataError } from '../protocol/index.ts';
import type { RuntimeConfig } from './instructions.ts';
import { maxMetadataBytes } from './manifest.ts';

export interface ChildStep {
  /** RFC 3339. */
  readonly created: string;
  readonly createdBy: string;
  readonly author: string | undefined;
  readonly comment: string | undefined;
}

/** Of the tool that made the parent; what it says is not true of the child. */
const ofParent = ['container', 'container_config', 'docker_version', 'id', 'parent'] as const;

/** Pure. The config of an image that has one layer more than its parent, or none (`diffId` undefined). */
export function childConfig(parent: ImageConfig, config: RuntimeConfig, diffId: Digest | undefined, step: ChildStep): ImageConfig {
  const { created, createdBy, author, comment } = step;
  const kept: ImageConfig = { ...parent };
  for (const key of ofParent) delete kept[key];
  return {
    ...kept,
    created,
    ...(author === undefined ? {} : { author }),
    config,
    rootfs: { ...parent.rootfs, diff_ids: [...parent.rootfs.diff_ids, ...(diffId === undefined ? [] : [diffId])] },
    history: [
      ...historyOf(parent),
      {
        created,
        created_by: createdBy,
        ...(author === undefined ? {} : { author }),
        ...(comment === undefined ? {} : { comment }),
        ...(diffId === undefined ? { empty_layer: true } : {}),
      },
    ],
  };
}

type Step = NonNullable<ImageConfig['history']>[number];

/** A history that does not tell of every layer would give the new layer's step to another one: it is made whole. */
export function historyOf({ history = [], rootfs }: ImageConfig): Step[] {
  const made = history.filter((step) => step.empty_layer !== true).length;
  const missing = Math.max(0, rootfs.diff_ids.length - made);
  return [...Array.from({ length: missing }, () => ({ comment: 'nothing is known of how this layer was made' })), ...history];
}

/** The config as it is kept; its digest is the image's id. */
export function configBytesOf(config: ImageConfig): Uint8Array {
  const bytes = new TextEncoder().encode(JSON.stringify(config));
  if (bytes.byteLength > maxMetadataBytes) {
    throw new StrataError('IMAGE_INVALID', `the image's config would have ${bytes.byteLength} bytes, and may have ${maxMetadataBytes}`, {
      hint: 'Fewer variables, labels or steps of history make it smaller.',
    });
  }
  return bytes;
}
