import {
  type ContainerId,
  type CreateOptions,
  type ExecId,
  type Exit,
  type LogPosition,
  StrataError,
  shellStatus,
  type TerminalSize,
} from '../../helper/protocol/index.ts';
import type { HelperClient } from '../client/helperClient.ts';
import { exitSentence } from '../model/containerWords.ts';
import type { SessionEnd, TerminalPlan, TerminalSession } from './streamTerminal.ts';

/** The event of an exit and the end of its output come on two ways; so long one waits for the other. */
const EXIT_EVENT_MS = 5000;

interface ExitEvents {
  /** The exit of a container; undefined when the event does not come. */
  ofContainer(id: ContainerId): Promise<Exit | undefined>;
  /** The exit of a container, if the event has come. */
  seen(id: ContainerId): Exit | undefined;
  ofExec(exec: ExecId): Promise<{ readonly code: number | null; readonly signal: string | null } | undefined>;
  dispose(): void;
}

/** Listens from now on, so that an exit that comes before the answer to the request that started it is not missed. */
function exitEvents(client: HelperClient): ExitEvents {
  const seen = new Map<string, unknown>();
  const waiting = new Map<string, () => void>();
  const stop = client.onMessage((message) => {
    if (message.kind !== 'event') return;
    if (message.event === 'container.exited') seen.set(message.params.id, message.params.exit);
    else if (message.event === 'exec.exited') seen.set(message.params.exec, message.params);
    else return;
    for (const wake of waiting.values()) wake();
  });
  const wait = async (key: string): Promise<unknown> => {
    if (!seen.has(key)) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, EXIT_EVENT_MS);
        waiting.set(key, () => {
          if (!seen.has(key)) return;
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return seen.get(key);
  };
  return {
    ofContainer: (id) => wait(id) as Promise<Exit | undefined>, // stored under its id a few lines above
    seen: (id) => seen.get(id) as Exit | undefined, // the same
    ofExec: (exec) => wait(exec) as ReturnType<ExitEvents['ofExec']>, // the same
    dispose: stop,
  };
}

function whenBack(client: HelperClient, listener: () => void): () => void {
  const stop = client.onState((state) => {
    if (state.kind !== 'connected') return;
    stop();
    listener();
  });
  return stop;
}

export interface ExecRequest {
  readonly container: ContainerId;
  readonly command: readonly string[];
  /** The container's own where they are left out. */
  readonly user?: string;
  readonly workingDirectory?: string;
  /** A shell: its terminal closes with it when it ended well. */
  readonly isShell: boolean;
}

/** A command in a container, with a terminal of its own. */
export function execPlan(client: HelperClient, { container, command, isShell, ...as }: ExecRequest): TerminalPlan {
  const open = async (size: TerminalSize): Promise<TerminalSession> => {
    const exits = exitEvents(client);
    try {
      const { exec, stream } = await client.request('container.exec', {
        ...{ container, command: [...command], ...as },
        ...{ tty: true, stdin: true, size },
      });
      if (stream === undefined) throw new Error('the helper gave no stream for an exec session');
      return {
        stream: client.stream(stream),
        tty: true,
        takesInput: true,
        resize: (changed) => client.request('container.resize', { container, exec, size: changed }),
        end: async () => execEnd(await exits.ofExec(exec), isShell),
        dispose: () => exits.dispose(),
      };
    } catch (error) {
      exits.dispose();
      throw error;
    }
  };
  const words = isShell ? 'open a new shell' : 'run it again';
  return { open, reopen: { words, isAutomatic: false, open, whenBack: (listener) => whenBack(client, listener) } };
}

function execEnd(exit: { readonly code: number | null; readonly signal: string | null } | undefined, isShell: boolean): SessionEnd {
  if (exit === undefined) return { words: 'The session ended; nobody saw how', closesTerminal: false };
  const words = exit.signal === null ? `Exited with status ${exit.code ?? '?'}` : `Killed by ${exit.signal} (status ${shellStatus(exit)})`;
  return { words, closesTerminal: isShell && exit.code === 0 };
}

export interface RunResult {
  readonly id: ContainerId;
  readonly warnings: readonly string[];
}

/** A new container whose main process has this terminal. `started` is told once, on success or failure. */
export function runPlan(client: HelperClient, options: CreateOptions, started: (result: RunResult | Error) => void): TerminalPlan {
  let id: ContainerId | undefined;
  const open = async (size: TerminalSize): Promise<TerminalSession> => {
    const exits = exitEvents(client);
    try {
      const result = await client.request('container.run', { options, attach: true, size });
      id = result.id;
      started({ id: result.id, warnings: result.warnings });
      if (result.stream === undefined) throw new Error('the helper gave no stream to attach to');
      return containerSession(client, result.id, result.stream, true, exits);
    } catch (error) {
      exits.dispose();
      started(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  };
  const attach = (size: TerminalSize): Promise<TerminalSession> => (id === undefined ? open(size) : attachSession(client, id, size));
  return {
    open,
    reopen: {
      // Where the connection was lost before the answer nobody knows whether there is a container: a second one is the user's to ask for.
      get words() {
        return id === undefined ? 'run another one, unless the first is in the list' : 'attached again';
      },
      get isAutomatic() {
        return id !== undefined;
      },
      open: attach,
      whenBack: (listener) => whenBack(client, listener),
    },
  };
}

/** The terminal of a running container's main process. */
export function attachPlan(client: HelperClient, container: ContainerId): TerminalPlan {
  const open = (size: TerminalSize): Promise<TerminalSession> => attachSession(client, container, size);
  return { open, reopen: { words: 'attached again', isAutomatic: true, open, whenBack: (listener) => whenBack(client, listener) } };
}

async function attachSession(client: HelperClient, container: ContainerId, size: TerminalSize): Promise<TerminalSession> {
  const exits = exitEvents(client);
  try {
    const { stream, tty } = await client.request('container.attach', { container, size });
    return containerSession(client, container, stream, tty, exits);
  } catch (error) {
    exits.dispose();
    throw error;
  }
}

function containerSession(client: HelperClient, container: ContainerId, stream: number, tty: boolean, exits: ExitEvents): TerminalSession {
  return {
    stream: client.stream(stream),
    tty,
    takesInput: true,
    ...(tty ? { resize: (size: TerminalSize) => client.request('container.resize', { container, stream, size }) } : {}),
    end: async () => ({ words: containerEnd(await exits.ofContainer(container)), closesTerminal: false }),
    dispose: () => exits.dispose(),
  };
}

function containerEnd(exit: Exit | undefined): string {
  return exit === undefined ? 'The output has ended' : `The container ${exitSentence(exit)}`;
}

/** What a container wrote, and what it goes on to write; input is not taken. */
export function logsPlan(client: HelperClient, container: ContainerId, tail: number): TerminalPlan {
  const open = async (position?: LogPosition): Promise<TerminalSession> => {
    const exits = exitEvents(client);
    try {
      const start = position === undefined ? { tail } : { resume: position };
      const { stream, tty, from } = await client.request('container.logs', { container, follow: true, ...start });
      return {
        stream: client.stream(stream),
        from,
        tty,
        takesInput: false,
        end: async () => ({ words: await logEnd(client, container, exits), closesTerminal: false }),
        dispose: () => exits.dispose(),
      };
    } catch (error) {
      exits.dispose();
      throw error;
    }
  };
  return {
    open: () => open(),
    reopen: {
      words: 'following again',
      isAutomatic: true,
      open: (_size, position) => open(position),
      whenBack: (listener) => whenBack(client, listener),
    },
  };
}

/** The container may have ended long ago, and then no event comes; or have removed itself, and then the event has come. */
async function logEnd(client: HelperClient, container: ContainerId, exits: ExitEvents): Promise<string> {
  const inspected = client.request('container.inspect', { container });
  const state = await inspected.then((details) => details.state, unlessGone);
  if (state === undefined) {
    const exit = exits.seen(container);
    return exit === undefined
      ? 'End of the log: the container was removed'
      : `End of the log: the container ${exitSentence(exit)} and was removed`;
  }
  if (state.kind === 'exited') return `End of the log: the container ${exitSentence(state.exit)}`;
  return state.kind === 'running'
    ? `End of the log. ${containerEnd(await exits.ofContainer(container))}`
    : 'End of the log: the container was never started';
}

function unlessGone(error: unknown): undefined {
  if (!(error instanceof StrataError) || error.code !== 'CONTAINER_NOT_FOUND') throw error;
}
