import type { Layer, LayerEntry } from '../../helper/protocol/index.ts';

/** One directory of one layer. */
export interface LayerListing {
  readonly layer: Layer;
  readonly entries: readonly LayerEntry[];
}

/** What a container sees under a name: whose it is, and what lies below that. */
export interface MergedEntry {
  readonly entry: LayerEntry;
  /** The topmost layer that has it. */
  readonly layer: Layer;
  /** Of a directory: the layers whose content it shows, top first. */
  readonly layers: readonly Layer[];
  /** Of anything else: the next layer below that has the name too, whose entry is hidden. */
  readonly hides: Layer | undefined;
}

interface Found {
  entry: LayerEntry;
  layer: Layer;
  layers: Layer[];
  hides: Layer | undefined;
  /** Whether it is known what it hides. */
  isLowest: boolean;
  /** What layers below have under this name is not seen. */
  isClosed: boolean;
}

/**
 * A directory as overlayfs merges it (kernel's Documentation/filesystems/overlayfs.rst): of the layers that show something there,
 * top first. The uppermost entry of a name is seen; directories merge down to one that is opaque, or to something that is none.
 */
export function mergeListings(listings: readonly LayerListing[]): readonly MergedEntry[] {
  const names = new Map<string, Found | 'deleted'>();
  for (const { layer, entries } of listings) {
    for (const entry of entries) {
      const above = names.get(entry.name);
      if (above === 'deleted') continue;
      if (above === undefined) names.set(entry.name, entry.kind === 'whiteout' ? 'deleted' : found(layer, entry));
      else if (!above.isClosed) below(above, layer, entry);
      else hidden(above, layer, entry);
    }
  }
  return [...names.values()]
    .filter((value) => value !== 'deleted')
    .map(({ entry, layer, layers, hides }) => ({ entry, layer, layers, hides: entry.kind === 'directory' ? undefined : hides }))
    .sort((a, b) => (a.entry.name < b.entry.name ? -1 : 1));
}

function found(layer: Layer, entry: LayerEntry): Found {
  const isDirectory = entry.kind === 'directory';
  return {
    entry,
    layer,
    layers: isDirectory ? [layer] : [],
    hides: undefined,
    isLowest: false,
    isClosed: !isDirectory || entry.opaque === true,
  };
}

/** Of a directory that is open to what is below. */
function below(directory: Found, layer: Layer, entry: LayerEntry): void {
  if (entry.kind === 'directory') directory.layers.push(layer);
  directory.isClosed = entry.kind !== 'directory' || entry.opaque === true;
}

/** Below something that is seen alone: the next layer that has the name, unless one between has deleted it. */
function hidden(above: Found, layer: Layer, entry: LayerEntry): void {
  if (!above.isLowest && entry.kind !== 'whiteout') above.hides = layer;
  above.isLowest = true;
}
