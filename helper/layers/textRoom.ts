/** Paths may be long and strange; an answer that names them must fit a message of the protocol. */
export class TextRoom {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Whether it still fits, as JSON. */
  takes(value: object): boolean {
    const bytes = Buffer.byteLength(JSON.stringify(value));
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }
}
