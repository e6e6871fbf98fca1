import {
  type Change,
  type Copied,
  changeSchema,
  type MethodName,
  type MethodResult,
  type Params,
  type PathStat,
  StrataError,
} from '../protocol/index.ts';
import { parseReceived } from './received.ts';
import { streamBytesUntil } from './streamBytes.ts';
import { type UploadWire, upload } from './upload.ts';

/** The files of one container, over a connection. What is begun ends with `signal`. */
export class ContainerArchive {
  readonly #wire: UploadWire;
  readonly #container: string;
  readonly #signal: AbortSignal | undefined;

  constructor(wire: UploadWire, container: string, signal?: AbortSignal) {
    this.#wire = wire;
    this.#container = container;
    this.#signal = signal;
  }

  async stat(path: string, follow: boolean): Promise<PathStat> {
    return (await this.#request('container.archive.stat', { container: this.#container, path, follow })).stat;
  }

  /** A tar, which is to be read at once; to leave its bytes ends the copy. */
  async get(path: string, follow: boolean): Promise<AsyncGenerator<Uint8Array>> {
    const { stream } = await this.#request('container.archive.get', { container: this.#container, path, follow });
    return this.#bytes(stream);
  }

  /** A tar of the whole root file system. */
  async export(): Promise<AsyncGenerator<Uint8Array>> {
    const { stream } = await this.#request('container.export', { container: this.#container });
    return this.#bytes(stream);
  }

  /** With `details` what was only copied up is one of them. */
  async *changes({ details }: { readonly details?: boolean } = {}): AsyncGenerator<Change> {
    const params = { container: this.#container, ...(details === true ? { details } : {}) };
    const { stream } = await this.#request('container.diff', params);
    for await (const line of this.#lines(stream)) yield changeOf(line);
  }

  /** A layer's tar of what it has changed. */
  async exportChanges(): Promise<AsyncGenerator<Uint8Array>> {
    const { stream } = await this.#request('container.diff.export', { container: this.#container });
    return this.#bytes(stream);
  }

  /** Gives at once, and each time when something may have changed since. */
  async *changeTimes(): AsyncGenerator<void> {
    const { stream } = await this.#request('container.diff.watch', { container: this.#container });
    for await (const _ of this.#lines(stream)) yield;
  }

  /** Unpacks a tar in a directory of the container. Throws what the source throws. */
  async put(path: string, source: AsyncIterable<Uint8Array>, keepOwners: boolean): Promise<Copied> {
    return await upload(this.#wire, source, (stream) =>
      this.#request('container.archive.put', { container: this.#container, path, stream, keepOwners }),
    );
  }

  async #request<M extends MethodName>(method: M, params: Params<M>): Promise<MethodResult<M>> {
    return await this.#wire.request(method, params, { signal: this.#signal });
  }

  async *#lines(id: number): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const bytes of this.#bytes(id)) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  }

  #bytes(id: number): AsyncGenerator<Uint8Array> {
    return streamBytesUntil(this.#wire.stream(id), this.#signal);
  }
}

function changeOf(line: string): Change {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new StrataError('PROTOCOL_MISMATCH', 'a change is not what this version expects', { cause });
  }
  const parsed = parseReceived(changeSchema, value);
  if (!parsed.success) throw new StrataError('PROTOCOL_MISMATCH', 'a change is not what this version expects', { cause: parsed.error });
  return parsed.data as Change; // parseReceived loses the schema's type
}
