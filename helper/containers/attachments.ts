import { Channel, type TerminalSize } from '../protocol/index.ts';
import type { ByteStream } from './byteStream.ts';

/** What clients that are joined to a container share: one input, and the size of one terminal. */
export interface MainInput {
  /** Resolves when the bytes have been sent, which waits until the process reads. */
  write(bytes: Uint8Array): Promise<void>;
  end(): void;
  resize(size: TerminalSize): void;
}

export interface Joining {
  /** Of the client's window; absent: it has none, or no say in it. */
  readonly size?: TerminalSize | undefined;
  /** It may send input. */
  readonly stdin: boolean;
}

interface Member {
  size: TerminalSize | undefined;
  mayWrite: boolean;
}

/**
 * The clients that are joined to one run of a container.
 *
 * Invariants: the input ends when a client ends it and nobody else is joined who may go on; the terminal has the size of the
 * window that was used last, by joining or typing; who leaves takes nothing from the others.
 */
export class Attachments {
  readonly #input: MainInput;
  /** In the order in which they were used, the last one last. */
  readonly #members = new Map<ByteStream, Member>();

  constructor(input: MainInput) {
    this.#input = input;
  }

  /** Takes the stream's input from now on, until it is closed. Whoever lets it join has set the terminal to its size. */
  join(stream: ByteStream, { size, stdin }: Joining): void {
    const member: Member = { size, mayWrite: stdin };
    this.#members.set(stream, member);
    stream.consume({
      data: async (channel, bytes) => {
        if (channel !== Channel.stdin || !stdin) return;
        this.#use(stream, member);
        // A process that has ended takes no input; its exit tells the rest.
        await this.#input.write(bytes).catch(() => {});
      },
      end: (channel) => {
        if (channel !== Channel.stdin || !stdin) return;
        member.mayWrite = false;
        if (![...this.#members.values()].some((other) => other.mayWrite)) this.#input.end();
      },
      closed: () => this.#leave(stream),
    });
  }

  /** The window of one of them has another size. False where it is not joined (any more). */
  resize(stream: ByteStream, size: TerminalSize): boolean {
    const member = this.#members.get(stream);
    if (member === undefined) return false;
    member.size = size;
    if (this.#lastWithSize() === member) this.#input.resize(size);
    return true;
  }

  #use(stream: ByteStream, member: Member): void {
    const before = this.#lastWithSize();
    // One that was closed while its input waited has left.
    if (!this.#members.delete(stream)) return;
    this.#members.set(stream, member);
    if (before !== member && member.size !== undefined) this.#input.resize(member.size);
  }

  #leave(stream: ByteStream): void {
    const before = this.#lastWithSize();
    this.#members.delete(stream);
    const now = this.#lastWithSize();
    if (now !== before && now?.size !== undefined) this.#input.resize(now.size);
  }

  #lastWithSize(): Member | undefined {
    return [...this.#members.values()].findLast(({ size }) => size !== undefined);
  }
}
