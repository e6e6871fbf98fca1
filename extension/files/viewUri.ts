import * as vscode from 'vscode';
import { containerIdSchema, digestSchema, type ViewReference } from '../../helper/protocol/index.ts';

/** What a container sees, which can be written. */
export const CONTAINER_SCHEME = 'strata';
/** What an image has, and what was before the layers above: nothing of it can be written. A scheme of its own, for VS Code says why of a whole scheme alone. */
export const PAST_SCHEME = 'strata-past';

/** strata://container-<id>/etc/passwd, strata-past://image-<hex>/etc/passwd, strata-past://image-<hex>-3/etc/passwd: as of its third layer. */
export function viewUri(view: ViewReference, path: string): vscode.Uri {
  const name = view.kind === 'container' ? `container-${view.container}` : `image-${view.image.slice('sha256:'.length)}`;
  const authority = view.layers === undefined ? name : `${name}-${view.layers}`;
  return vscode.Uri.from({ scheme: isPast(view) ? PAST_SCHEME : CONTAINER_SCHEME, authority, path });
}

/** A URI can come from anywhere (a restored window, another extension): undefined where it names no view. */
export function parseViewUri(uri: vscode.Uri): { readonly view: ViewReference; readonly path: string } | undefined {
  const match = /^(container|image)-([0-9a-f]+)(?:-([1-9][0-9]{0,2}))?$/.exec(uri.authority);
  if (match === null) return undefined;
  const [, kind, hex, count] = match;
  const layers = count === undefined ? undefined : Number(count);
  const view = kind === 'container' ? containerView(hex, layers) : imageView(hex, layers);
  if (view === undefined || uri.scheme !== (isPast(view) ? PAST_SCHEME : CONTAINER_SCHEME)) return undefined;
  return { view, path: uri.path === '' ? '/' : uri.path };
}

function isPast(view: ViewReference): boolean {
  return view.kind === 'image' || view.layers !== undefined;
}

function containerView(hex: string | undefined, layers: number | undefined): ViewReference | undefined {
  const container = containerIdSchema.safeParse(hex);
  return container.success ? { kind: 'container', container: container.data, layers } : undefined;
}

function imageView(hex: string | undefined, layers: number | undefined): ViewReference | undefined {
  const image = digestSchema.safeParse(`sha256:${hex}`);
  return image.success ? { kind: 'image', image: image.data, layers } : undefined;
}
