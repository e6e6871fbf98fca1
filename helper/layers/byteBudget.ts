/** So many bytes and no more: what is too much for the rest is left out, what is smaller may still come. */
export class ByteBudget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  /** As JSON: paths may be long and strange, and an answer that names them must fit a message of the protocol. */
  takeText(value: object): boolean {
    return this.take(Buffer.byteLength(JSON.stringify(value)));
  }
}
