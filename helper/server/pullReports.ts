import type { PullLayer } from '../protocol/index.ts';

const intervalMs = 100;

/** Passes on how far a pull is: the first report at once, then the newest about ten times a second. */
export class PullReports {
  readonly #send: (layers: PullLayer[]) => void;
  #newest: readonly PullLayer[] | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (layers: PullLayer[]) => void) {
    this.#send = send;
  }

  tell(layers: readonly PullLayer[]): void {
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
