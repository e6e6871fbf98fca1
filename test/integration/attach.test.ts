import { describe, expect, it } from 'vitest';
import { Channel } from '../../helper/protocol/index.ts';
import type { Connection } from '../../helper/wire/connection.ts';
import type { WireStream } from '../../helper/wire/stream.ts';
import { streamOf, until, useStrata } from './support/strata.ts';

const context = useStrata();

/** A client that is joined to a container, and what it has been shown. */
class Joined {
  readonly connection: Connection;
  readonly stream: WireStream;
  readonly container: string;
  screen = '';
  closed = false;

  private constructor(connection: Connection, container: string, stream: WireStream) {
    this.connection = connection;
    this.container = container;
    this.stream = stream;
    stream.consume({
      data: (_channel, bytes) => {
        this.screen += Buffer.from(bytes).toString();
      },
      closed: () => {
        this.closed = true;
      },
    });
  }

  static async to(container: string, columns?: number): Promise<Joined> {
    const connection = await context.strata.helper.connect();
    const size = columns === undefined ? undefined : { columns, rows: 24 };
    const { stream } = await connection.request('container.attach', { container, ...(size === undefined ? {} : { size }) });
    return new Joined(connection, container, streamOf(connection, stream));
  }

  types(text: string): Promise<void> {
    return this.stream.write(Channel.stdin, Buffer.from(text));
  }
  async sees(text: string): Promise<void> {
    await until(() => this.screen.includes(text), `"${text}" on the screen`).catch(() => {});
    expect(this.screen).toContain(text);
  }
  async resize(columns: number): Promise<void> {
    const { connection, container, stream } = this;
    await connection.request('container.resize', { container, stream: stream.id, size: { columns, rows: 24 } });
  }
}

describe('many clients of one container', () => {
  it('end its input when the last of them does', async () => {
    const { strata } = context;
    const id = await strata.start({ openStdin: true, command: ['sh', '-c', 'cat; echo over'] });
    const [first, second, leaves] = [await Joined.to(id), await Joined.to(id), await Joined.to(id)];
    leaves.connection.close();
    await first.types('from the first\n');
    await second.sees('from the first');
    first.stream.end(Channel.stdin);
    await second.types('from the second\n');
    await first.sees('from the second');
    expect(first.screen).not.toContain('over');
    second.stream.end(Channel.stdin);
    const { exit } = await strata.connection.request('container.wait', { container: id });
    expect(exit.code).toBe(0);
    await first.sees('over');
  });

  it('go on in a terminal after one of them has typed its end of file', async () => {
    const { strata } = context;
    const id = await strata.start({ openStdin: true, tty: true, command: ['sh', '-c', 'cat; echo again; cat; echo over'] });
    const first = await Joined.to(id, 80);
    first.stream.end(Channel.stdin);
    await first.sees('again');
    const second = await Joined.to(id, 80);
    await second.types('more\n');
    await first.sees('more');
    second.stream.end(Channel.stdin);
    await first.sees('over');
  });

  it('are kept from nothing by an input that has ended, by the next helper either', async () => {
    const { strata } = context;
    const id = await strata.start({ openStdin: true, command: ['sh', '-c', 'cat; echo over; exec sleep 1000'] });
    const first = await Joined.to(id);
    first.stream.end(Channel.stdin);
    await first.sees('over');
    const large = Buffer.alloc(1024 * 1024);
    await first.stream.write(Channel.stdin, large).catch(() => {}); // its end was sent
    await (await Joined.to(id)).stream.write(Channel.stdin, large);
    await strata.helper.crash();
    await strata.restart();
    const next = await Joined.to(id);
    // Nobody reads it: all of it is taken all the same, and the client can leave.
    await next.stream.write(Channel.stdin, large);
    next.stream.end(Channel.stdin);
    expect((await strata.find(id)).state.kind).toBe('running');
  });

  it('share a terminal that has the size of the window that was used last', async () => {
    const { strata } = context;
    const id = await strata.start({ openStdin: true, tty: true, command: ['sh'] });
    const [wide, narrow] = [await Joined.to(id, 151), await Joined.to(id, 91)];
    await narrow.types('stty size\n');
    await wide.sees('24 91');
    await wide.types('stty size\n');
    await narrow.sees('24 151');
    await narrow.resize(92);
    await wide.types('echo still; stty size\n');
    await narrow.sees('still\r\n24 151');
    await narrow.types('stty size\n');
    await wide.sees('24 92');
    narrow.connection.close();
    const size = async () => (await strata.exec(id, ['sh', '-c', 'stty size </proc/1/fd/0'])).stdout;
    await until(async () => (await size()) === '24 151\n', 'the size of the window that is left');
  });

  it('are left by their own keys alone', async () => {
    const { strata } = context;
    const id = await strata.start({ openStdin: true, tty: true, command: ['cat'] });
    const stays = await Joined.to(id, 80);
    const leaves = await Joined.to(id, 80);
    leaves.stream.close();
    await stays.types('here\n');
    await stays.sees('here');
    expect(stays.closed).toBe(false);
    expect((await strata.find(id)).state.kind).toBe('running');
  });
});
