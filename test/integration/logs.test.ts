import * as fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Channel, type CreateOptions, type LogNotice, type Params } from '../../helper/protocol/index.ts';
import { NoticeReader } from '../../helper/wire/logNotices.ts';
import type { WireStream } from '../../helper/wire/stream.ts';
import { failure, streamOf, until, useStrata } from './support/strata.ts';

const context = useStrata();

interface Read {
  readonly stdout: string;
  readonly stderr: string;
  readonly notices: readonly LogNotice[];
  readonly content: string;
}

/** Everything of a stream to its end. */
function readAll(stream: WireStream, slowly: () => Promise<void> = async () => {}): Promise<Read> {
  const parts: Record<Channel, Uint8Array[]> = { 0: [], 1: [], 2: [], 3: [] };
  const reader = new NoticeReader();
  const notices: LogNotice[] = [];
  return new Promise((resolve, reject) => {
    stream.consume({
      async data(channel, bytes) {
        parts[channel].push(bytes);
        if (channel === Channel.bytes) notices.push(...reader.push(bytes));
        await slowly();
      },
      closed(error) {
        const text = (channel: Channel): string => Buffer.concat(parts[channel]).toString();
        if (error === undefined)
          resolve({ stdout: text(Channel.stdout), stderr: text(Channel.stderr), notices, content: text(Channel.bytes) });
        else reject(error);
      },
    });
  });
}

async function logs(params: Params<'container.logs'>): Promise<Read> {
  const { connection } = context.strata;
  return await readAll(streamOf(connection, (await connection.request('container.logs', params)).stream));
}

async function finished(options: Partial<CreateOptions> & { command: string[] }): Promise<string> {
  const id = await context.strata.start(options);
  await context.strata.connection.request('container.wait', { container: id });
  return id;
}

async function segmentsOf(id: string): Promise<{ name: string; size: number }[]> {
  const { paths } = await context.strata.connection.request('container.inspect', { container: id });
  const files = fs.readdirSync(paths.state).filter((name) => name === 'log' || name.startsWith('log.'));
  return files.sort().map((name) => ({ name, size: fs.statSync(`${paths.state}/${name}`).size }));
}

const numbersOf = (text: string): number[] => text.split('\n').slice(0, -1).map(Number);
const isUnbroken = (numbers: readonly number[]): boolean => numbers.every((number, index) => number === (numbers[0] ?? 0) + index);

describe('the log of a container', () => {
  it('is rotated by size and count, at lines, and has the newest', async () => {
    const id = await finished({ command: ['seq', '100000'], logMaxSize: 65_536, logMaxFiles: 3 });
    const segments = await segmentsOf(id);
    expect(segments).toHaveLength(3);
    for (const { size } of segments) expect(size).toBeLessThanOrEqual(65_536);
    const { stdout, notices } = await logs({ container: id });
    const numbers = numbersOf(stdout);
    expect(numbers.at(-1)).toBe(100_000);
    expect(isUnbroken(numbers)).toBe(true);
    expect(notices).toEqual([]);
    const answer = await context.strata.connection.request('container.logs', { container: id, tail: 5 });
    expect(answer.first.stdout).toBeGreaterThan(400_000);
    expect(answer.from.stdout - answer.first.stdout).toBe(stdout.length - '99996\n'.length * 4 - '100000\n'.length);
    expect(numbersOf((await readAll(streamOf(context.strata.connection, answer.stream))).stdout)).toEqual([
      99_996, 99_997, 99_998, 99_999, 100_000,
    ]);
  });

  it('has a bound where nobody asked for one', async () => {
    const id = await finished({ command: ['sh', '-c', 'yes "$(printf %01000d 0)" | head -c 130000000'] });
    const segments = await segmentsOf(id);
    expect(segments).toHaveLength(10);
    expect(segments.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(100 * 1024 ** 2);
    const { exit } = await context.strata.connection.request('container.wait', { container: id });
    expect(exit.reason).toBe('exited with status 0');
  });

  it('goes on at another start, and through a restart of the helper', async () => {
    const options = { command: ['sh', '-c', 'seq 3000; echo end'], logMaxSize: 8192, logMaxFiles: 4 };
    const id = await finished(options);
    const { strata } = context;
    await strata.helper.crash();
    await strata.restart();
    await strata.connection.request('container.start', { container: id });
    await strata.connection.request('container.wait', { container: id });
    const { stdout } = await logs({ container: id });
    const [first = '', second = ''] = stdout.split('end\n');
    expect(numbersOf(first).at(-1)).toBe(3000);
    expect(isUnbroken(numbersOf(first))).toBe(true);
    expect(numbersOf(second)).toEqual(Array.from({ length: 3000 }, (_, index) => index + 1));
    expect(await segmentsOf(id)).toHaveLength(4);
  });

  it('of a container that an older helper made is its first segment', async () => {
    const { strata } = context;
    const { id } = await strata.connection.request('container.create', { options: { image: 'busybox', command: ['echo', 'new'] } });
    const { paths } = await strata.connection.request('container.inspect', { container: id });
    const payload = Buffer.from('old\n'.repeat(16 * 1024));
    const header = Buffer.alloc(16);
    header.writeUInt32LE(payload.length, 0);
    header.writeUInt8(1, 4);
    // More than a segment has today.
    fs.writeFileSync(paths.log, Buffer.concat(Array.from({ length: 300 }, () => [header, payload]).flat()));
    await strata.connection.request('container.start', { container: id });
    await strata.connection.request('container.wait', { container: id });
    expect((await logs({ container: id, tail: 3 })).stdout).toBe('old\nold\nnew\n');
    expect((await logs({ container: id })).stdout).toHaveLength(300 * payload.length + 4);
    expect(await segmentsOf(id)).toHaveLength(2);
  });

  it('refuses limits that are none', async () => {
    for (const [flag, message] of [
      ['max-size=1k', /--log-opt: a segment of a log has 4 KiB at least/],
      ['max-size=-1', /cannot grow for ever/],
      ['max-file=0', /max-file 0 is not within 1 to 1000/],
      ['labels=x', /none of max-size/],
    ] as const) {
      const { status, stderr } = await context.strata.cli(['run', '--log-opt', flag, 'busybox', 'true']);
      expect(status).toBe(125);
      expect(stderr).toMatch(message);
    }
  });
});

describe('a reader of a log', () => {
  it('that is slow is told how much it missed; the container does not wait for it', async () => {
    const { strata } = context;
    const { connection } = strata;
    const id = await strata.start({
      command: ['sh', '-c', 'read go; seq 400000; read stop; seq 400001 400010'],
      openStdin: true,
      logMaxSize: 65_536,
      logMaxFiles: 2,
    });
    const attached = streamOf(connection, (await connection.request('container.attach', { container: id })).stream);
    const goOn = Promise.withResolvers<void>();
    const slow = readAll(attached, () => goOn.promise);
    await attached.write(Channel.stdin, Buffer.from('go\n'));
    await until(async () => (await logs({ container: id, tail: 1 })).stdout === '400000\n', 'the container to have written all');
    goOn.resolve();
    await attached.write(Channel.stdin, Buffer.from('stop\n'));
    const { stdout, notices } = await slow;
    expect(notices.length).toBeGreaterThan(0);
    for (const { missed } of notices) expect(missed.reason).toBe('rotated');
    const all = Array.from({ length: 400_010 }, (_, index) => `${index + 1}\n`).join('');
    expect(stdout.length + notices.reduce((sum, { missed }) => sum + missed.bytes, 0)).toBe(all.length);
    // Each piece is where its notice says.
    expect(all.endsWith(stdout.slice(-100))).toBe(true);
    const [first] = notices;
    expect(all.startsWith(stdout.slice(0, (first?.at.stdout ?? 0) - (first?.missed.bytes ?? 0)))).toBe(true);
  });

  it('goes on where it was cut off, and is told what is gone', async () => {
    const { strata } = context;
    const id = await finished({ command: ['sh', '-c', 'seq 1 50000; echo err >&2'], logMaxSize: 65_536, logMaxFiles: 2 });
    const { connection } = strata;
    const all = Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join('');
    const resumed = await logs({ container: id, resume: { stdout: all.length - 7, stderr: 1 } });
    expect(resumed).toMatchObject({ stdout: all.slice(-7), stderr: 'rr\n', notices: [] });
    const { first, stream: unread } = await connection.request('container.logs', { container: id });
    connection.stream(unread).close();
    const late = await logs({ container: id, resume: { stdout: 100, stderr: 0 } });
    expect(late.notices).toEqual([{ missed: { bytes: first.stdout - 100, reason: 'rotated' }, at: first }]);
    expect(late.stdout).toBe(all.slice(first.stdout));
  });

  it('is given a part of it: streams, time, the last lines, and both as JSON', async () => {
    const { strata } = context;
    const id = await finished({ command: ['sh', '-c', 'for i in 1 2 3; do echo o$i; echo e$i >&2; sleep 0.3; done; printf rest'] });
    const json = (await logs({ container: id, format: 'json' })).content.trim().split('\n');
    const lines = json.map((line) => JSON.parse(line) as { time: string; stream: string; text: string; partial?: true });
    expect(lines.map(({ text }) => text).sort()).toEqual(['e1', 'e2', 'e3', 'o1', 'o2', 'o3', 'rest']);
    expect(lines.at(-1)).toMatchObject({ text: 'rest', partial: true });
    const at = (text: string): string => lines.find((line) => line.text === text)?.time ?? '';
    expect(await logs({ container: id, stderr: false })).toMatchObject({ stdout: 'o1\no2\no3\nrest', stderr: '' });
    expect(await logs({ container: id, stdout: false, tail: 2 })).toMatchObject({ stdout: '', stderr: 'e2\ne3\n' });
    const sinceMs = Date.parse(at('o2')) - 100;
    expect(await logs({ container: id, sinceMs })).toMatchObject({ stdout: 'o2\no3\nrest', stderr: 'e2\ne3\n' });
    expect(await logs({ container: id, untilMs: sinceMs })).toMatchObject({ stdout: 'o1\n', stderr: 'e1\n' });
    expect(await logs({ container: id, sinceMs, untilMs: sinceMs + 300, tail: 1, stderr: false })).toMatchObject({ stdout: 'o2\n' });
    expect((await failure(logs({ container: id, stdout: false, stderr: false }))).code).toBe('INVALID_REQUEST');

    const cli = async (...args: string[]): Promise<string[]> => {
      const { stdout, stderr, status } = await strata.cli(['logs', ...args, id]);
      expect({ args, status }).toEqual({ args, status: 0 });
      return [stdout, stderr];
    };
    expect(await cli('--stderr')).toEqual(['', 'e1\ne2\ne3\n']);
    expect(await cli('--stdout', '-n', '2')).toEqual(['o3\nrest', '']);
    expect(await cli('--since', at('o3'), '--stdout')).toEqual(['o3\nrest', '']);
    expect(await cli('--until', new Date(sinceMs).toISOString())).toEqual(['o1\n', 'e1\n']);
    expect(await cli('--since', '1h', '--until', '30m')).toEqual(['', '']);
    expect((await cli('--format', 'json', '--stderr', '-n', '1'))[0]).toMatch(/^\{"time":"[^"]+Z","stream":"stderr","text":"e3"\}\n$/);
  });

  it('that follows before the start sees what is written then, also beside an attached one', async () => {
    const { connection } = context.strata;
    const { id } = await connection.request('container.create', {
      options: { image: 'busybox', command: ['sh', '-c', 'echo begin; read end'], openStdin: true },
    });
    const following = streamOf(connection, (await connection.request('container.logs', { container: id, follow: true })).stream);
    const seen = ['', ''];
    const both = [following, streamOf(connection, (await connection.request('container.start', { container: id, attach: true })).stream)];
    for (const [index, stream] of both.entries()) {
      const data = (_: Channel, bytes: Uint8Array): void => {
        seen[index] += Buffer.from(bytes).toString();
      };
      stream.consume({ data });
    }
    await until(() => seen.every((text) => text === 'begin\n'), 'what was written to be seen by both');
    expect((await context.strata.find(id)).state.kind).toBe('running');
  });

  it('that follows up to a time ends then', async () => {
    const { strata } = context;
    const id = await strata.start({ command: ['sh', '-c', 'while :; do echo tick; sleep 0.05; done'] });
    await until(async () => (await logs({ container: id })).stdout !== '', 'the first tick');
    const untilMs = Date.now() + 300;
    const { stdout } = await logs({ container: id, follow: true, untilMs });
    expect(Date.now()).toBeGreaterThanOrEqual(untilMs);
    expect(stdout).toMatch(/^(tick\n)+$/);
    expect((await strata.find(id)).state.kind).toBe('running');
  });

  it('follows from segment to segment, and misses nothing that is kept', async () => {
    const { strata } = context;
    const id = await strata.start({
      command: ['sh', '-c', 'read go; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done'],
      openStdin: true,
      logMaxSize: 4096,
      logMaxFiles: 1000,
    });
    const following = logs({ container: id, follow: true });
    const attached = streamOf(strata.connection, (await strata.connection.request('container.attach', { container: id })).stream);
    const watching = readAll(attached);
    await attached.write(Channel.stdin, Buffer.from('go\n'));
    for (const { stdout, notices } of [await following, await watching]) {
      expect(notices).toEqual([]);
      expect(numbersOf(stdout)).toEqual(Array.from({ length: 20_000 }, (_, index) => index + 1));
    }
    expect((await segmentsOf(id)).length).toBeGreaterThan(20);
  });
});

describe('a supervisor that is killed while it writes and rotates', () => {
  it('leaves a log without a torn line, and the next start goes on behind it', async () => {
    const { strata } = context;
    const { connection } = strata;
    // Every line says of which run it is and which it is of it.
    const script = 'read run < /run-number; echo $((run + 1)) > /run-number; i=0; while :; do i=$((i+1)); echo "$run $i"; done';
    const { id } = await connection.request('container.create', {
      options: {
        image: 'busybox',
        command: ['sh', '-c', `[ -e /run-number ] || echo 0 > /run-number; ${script}`],
        logMaxSize: 4096,
        logMaxFiles: 20,
      },
    });
    for (let run = 0; run < 12; run += 1) {
      await connection.request('container.start', { container: id });
      await until(async () => (await logs({ container: id, tail: 1 })).stdout.startsWith(`${run} `), 'a line of this run');
      const { supervisorPid } = await connection.request('container.inspect', { container: id });
      process.kill(supervisorPid ?? 0, 'SIGKILL');
      await connection.request('container.wait', { container: id });
      const { stdout, notices } = await logs({ container: id });
      expect(notices).toEqual([]);
      const lines = stdout.split('\n').slice(0, -1);
      let [before, count] = lines[0]?.split(' ').map(Number) ?? [];
      for (const line of lines.slice(1)) {
        // What a killed run began to write and did not end stands before the first line of the next.
        const [, now, index] = /(\d+) (\d+)$/.exec(line) ?? [];
        const isNext = Number(now) === before && Number(index) === (count ?? 0) + 1;
        expect(isNext || line.endsWith(`${(before ?? 0) + 1} 1`), `${before} ${count}, then ${line}`).toBe(true);
        [before, count] = [Number(now), Number(index)];
      }
      expect((await segmentsOf(id)).length).toBeLessThanOrEqual(21);
    }
  });
});
