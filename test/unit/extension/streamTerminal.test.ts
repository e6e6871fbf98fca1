import { setImmediate as turn } from 'node:timers/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type SessionEnd, StreamTerminal, type TerminalPlan, type TerminalSession } from '../../../extension/terminals/streamTerminal.ts';
import { Channel, StrataError, type TerminalSize } from '../../../helper/protocol/index.ts';
import type { StreamConsumer, WireStream } from '../../../helper/wire/stream.ts';

vi.mock('vscode', () => ({
  EventEmitter: class {
    readonly #listeners = new Set<(value: unknown) => void>();
    readonly event = (listener: (value: unknown) => void): void => void this.#listeners.add(listener);
    fire(value: unknown): void {
      for (const listener of this.#listeners) listener(value);
    }
    dispose(): void {
      this.#listeners.clear();
    }
  },
}));

/** The helper's end of a session: what the terminal typed, and what the program says. */
class FakeSession {
  typed = '';
  closed = false;
  inputEnded = false;
  tty = true;
  sizes: TerminalSize[] = [];
  consumer: StreamConsumer | undefined;
  end: SessionEnd = { words: 'Exited with status 0', closesTerminal: true };

  says(text: string): void {
    void this.consumer?.data(Channel.stdout, new TextEncoder().encode(text));
  }

  get session(): TerminalSession {
    const stream = {
      write: (_channel: Channel, bytes: Uint8Array) => {
        this.typed += new TextDecoder().decode(bytes);
        return Promise.resolve();
      },
      consume: (consumer: StreamConsumer) => {
        this.consumer = consumer;
      },
      end: () => {
        this.inputEnded = true;
      },
      close: () => {
        this.closed = true;
      },
    };
    return {
      stream: stream as unknown as WireStream, // a class with private fields; the terminal uses these four
      tty: this.tty,
      takesInput: true,
      resize: (size) => Promise.resolve(this.sizes.push(size)),
      end: () => Promise.resolve(this.end),
    };
  }
}

let first: FakeSession;
let second: FakeSession;
let screen: string;
let isClosed: boolean;
let helperIsBack: (() => void) | undefined;
beforeEach(() => {
  first = new FakeSession();
  second = new FakeSession();
  screen = '';
  isClosed = false;
  helperIsBack = undefined;
});

async function open(
  values: { isAutomatic?: boolean; plan?: TerminalPlan['open']; again?: TerminalPlan['reopen']['open'] } = {},
): Promise<StreamTerminal> {
  const terminal = new StreamTerminal({
    open: values.plan ?? (() => Promise.resolve(first.session)),
    reopen: {
      words: 'open a new shell',
      isAutomatic: values.isAutomatic ?? false,
      open: values.again ?? (() => Promise.resolve(second.session)),
      whenBack: (listener) => {
        helperIsBack = listener;
        return () => {};
      },
    },
  });
  terminal.onDidWrite((text) => {
    screen += text;
  });
  terminal.onDidClose(() => {
    isClosed = true;
  });
  terminal.open({ columns: 100, rows: 30 });
  await turn();
  return terminal;
}

describe('StreamTerminal', () => {
  it('passes on what was typed before the session was there', async () => {
    const opening = Promise.withResolvers<TerminalSession>();
    const terminal = await open({ plan: () => opening.promise });
    terminal.handleInput('a');
    terminal.setDimensions({ columns: 80, rows: 20 });
    opening.resolve(first.session);
    await turn();
    terminal.handleInput('b');
    expect(first.typed).toBe('ab');
    expect(first.sizes).toEqual([{ columns: 80, rows: 20 }]);
  });

  it('puts characters together that came in two pieces', async () => {
    await open();
    const bytes = new TextEncoder().encode('é');
    void first.consumer?.data(Channel.stdout, bytes.subarray(0, 1));
    void first.consumer?.data(Channel.stdout, bytes.subarray(1));
    expect(screen).toBe('é');
  });

  it('closes with a shell that ended well, and stays for what must be read', async () => {
    await open();
    first.consumer?.closed?.();
    await turn();
    expect(isClosed).toBe(true);

    first = new FakeSession();
    first.end = { words: 'Exited with status 3', closesTerminal: false };
    isClosed = false;
    const terminal = await open();
    first.says('prompt');
    first.consumer?.closed?.();
    await turn();
    expect(screen).toContain('prompt\r\n\x1b[2mExited with status 3. Press any key');
    expect(isClosed).toBe(false);
    terminal.handleInput('x');
    expect(isClosed).toBe(true);
  });

  it('hangs up when it is closed', async () => {
    (await open()).close();
    expect(first.closed).toBe(true);
  });

  it('starts nothing for a terminal that was closed while the helper went away', async () => {
    const opening = Promise.withResolvers<TerminalSession>();
    const terminal = await open({ isAutomatic: true, plan: () => opening.promise });
    terminal.close();
    opening.reject(new StrataError('CONNECTION_CLOSED', 'gone'));
    await turn();
    expect(helperIsBack).toBeUndefined();
  });

  it('edits lines for a program that has no terminal', async () => {
    first.tty = false;
    const terminal = await open();
    for (const data of ['hellp', '\x7f', 'o', '\x1b[A', '\r', 'lost', '\x15', 'tail', '\x04']) terminal.handleInput(data);
    expect(first.typed).toBe('hello\ntail');
    expect(screen).toBe(`hellp\b \bo\r\nlost${'\b \b'.repeat(4)}tail`);
    expect(first.inputEnded).toBe(false);
    terminal.handleInput('\x04more\r');
    expect(first.inputEnded).toBe(true);
    expect(first.typed).toBe('hello\ntail');
  });

  it('waits for a helper that went away, and asks before it starts something anew', async () => {
    const terminal = await open();
    first.consumer?.closed?.(new StrataError('CONNECTION_CLOSED', 'gone'));
    await turn();
    expect(screen).toContain('went away');
    terminal.handleInput('\r');
    helperIsBack?.();
    expect(screen).toContain('Press Enter to open a new shell');
    terminal.handleInput('\r');
    await turn();
    second.says('hello again');
    expect(screen).toContain('hello again');
  });

  it('goes on by itself where nothing is lost by it', async () => {
    await open({ isAutomatic: true });
    first.consumer?.closed?.(new StrataError('CONNECTION_CLOSED', 'gone'));
    await turn();
    helperIsBack?.();
    await turn();
    second.says('more');
    expect(screen).toContain('more');
  });

  it('goes on in a log where it had come to, behind what it missed', async () => {
    const positions: unknown[] = [];
    const again: TerminalPlan['reopen']['open'] = (_, position) => {
      positions.push(position);
      return Promise.resolve(second.session);
    };
    const plan = (): Promise<TerminalSession> => Promise.resolve({ ...first.session, from: { stdout: 10, stderr: 1 } });
    await open({ isAutomatic: true, plan, again });
    first.says('12345');
    const notice = { missed: { bytes: 1000, reason: 'rotated' }, at: { stdout: 1015, stderr: 1 } };
    void first.consumer?.data(Channel.bytes, Buffer.from(`${JSON.stringify(notice)}\n`));
    expect(screen).toMatch(/12345\r\n.*1000 B of output are missing here: the log was rotated.*\r\n$/);
    first.says('678');
    void first.consumer?.data(Channel.stderr, Buffer.from('ee'));
    first.consumer?.closed?.(new StrataError('CONNECTION_CLOSED', 'gone'));
    await turn();
    helperIsBack?.();
    await turn();
    expect(positions).toEqual([{ stdout: 1018, stderr: 3 }]);
  });

  it('says why a session could not be opened, with what to do', async () => {
    await open({ plan: () => Promise.reject(new StrataError('CONTAINER_NOT_RUNNING', 'container "web" does not run')) });
    expect(screen).toContain('container "web" does not run. Start the container first.');
    expect(screen).toContain('Press any key to close');
  });
});
