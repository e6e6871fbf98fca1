import { Channel, signalName } from '../protocol/index.ts';
import type { ByteStream } from './byteStream.ts';
import type { SupervisorClient } from './supervisorClient.ts';

export interface ExecEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

/** From a supervisor's numbers. */
export function execEndOf({ code, signal }: { readonly code: number | null; readonly signal: number | null }): ExecEnd {
  return { code, signal: signal === null ? null : signalName(signal) };
}

/** Between one exec session and one stream. */
export class ExecRelay {
  readonly #client: SupervisorClient;
  readonly #stream: ByteStream;
  readonly #open: Set<'stdout' | 'stderr'>;
  readonly #onEnd: (end: ExecEnd) => void;
  readonly #writes = new Set<Promise<void>>();
  #session: number | undefined;
  #ended = false;
  #end: ExecEnd | undefined;

  constructor(options: { client: SupervisorClient; stream: ByteStream; tty: boolean; onEnd: (end: ExecEnd) => void }) {
    this.#client = options.client;
    this.#stream = options.stream;
    this.#onEnd = options.onEnd;
    // A terminal has one output.
    this.#open = new Set(options.tty ? ['stdout'] : ['stdout', 'stderr']);
  }

  begin(session: number): void {
    this.#session = session;
    this.#client.onEvent((event) => {
      if (event.event !== 'execExited' || event.session !== session) return;
      this.#end = execEndOf(event);
      this.#finishWhenDrained();
    });
    this.#client.openSession(session, {
      output: (channel, bytes) => this.#output(channel, bytes),
      ended: (channel) => {
        this.#open.delete(channel);
        this.#finishWhenDrained();
      },
    });
    // With the container the supervisor goes, maybe before it has told of the end.
    void this.#client.closed.then(() => this.#finish(this.#end ?? { code: null, signal: null }));
  }

  takeInput(stdin: boolean): void {
    const session = this.#session;
    this.#stream.consume({
      data: async (channel, bytes) => {
        if (channel !== Channel.stdin || !stdin || session === undefined) return;
        await this.#client.writeStdin(session, bytes).catch(() => {}); // a process that has ended takes no input
      },
      end: (channel) => {
        if (channel === Channel.stdin && stdin && session !== undefined) this.#client.endStdin(session);
      },
    });
  }

  #output(channel: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void> {
    const write = this.#stream.write(channel === 'stdout' ? Channel.stdout : Channel.stderr, bytes);
    const settled = write.catch(() => {}).finally(() => this.#writes.delete(settled));
    this.#writes.add(settled);
    return write;
  }

  #finishWhenDrained(): void {
    if (this.#end !== undefined && this.#open.size === 0) void this.#finish(this.#end);
  }

  /** The event comes after the last output, and then the close of the stream. */
  async #finish(end: ExecEnd): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    // The answer that names the session goes out first.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all(this.#writes);
    this.#onEnd(end);
    this.#stream.end(Channel.stdout);
    this.#stream.end(Channel.stderr);
    this.#stream.close();
    this.#client.close();
  }
}
