import { beforeEach, describe, expect, it } from 'vitest';
import { Attachments } from '../../../helper/containers/attachments.ts';
import type { ByteStream } from '../../../helper/containers/byteStream.ts';
import { Channel } from '../../../helper/protocol/index.ts';

type Consumer = Parameters<ByteStream['consume']>[0];

/** A client's stream, of which the test is the other side. */
class ClientStream implements ByteStream {
  readonly id = 1;
  readonly signal = new AbortController().signal;
  consumer: Consumer | undefined;
  write(): Promise<void> {
    return Promise.resolve();
  }
  end(): void {}
  close(): void {}
  consume(consumer: Consumer): void {
    this.consumer = consumer;
  }
  async types(text: string): Promise<void> {
    await this.consumer?.data(Channel.stdin, Buffer.from(text));
  }
}

const said: string[] = [];
let attachments: Attachments;

beforeEach(() => {
  said.length = 0;
  attachments = new Attachments({
    write: (bytes) => {
      said.push(`write ${Buffer.from(bytes).toString()}`);
      return Promise.resolve();
    },
    end: () => said.push('end'),
    resize: ({ columns, rows }) => said.push(`resize ${columns}x${rows}`),
  });
});

function join(options: { columns?: number; stdin?: boolean } = {}): ClientStream {
  const stream = new ClientStream();
  const size = options.columns === undefined ? undefined : { columns: options.columns, rows: 24 };
  attachments.join(stream, { size, stdin: options.stdin ?? true });
  return stream;
}

describe('the input of several clients', () => {
  it('ends when the last that may go on ends it', () => {
    const [first, second] = [join(), join()];
    first.consumer?.end?.(Channel.stdin);
    expect(said).toEqual([]);
    second.consumer?.end?.(Channel.stdin);
    expect(said).toEqual(['end']);
  });
  it('does not wait for those that cannot write, or have left', () => {
    join({ stdin: false });
    const gone = join();
    const writer = join();
    gone.consumer?.closed?.();
    writer.consumer?.end?.(Channel.stdin);
    expect(said).toEqual(['end']);
  });
  it('is not ended by who leaves', () => {
    const [first, second] = [join(), join()];
    first.consumer?.closed?.();
    second.consumer?.closed?.();
    expect(said).toEqual([]);
  });
  it('takes nothing of a client that has no input', async () => {
    const reader = join({ stdin: false });
    await reader.types('ignored');
    reader.consumer?.end?.(Channel.stdin);
    expect(said).toEqual([]);
  });
});

describe('the size of the terminal', () => {
  it('is that of the window that was typed in last', async () => {
    const first = join({ columns: 100 });
    const second = join({ columns: 200 });
    await first.types('a');
    await first.types('b');
    await second.types('c');
    expect(said).toEqual(['resize 100x24', 'write a', 'write b', 'resize 200x24', 'write c']);
  });
  it('follows the window that is in use, and no other', async () => {
    const first = join({ columns: 100 });
    const second = join({ columns: 200 });
    attachments.resize(first, { columns: 101, rows: 24 });
    attachments.resize(second, { columns: 201, rows: 24 });
    expect(said).toEqual(['resize 201x24']);
    await first.types('a');
    expect(said.slice(1)).toEqual(['resize 101x24', 'write a']);
  });
  it('falls back to the one before when a client leaves', () => {
    join({ columns: 100 });
    const second = join({ columns: 200 });
    join();
    second.consumer?.closed?.();
    expect(said).toEqual(['resize 100x24']);
    expect(attachments.resize(second, { columns: 5, rows: 5 })).toBe(false);
  });
});
