import { type EventParams, formatBytes, type LayerProgress, progressText } from '../protocol/index.ts';
import type { Connection } from '../wire/connection.ts';

let lastProgress = 0;

/** Gives the request a number of its own, under which the helper tells how far its layers are. */
export async function reportingLayers<T>(
  connection: Connection,
  report: LayerReport | undefined,
  action: (progress: number) => Promise<T>,
): Promise<T> {
  lastProgress += 1;
  const progress = lastProgress;
  const stop = connection.onEvent((event, params) => {
    if (event !== 'image.transferring') return;
    const told = params as EventParams<'image.transferring'>; // of this event
    if (told.progress === progress) report?.show(told.layers);
  });
  try {
    return await action(progress);
  } finally {
    stop();
    report?.close();
  }
}

/** On a terminal one line that changes; elsewhere a line for each layer that is there. */
export class LayerReport {
  readonly #name: string;
  readonly #verb: string;
  readonly #out = process.stderr;
  readonly #told = new Set<string>();
  #isLineOpen = false;

  constructor(name: string, verb: 'pulled' | 'loaded' | 'saved' | 'pushed') {
    this.#name = name;
    this.#verb = verb;
  }

  /** What is not of layers, on a terminal alone. */
  say(text: string): void {
    if (!this.#out.isTTY) return;
    this.#out.write(`\r\u001b[K${this.#name}: ${text}`.slice(0, (this.#out.columns || 80) + 4));
    this.#isLineOpen = true;
  }

  show(layers: readonly LayerProgress[]): void {
    if (this.#out.isTTY) {
      this.say(progressText(layers));
      return;
    }
    for (const { digest, state, totalBytes } of layers) {
      const end = this.#endWords(state, totalBytes);
      if (end === undefined || this.#told.has(digest)) continue;
      this.#told.add(digest);
      this.#out.write(`${digest.slice(7, 19)}: ${end}\n`);
    }
  }

  /** Undefined: there is more to come. */
  #endWords(state: LayerProgress['state'], totalBytes: number): string | undefined {
    if (state === 'present') return `${this.#verb === 'pushed' ? 'there' : 'here'} already`;
    if (state === 'mounted') return 'taken from another repository';
    return state === 'done' ? `${this.#verb}, ${formatBytes(totalBytes)}` : undefined;
  }

  close(): void {
    if (this.#isLineOpen) this.#out.write('\r\u001b[K');
  }
}
