import type { LayerProgress } from '../protocol/index.ts';
import type { Session } from './session.ts';

const intervalMs = 100;

/** Passes on how far the layers of an image are: the first report at once, then the newest about ten times a second. */
class LayerReports {
  readonly #send: (layers: LayerProgress[]) => void;
  #newest: readonly LayerProgress[] | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (layers: LayerProgress[]) => void) {
    this.#send = send;
  }

  tell(layers: readonly LayerProgress[]): void {
    this.#newest = layers;
    if (this.#timer === undefined) this.#pass();
  }

  /** The last report goes out before the answer of the request. */
  close(): void {
    clearTimeout(this.#timer);
    this.#flush();
  }

  #pass(): void {
    if (!this.#flush()) {
      this.#timer = undefined;
      return;
    }
    this.#timer = setTimeout(() => this.#pass(), intervalMs);
  }

  #flush(): boolean {
    const newest = this.#newest;
    this.#newest = undefined;
    if (newest !== undefined) this.#send([...newest]);
    return newest !== undefined;
  }
}

/** Tells the session how far the layers are, where it gave a number for that. */
export async function reportingLayers<T>(
  session: Session,
  progress: number | undefined,
  action: (onProgress: (layers: readonly LayerProgress[]) => void) => Promise<T>,
): Promise<T> {
  const reports = new LayerReports((layers) => {
    if (progress !== undefined) session.connection.notify('image.transferring', { progress, layers });
  });
  try {
    return await action((layers) => reports.tell(layers));
  } finally {
    reports.close();
  }
}
