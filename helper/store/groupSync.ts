/**
 * Syncs of one file system that are asked for while one runs become a single next one: what each of the askers wrote before it asked is on disk
 * when its promise resolves.
 */
export class GroupSync {
  readonly #sync: () => Promise<void>;
  #running: Promise<void> | undefined;
  /** It has not begun, so it covers whoever asks now. */
  #next: Promise<void> | undefined;

  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  async run(): Promise<void> {
    if (this.#running === undefined) {
      await this.#begin();
      return;
    }
    this.#next ??= this.#after(this.#running);
    await this.#next;
  }

  async #after(running: Promise<void>): Promise<void> {
    // Whether that one failed is for its own askers.
    await running.catch(() => {});
    this.#next = undefined;
    await this.#begin();
  }

  #begin(): Promise<void> {
    const running = this.#sync().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}
