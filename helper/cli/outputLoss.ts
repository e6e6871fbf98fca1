/** What the shell says of a command that SIGPIPE ended. */
export const brokenPipeStatus = 128 + 13;

/**
 * Nobody reads our output any more ("strata run … | head -1"). What runs in the foreground says what is to be done
 * first: left alone, its container would go on unseen.
 */
export class OutputLoss {
  #lastStep: (() => Promise<unknown>) | undefined;
  #done: Promise<void> | undefined;

  /** Settles when everything is done; undefined while somebody reads. */
  get handled(): Promise<void> | undefined {
    return this.#done;
  }

  /** To be done before the process ends for it; gives back how to take that back. */
  beforeExit(step: () => Promise<unknown>): () => void {
    this.#lastStep = step;
    return () => {
      this.#lastStep = undefined;
    };
  }

  /** Both streams may report it, and more than once. */
  happened(exit: (status: number) => never): void {
    if (this.#done !== undefined) return;
    const step = this.#lastStep;
    // Nobody could read why it failed.
    this.#done = (step === undefined ? Promise.resolve() : step().catch(() => {})).then(() => exit(brokenPipeStatus));
  }
}
