import * as vscode from 'vscode';
import { containerIdSchema, digestSchema, type LayerReference } from '../../helper/protocol/index.ts';

export const LAYER_SCHEME = 'strata-layer';

/** strata-layer://image-<chain id's hex>/etc/passwd, strata-layer://upper-<container id>/etc/passwd */
export function layerUri(layer: LayerReference, path: string): vscode.Uri {
  const authority = layer.kind === 'image' ? `image-${layer.chainId.slice('sha256:'.length)}` : `${layer.kind}-${layer.container}`;
  return vscode.Uri.from({ scheme: LAYER_SCHEME, authority, path });
}

/** A URI can come from anywhere (a restored window, another extension): undefined where it names no layer. */
export function parseLayerUri(uri: vscode.Uri): { readonly layer: LayerReference; readonly path: string } | undefined {
  const match = /^(image|upper|init)-([0-9a-f]+)$/.exec(uri.authority);
  if (uri.scheme !== LAYER_SCHEME || match === null) return undefined;
  const [, kind, hex] = match;
  const path = uri.path === '' ? '/' : uri.path;
  if (kind === 'image') {
    const chainId = digestSchema.safeParse(`sha256:${hex}`);
    return chainId.success ? { layer: { kind: 'image', chainId: chainId.data }, path } : undefined;
  }
  const container = containerIdSchema.safeParse(hex);
  if (!container.success) return undefined;
  return { layer: { kind: kind === 'upper' ? 'upper' : 'init', container: container.data }, path };
}
