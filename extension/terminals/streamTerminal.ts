import * as vscode from 'vscode';
import { Channel, type LogNotice, type LogPosition, StrataError, type TerminalSize } from '../../helper/protocol/index.ts';
import { NoticeReader, noticeWords } from '../../helper/wire/logNotices.ts';
import type { WireStream } from '../../helper/wire/stream.ts';
import { messageOf } from '../errors.ts';
import { LineInput } from './lineInput.ts';

/** How a session ended: words for the last line, and whether the terminal may close without them being read. */
export interface SessionEnd {
  readonly words: string;
  readonly closesTerminal: boolean;
}

/** What a terminal is connected to while it is. */
export interface TerminalSession {
  readonly stream: WireStream;
  /** Where in a log it begins. */
  readonly from?: LogPosition;
  /** Output comes from a pty, which writes carriage returns itself. */
  readonly tty: boolean;
  /** Absent: input is not taken. */
  readonly takesInput: boolean;
  readonly resize?: (size: TerminalSize) => Promise<unknown>;
  /** Asked once, after the stream has ended well. */
  readonly end: () => Promise<SessionEnd>;
  readonly dispose?: () => void;
}

export interface TerminalPlan {
  readonly open: (size: TerminalSize) => Promise<TerminalSession>;
  /** How to go on when the helper has gone away and come back. */
  readonly reopen: {
    /** What it is called: "attach again". Looked at when the helper is back, as is the next. */
    readonly words: string;
    /** Nothing was lost by going on, so nobody is asked. */
    readonly isAutomatic: boolean;
    /** `position`: where the session before had come to in a log, where that had said where it began. */
    readonly open: (size: TerminalSize, position: LogPosition | undefined) => Promise<TerminalSession>;
    /** Calls once, when there is a helper again; gives how to stop waiting. */
    readonly whenBack: (listener: () => void) => () => void;
  };
}

type State =
  | { readonly kind: 'opening'; readonly typed: string[] }
  /** `lines` where the program has no terminal of its own. */
  | { readonly kind: 'live'; readonly session: TerminalSession; readonly lines: LineInput | undefined }
  /** The helper went away; `isBack` once there is one again and Enter opens. */
  | { readonly kind: 'lost'; readonly isBack: boolean; readonly stopWaiting: () => void }
  | { readonly kind: 'ended' };

const dim = (text: string): string => `\x1b[2m${text}\x1b[22m`;
const red = (text: string): string => `\x1b[31m${text}\x1b[39m`;

/** VS Code buffers what is written without saying how much is drawn: after this much it gets a turn to draw. */
const BYTES_PER_TURN = 64 * 1024;
const TURN_MS = 8;

/**
 * A VS Code terminal over a stream of the helper.
 *
 * Invariants: at most one session; input goes to it in the order typed; closing the terminal closes the stream, which
 * hangs an exec session up and leaves a container alone.
 */
export class StreamTerminal implements vscode.Pseudoterminal {
  readonly #plan: TerminalPlan;
  readonly #written = new vscode.EventEmitter<string>();
  readonly #closed = new vscode.EventEmitter<void>();
  readonly onDidWrite = this.#written.event;
  readonly onDidClose = this.#closed.event;
  #state: State = { kind: 'opening', typed: [] };
  #size: TerminalSize = { columns: 80, rows: 24 };
  #isAtLineStart = true;
  #isDisposed = false;
  #unpausedBytes = 0;
  #position: LogPosition | undefined;

  constructor(plan: TerminalPlan) {
    this.#plan = plan;
  }

  open(dimensions: vscode.TerminalDimensions | undefined): void {
    if (dimensions !== undefined) this.#size = dimensions;
    this.#start(this.#plan.open);
  }

  close(): void {
    this.#isDisposed = true;
    if (this.#state.kind === 'live') {
      this.#state.session.stream.close();
      this.#state.session.dispose?.();
    } else if (this.#state.kind === 'lost') {
      this.#state.stopWaiting();
    }
    this.#state = { kind: 'ended' };
    this.#written.dispose();
    this.#closed.dispose();
  }

  handleInput(data: string): void {
    switch (this.#state.kind) {
      case 'opening':
        this.#state.typed.push(data);
        return;
      case 'live':
        this.#type(this.#state.session, this.#state.lines, data);
        return;
      case 'lost':
        if (data === '\r' && this.#state.isBack) this.#reopen();
        return;
      case 'ended':
        this.#closed.fire();
        return;
      default:
        this.#state satisfies never;
    }
  }

  setDimensions(dimensions: vscode.TerminalDimensions): void {
    this.#size = dimensions;
    if (this.#state.kind === 'live') this.#resize(this.#state.session);
  }

  #start(open: TerminalPlan['open']): void {
    const typed: string[] = [];
    const asked = this.#size;
    this.#state = { kind: 'opening', typed };
    open({ columns: asked.columns, rows: asked.rows }).then(
      (session) => this.#opened(session, asked, typed),
      (error: unknown) => {
        // Closed meanwhile: it must not wait for a helper to start something that nobody sees.
        if (this.#isDisposed) return;
        this.#line(red(messageOf(error)));
        this.#stop(error);
      },
    );
  }

  #opened(session: TerminalSession, asked: TerminalSize, typed: readonly string[]): void {
    if (this.#isDisposed) {
      session.stream.close();
      session.dispose?.();
      return;
    }
    const lines = session.tty ? undefined : new LineInput();
    this.#state = { kind: 'live', session, lines };
    this.#position = session.from;
    const notices = new NoticeReader();
    const decoders = new Map<Channel, InstanceType<typeof TextDecoder>>();
    session.stream.consume({
      data: (channel, bytes) => {
        if (channel === Channel.bytes) {
          for (const notice of notices.push(bytes)) this.#missed(notice);
          return undefined;
        }
        this.#received(channel === Channel.stderr ? 'stderr' : 'stdout', bytes.byteLength);
        const decoder = decoders.get(channel) ?? new TextDecoder();
        decoders.set(channel, decoder);
        const text = decoder.decode(bytes, { stream: true });
        this.#write(session.tty ? text : text.replaceAll(/\r?\n/g, '\r\n'));
        return this.#turn(bytes.byteLength);
      },
      closed: (error) => {
        void this.#streamClosed(session, error);
      },
    });
    for (const data of typed) this.#type(session, lines, data);
    // The window may have been resized, or got its first size, while the helper was asked.
    if (asked.columns !== this.#size.columns || asked.rows !== this.#size.rows) this.#resize(session);
  }

  #received(stream: keyof LogPosition, bytes: number): void {
    if (this.#position !== undefined) this.#position = { ...this.#position, [stream]: this.#position[stream] + bytes };
  }

  #missed(notice: LogNotice): void {
    if (this.#position !== undefined) this.#position = notice.at;
    this.#line(dim(noticeWords(notice)));
  }

  async #streamClosed(session: TerminalSession, error: StrataError | undefined): Promise<void> {
    if (this.#isDisposed) return;
    if (error !== undefined) {
      session.dispose?.();
      this.#line(
        red(error.code === 'CONNECTION_CLOSED' ? 'The Strata helper went away; containers that were running still are.' : messageOf(error)),
      );
      this.#stop(error);
      return;
    }
    const end = await session.end().catch((cause: unknown) => ({ words: messageOf(cause), closesTerminal: false }));
    session.dispose?.();
    if (this.#isDisposed) return;
    if (end.closesTerminal) {
      this.#closed.fire();
      return;
    }
    this.#state = { kind: 'ended' };
    this.#line(dim(`${end.words}. Press any key to close the terminal.`));
  }

  #stop(error: unknown): void {
    if (!(error instanceof StrataError) || error.code !== 'CONNECTION_CLOSED') {
      this.#state = { kind: 'ended' };
      this.#line(dim('Press any key to close the terminal.'));
      return;
    }
    this.#line(dim('Waiting for it to come back.'));
    const stopWaiting = this.#plan.reopen.whenBack(() => this.#back());
    this.#state = { kind: 'lost', isBack: false, stopWaiting };
  }

  #back(): void {
    if (this.#state.kind !== 'lost') return;
    const { isAutomatic, words } = this.#plan.reopen;
    if (isAutomatic) {
      this.#reopen();
      return;
    }
    this.#state = { ...this.#state, isBack: true };
    this.#line(dim(`The helper is back. Press Enter to ${words}.`));
  }

  #reopen(): void {
    this.#line(dim(`The helper is back: ${this.#plan.reopen.words}.`));
    const position = this.#position;
    this.#start((size) => this.#plan.reopen.open(size, position));
  }

  #type(session: TerminalSession, lines: LineInput | undefined, data: string): void {
    if (!session.takesInput) return;
    if (lines === undefined) {
      this.#send(session, data);
      return;
    }
    const { echo, send, end } = lines.type(data);
    this.#write(echo);
    if (send !== '') this.#send(session, send);
    if (end) session.stream.end(Channel.stdin);
  }

  #send({ stream }: TerminalSession, text: string): void {
    // A failed write means that the stream has ended, which the reader tells.
    stream.write(Channel.stdin, new TextEncoder().encode(text)).catch(() => {});
  }

  #resize(session: TerminalSession): void {
    // A session that has just ended has no size any more.
    session.resize?.({ columns: this.#size.columns, rows: this.#size.rows }).catch(() => {});
  }

  #write(text: string): void {
    if (text === '' || this.#isDisposed) return;
    this.#isAtLineStart = text.endsWith('\n');
    this.#written.fire(text);
  }

  /** A line of the terminal's own, below whatever the program left. */
  #line(text: string): void {
    this.#write(`${this.#isAtLineStart ? '' : '\r\n'}${text}\r\n`);
  }

  /** Credit for the bytes goes back when this resolves, so a program that floods is held to what can be drawn. */
  #turn(bytes: number): Promise<void> | undefined {
    this.#unpausedBytes += bytes;
    if (this.#unpausedBytes < BYTES_PER_TURN) return undefined;
    this.#unpausedBytes = 0;
    return new Promise((resolve) => setTimeout(resolve, TURN_MS));
  }
}
