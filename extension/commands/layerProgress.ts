import { type LayerProgress, progressBytes, progressText } from '../../helper/protocol/index.ts';
import type { Services } from '../services.ts';
import type { Report } from './cancellable.ts';

let lastProgress = 0;

/** A number for the progress of a request, and its events, until `stop`. */
export function followLayers(client: Services['client'], report: Report): { readonly progress: number; readonly stop: () => void } {
  lastProgress += 1;
  const progress = lastProgress;
  let shownPercent = 0;
  const show = (layers: readonly LayerProgress[]): void => {
    const { doneBytes, totalBytes } = progressBytes(layers);
    const percent = totalBytes === 0 ? 0 : Math.floor((100 * doneBytes) / totalBytes);
    report(progressText(layers), Math.max(0, percent - shownPercent));
    shownPercent = Math.max(percent, shownPercent);
  };
  const stop = client.onMessage((message) => {
    if (message.kind === 'event' && message.event === 'image.transferring' && message.params.progress === progress)
      show(message.params.layers);
  });
  return { progress, stop };
}
