import {
  Channel,
  type ContainerId,
  type ContainerState,
  type LogPosition,
  type MethodResult,
  StrataError,
} from '../../helper/protocol/index.ts';
import type { HelperClient } from '../client/helperClient.ts';
import type { LogLine } from '../model/log/logLine.ts';
import { TimedLines } from '../model/log/timedLines.ts';

export interface LogReading {
  readonly container: ContainerId;
  /** How many of the last lines are read; absent: all. */
  readonly tail?: number;
  /** While this resolves nothing more is read. */
  readonly lines: (lines: readonly LogLine[]) => void | Promise<void>;
}

/** How a stretch of following came to its end. */
export type FollowEnd =
  /** As the container is now; undefined where it was removed. */
  | { readonly kind: 'ended'; readonly state: ContainerState | undefined }
  | { readonly kind: 'away' }
  | { readonly kind: 'stopped' }
  | { readonly kind: 'failed'; readonly error: unknown };

/**
 * Reads one log: first what is there, then, as often as asked, what comes after that.
 *
 * Invariant: every line is told once and in order, whatever ends a connection between: each request goes on behind the last byte
 * that came.
 */
export class LogReader {
  readonly #client: Pick<HelperClient, 'request' | 'stream'>;
  readonly #reading: LogReading;
  readonly #abort = new AbortController();
  readonly #channels = { [Channel.stdout]: new TimedLines('stdout'), [Channel.stderr]: new TimedLines('stderr') } as const;
  #from: LogPosition | undefined;
  /** Bytes of the log that came before `#from`. */
  #countedBytes = 0;
  #isTty = false;
  #hasEarlier = false;

  constructor(client: Pick<HelperClient, 'request' | 'stream'>, reading: LogReading) {
    this.#client = client;
    this.#reading = reading;
  }

  /** Its output comes from a terminal: one stream. */
  get isTty(): boolean {
    return this.#isTty;
  }

  /** Whether the log has lines before the first that was read. */
  get hasEarlier(): boolean {
    return this.#hasEarlier;
  }

  stop(): void {
    this.#abort.abort();
  }

  /** What is there now, to its end. */
  async load(): Promise<void> {
    const { tail } = this.#reading;
    const { from } = await this.#read(false, tail === undefined ? {} : { tail });
    this.#hasEarlier = from.offset > 0 || from.skip > 0;
  }

  /** What comes after `load` or the last `follow`, until the container ends. */
  async follow(): Promise<FollowEnd> {
    try {
      await this.#read(true, {});
      if (this.#abort.signal.aborted) return { kind: 'stopped' };
      await this.#tell([...this.#channels[Channel.stdout].end(), ...this.#channels[Channel.stderr].end()]);
      const details = await this.#client.request('container.inspect', { container: this.#reading.container });
      return { kind: 'ended', state: details.state };
    } catch (error) {
      if (this.#abort.signal.aborted) return { kind: 'stopped' };
      if (error instanceof StrataError && error.code === 'CONNECTION_CLOSED') return { kind: 'away' };
      if (error instanceof StrataError && error.code === 'CONTAINER_NOT_FOUND') return { kind: 'ended', state: undefined };
      return { kind: 'failed', error };
    }
  }

  async #read(follow: boolean, start: { readonly tail?: number }): Promise<MethodResult<'container.logs'>> {
    const { container } = this.#reading;
    const resume = this.#from === undefined ? start : { resume: { from: this.#from, receivedBytes: this.#logBytes - this.#countedBytes } };
    const answer = await this.#client.request('container.logs', { container, follow, timestamps: true, ...resume });
    const stream = this.#client.stream(answer.stream);
    if (this.#abort.signal.aborted) {
      stream.close();
      return answer;
    }
    this.#isTty = answer.tty;
    this.#from = answer.from;
    this.#countedBytes = this.#logBytes;
    for (const channel of Object.values(this.#channels)) channel.resume();
    const stop = (): void => stream.close();
    this.#abort.signal.addEventListener('abort', stop);
    try {
      await new Promise<void>((resolve, reject) => {
        stream.consume({
          data: (channel, bytes) => {
            if (channel === Channel.stdout || channel === Channel.stderr) return this.#tell(this.#channels[channel].push(bytes));
            return undefined;
          },
          closed: (error) => (error === undefined ? resolve() : reject(error)),
        });
      });
    } finally {
      this.#abort.signal.removeEventListener('abort', stop);
    }
    return answer;
  }

  get #logBytes(): number {
    return this.#channels[Channel.stdout].logBytes + this.#channels[Channel.stderr].logBytes;
  }

  #tell(lines: readonly LogLine[]): void | Promise<void> {
    return lines.length === 0 || this.#abort.signal.aborted ? undefined : this.#reading.lines(lines);
  }
}
