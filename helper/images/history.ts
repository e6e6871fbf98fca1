import { type HistoryEntry, type ImageConfig, maxCreatedByLength } from '../protocol/index.ts';
import { cut, timeOf } from './imageText.ts';
import type { LayerRecord } from './records.ts';

type Step = NonNullable<ImageConfig['history']>[number];

/** Which step of an image's history made which layer, both bottom first; none for certain where the history does not tell of every layer. */
export function stepsOfLayers(history: readonly Step[], layerCount: number): readonly (Step | undefined)[] {
  const made = history.filter((step) => step.empty_layer !== true);
  return made.length === layerCount ? made : new Array<undefined>(layerCount).fill(undefined);
}

/** Pure. `layers` are the image's, bottom first; layers that no step is known of come on top, without words. */
export function imageHistory(config: ImageConfig, layers: readonly LayerRecord[]): HistoryEntry[] {
  const history = config.history ?? [];
  const steps = stepsOfLayers(history, layers.length);
  const layerOf = new Map(steps.flatMap((step, index) => (step === undefined ? [] : [[step, layers[index]] as const])));
  const told = history.map((step) => entry(step, layerOf.get(step)));
  const untold = layers.filter((_, index) => steps[index] === undefined).map((layer) => entry({}, layer));
  return [...told, ...untold].reverse();
}

function entry(step: Step, layer: LayerRecord | undefined): HistoryEntry {
  return {
    createdAt: timeOf(step.created),
    createdBy: textOf(step.created_by),
    comment: textOf(step.comment),
    layer: layer === undefined ? null : { chainId: layer.chainId, diffId: layer.diffId, sizeBytes: layer.sizeBytes },
  };
}

function textOf(text: string | undefined): string | null {
  return text === undefined || text === '' ? null : cut(text, maxCreatedByLength);
}
