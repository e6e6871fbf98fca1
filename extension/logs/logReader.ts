import {
  Channel,
  type ContainerId,
  type ContainerState,
  formatBytes,
  type LogPosition,
  type MethodResult,
  StrataError,
} from '../../helper/protocol/index.ts';
import { NoticeReader, noticeWords } from '../../helper/wire/logNotices.ts';
import type { HelperClient } from '../client/helperClient.ts';
import type { LogLine, ShownSources } from '../model/log/logLine.ts';
import type { LogRange } from '../model/log/logRange.ts';
import { TimedLines } from '../model/log/timedLines.ts';

export interface LogReading {
  readonly container: ContainerId;
  /** How many of the last lines are read of those that the rest lets through; absent: all. */
  readonly tail?: number;
  readonly sources: ShownSources;
  readonly range: Pick<LogRange, 'sinceMs' | 'untilMs'>;
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
  #notices = new NoticeReader();
  /** A place in the log, and how much of each stream had come when it was reached. */
  #known: (LogPosition & { readonly position: LogPosition }) | undefined;
  #isTty = false;
  #hasEarlier = false;
  #lineCount = 0;

  constructor(client: Pick<HelperClient, 'request' | 'stream'>, reading: LogReading) {
    this.#client = client;
    this.#reading = reading;
  }

  /** Its output comes from a terminal: one stream. */
  get isTty(): boolean {
    return this.#isTty;
  }

  /** Whether the log has lines before the first that was read, of those that are looked at. */
  get hasEarlier(): boolean {
    return this.#hasEarlier;
  }

  stop(): void {
    this.#abort.abort();
  }

  /** What is there now, to its end. */
  async load(): Promise<void> {
    const { tail, range } = this.#reading;
    const start = { ...(tail === undefined ? {} : { tail }), ...(range.sinceMs === undefined ? {} : { sinceMs: range.sinceMs }) };
    const { from, first } = await this.#read(false, start);
    const isOldest = bytesOf(from) <= bytesOf(first);
    this.#hasEarlier = tail !== undefined && !isOldest && this.#lineCount >= tail;
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

  async #read(follow: boolean, start: { readonly tail?: number; readonly sinceMs?: number }): Promise<MethodResult<'container.logs'>> {
    const { container, sources, range } = this.#reading;
    const position = this.#position;
    const where = position === undefined ? start : { resume: position };
    const what = {
      ...(range.untilMs === undefined ? {} : { untilMs: range.untilMs }),
      ...(sources === 'both' ? {} : { stdout: sources === 'stdout', stderr: sources === 'stderr' }),
    };
    const answer = await this.#client.request('container.logs', { container, follow, timestamps: true, ...where, ...what });
    const stream = this.#client.stream(answer.stream);
    if (this.#abort.signal.aborted) {
      stream.close();
      return answer;
    }
    this.#isTty = answer.tty;
    this.#goOnAt(answer.from);
    this.#notices = new NoticeReader();
    for (const channel of Object.values(this.#channels)) channel.resume();
    const removed = bytesOf(answer.first);
    if (position === undefined && removed > 0 && bytesOf(answer.from) <= removed) {
      await this.#tell([this.#notice(`${formatBytes(removed)} of earlier output ${removed === 1 ? 'was' : 'were'} rotated away`)]);
    }
    const stop = (): void => stream.close();
    this.#abort.signal.addEventListener('abort', stop);
    try {
      await new Promise<void>((resolve, reject) => {
        stream.consume({
          data: (channel, bytes) => {
            const lines = this.#linesOf(channel, bytes);
            this.#lineCount += lines.length;
            return this.#tell(lines);
          },
          closed: (error) => (error === undefined ? resolve() : reject(error)),
        });
      });
    } finally {
      this.#abort.signal.removeEventListener('abort', stop);
    }
    return answer;
  }

  #linesOf(channel: Channel, bytes: Uint8Array): LogLine[] {
    if (channel === Channel.stdout || channel === Channel.stderr) return this.#channels[channel].push(bytes);
    if (channel !== Channel.bytes) return [];
    return this.#notices.push(bytes).map((notice) => {
      this.#goOnAt(notice.at);
      return this.#notice(noticeWords(notice));
    });
  }

  #goOnAt(position: LogPosition): void {
    this.#known = { position, ...this.#counted };
  }

  get #counted(): LogPosition {
    return { stdout: this.#channels[Channel.stdout].logBytes, stderr: this.#channels[Channel.stderr].logBytes };
  }

  /** Where the log goes on behind what came; undefined before the first answer. */
  get #position(): LogPosition | undefined {
    const { stdout, stderr } = this.#counted;
    const known = this.#known;
    if (known === undefined) return undefined;
    return { stdout: known.position.stdout + stdout - known.stdout, stderr: known.position.stderr + stderr - known.stderr };
  }

  /** It belongs where it came, so it has the time of what came before. */
  #notice(text: string): LogLine {
    const timeMs = Math.max(this.#channels[Channel.stdout].timeMs, this.#channels[Channel.stderr].timeMs);
    return { timeMs: timeMs === 0 ? Date.now() : timeMs, source: 'notice', text };
  }

  #tell(lines: readonly LogLine[]): void | Promise<void> {
    return lines.length === 0 || this.#abort.signal.aborted ? undefined : this.#reading.lines(lines);
  }
}

function bytesOf({ stdout, stderr }: LogPosition): number {
  return stdout + stderr;
}
