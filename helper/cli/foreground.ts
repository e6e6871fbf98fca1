import { Channel, StrataError, type StrataError as StrataErrorType } from '../protocol/index.ts';
import type { Connection } from '../wire/connection.ts';
import { NoticeReader, noticeWords } from '../wire/logNotices.ts';
import type { WireStream } from '../wire/stream.ts';
import { terminalSize } from './context.ts';
import { DetachKeys } from './detachKeys.ts';
import type { OutputLoss } from './outputLoss.ts';
import { makeRaw } from './terminal.ts';

export interface ForegroundOptions {
  readonly connection: Connection;
  readonly stream: WireStream;
  readonly stdin: boolean;
  /** The stream has one content, on the channel `bytes`; absent: that channel has notices. */
  readonly isContent?: true;
  /** The container or session has a terminal: ours becomes raw while it lasts. */
  readonly tty: boolean;
  readonly resize: (size: { columns: number; rows: number }) => Promise<unknown>;
  /** A signal that this command got and the container shall have; absent: the signal ends this command alone. */
  readonly forward?: (signal: NodeJS.Signals) => Promise<unknown>;
  /** What leaves it, typed at a terminal; absent: Docker's. 'none': it cannot be left. */
  readonly detachKeys?: readonly number[] | 'none' | undefined;
  /** What is done when nobody reads our output any more, before this command ends; absent: nothing. */
  readonly abandon?: { readonly loss: OutputLoss; readonly step: () => Promise<unknown> };
}

const forwarded: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'];

/** Joins this process's standard streams to a stream. Resolves when that has ended, or the person has left it. */
export async function runForeground(options: ForegroundOptions): Promise<'ended' | 'detached'> {
  const end = Promise.withResolvers<'ended' | 'detached'>();
  const { stream, stdin, tty } = options;
  const notices = new NoticeReader();
  const say = (bytes: Uint8Array): Promise<void> =>
    write(
      process.stderr,
      Buffer.from(
        notices
          .push(bytes)
          .map((notice) => `strata: ${noticeWords(notice)}\n`)
          .join(''),
      ),
    );
  stream.consume({
    data: (channel, bytes) => {
      if (channel === Channel.bytes && options.isContent !== true) return say(bytes);
      return write(channel === Channel.stderr ? process.stderr : process.stdout, bytes);
    },
    closed: (error?: StrataErrorType) => {
      if (error === undefined) end.resolve('ended');
      else end.reject(error);
    },
  });
  const raw = tty && stdin && process.stdin.isTTY;
  const undo: (() => void)[] = [];
  if (options.abandon !== undefined) undo.push(options.abandon.loss.beforeExit(options.abandon.step));
  if (raw) undo.push(makeRaw(process.stdin));
  const keys = raw && options.detachKeys !== 'none' ? new DetachKeys(options.detachKeys) : undefined;
  if (stdin) undo.push(sendInput(stream, keys, () => end.resolve('detached')));
  if (tty) undo.push(followSize(options.resize));
  if (options.forward !== undefined && !raw) undo.push(forwardSignals(options.forward));
  try {
    return await end.promise;
  } finally {
    for (const step of undo) step();
    stream.close();
  }
}

async function write(target: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  // An error ends the process, in its time (see main): until then what comes is dropped, so that the container can end.
  await new Promise<void>((resolve) => target.write(bytes, () => resolve()));
}

function sendInput(stream: WireStream, keys: DetachKeys | undefined, onDetach: () => void): () => void {
  const onData = (chunk: Buffer): void => {
    const { bytes, detach } = keys?.push(chunk) ?? { bytes: chunk, detach: false };
    // Stop reading until this is taken: what is piped in may be endless.
    process.stdin.pause();
    stream.write(Channel.stdin, Uint8Array.from(bytes)).then(
      () => process.stdin.resume(),
      () => {}, // the stream has ended, and says so itself
    );
    if (detach) onDetach();
  };
  const onEnd = (): void => stream.end(Channel.stdin);
  process.stdin.on('data', onData);
  process.stdin.on('end', onEnd);
  process.stdin.on('error', onEnd);
  return () => {
    process.stdin.off('data', onData).off('end', onEnd).off('error', onEnd);
    process.stdin.pause();
  };
}

function followSize(resize: ForegroundOptions['resize']): () => void {
  const onResize = (): void => {
    resize(terminalSize()).catch(() => {}); // it may have ended while the window was dragged
  };
  process.stdout.on('resize', onResize);
  return () => process.stdout.off('resize', onResize);
}

/** The third interrupt is meant for this command: the container does not want to end. */
function forwardSignals(forward: NonNullable<ForegroundOptions['forward']>): () => void {
  let interrupts = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    interrupts += signal === 'SIGINT' || signal === 'SIGTERM' ? 1 : 0;
    if (interrupts >= 3) process.exit(130);
    forward(signal).catch((error: unknown) => {
      if (error instanceof StrataError && error.code !== 'CONTAINER_NOT_RUNNING') process.stderr.write(`strata: ${error.message}\n`);
    });
  };
  for (const signal of forwarded) process.on(signal, onSignal);
  return () => {
    for (const signal of forwarded) process.off(signal, onSignal);
  };
}
