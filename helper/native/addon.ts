import { createRequire } from 'node:module';
import type * as addon from '../../native/addon/index.d.ts';
import { StrataError } from '../protocol/index.ts';

/** Everything the native core does for the helper; a parameter of whoever needs it, so that tests can give another. */
export type Addon = typeof addon;
export type {
  AppliedLayer,
  CgroupFigures,
  CgroupHost,
  CgroupLimits,
  CgroupSampler,
  DirectoryWatch,
  EntryMatch,
  EntryQuery,
  IndexedLayer,
  KernelFeature,
  LayerEntry,
  LayerIndex,
  MergedEntry,
  PackedDirectory,
} from '../../native/addon/index.d.ts';

export function loadAddon(path: string): Addon {
  try {
    // A .node file has no types of its own; index.d.ts is written for exactly this file.
    return createRequire(path)(path) as Addon;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StrataError('INTERNAL', `cannot load the native addon ${path}: ${why}`, {
      hint: 'Build it with "npm run build", or install the package again.',
      cause,
    });
  }
}
