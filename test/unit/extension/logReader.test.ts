import { describe, expect, it } from 'vitest';
import type { HelperClient } from '../../../extension/client/helperClient.ts';
import { LogReader, type LogReading } from '../../../extension/logs/logReader.ts';
import type { LogLine } from '../../../extension/model/log/logLine.ts';
import { Channel, containerIdSchema, type LogPosition, StrataError } from '../../../helper/protocol/index.ts';
import type { StreamConsumer } from '../../../helper/wire/stream.ts';

const container = containerIdSchema.parse('a'.repeat(32));
const time = '2026-11-20T17:49:51.042123456Z';
const zero: LogPosition = { stdout: 0, stderr: 0 };

interface Answer {
  readonly from: LogPosition;
  readonly first: LogPosition;
  readonly frames: readonly (readonly [Channel, string])[];
  readonly error?: StrataError;
}

/** Gives these answers one after the other, each with a stream of its own. */
function reader(reading: Partial<LogReading>, ...answers: Answer[]) {
  const asked: unknown[] = [];
  const lines: LogLine[] = [];
  const client = {
    request: (method: string, params: unknown) => {
      if (method !== 'container.logs') return Promise.resolve({ state: { kind: 'created' } });
      asked.push(params);
      return Promise.resolve({
        stream: asked.length,
        tty: false,
        from: answers[asked.length - 1]?.from,
        first: answers[asked.length - 1]?.first,
      });
    },
    stream: (id: number) => ({
      close: () => {},
      consume: async (consumer: StreamConsumer) => {
        const answer = answers[id - 1];
        for (const [channel, text] of answer?.frames ?? []) await consumer.data(channel, Buffer.from(text));
        consumer.closed?.(answer?.error);
      },
    }),
  };
  const options: LogReading = { container, sources: 'both', range: {}, lines: (added) => void lines.push(...added), ...reading };
  // What a reader uses of a client.
  return { reader: new LogReader(client as unknown as Pick<HelperClient, 'request' | 'stream'>, options), asked, lines };
}

describe('a reader of a log', () => {
  it('asks the helper for what a person chose, and goes on behind the last byte', async () => {
    const { stdout } = Channel;
    const made = reader(
      { tail: 2, sources: 'stdout', range: { sinceMs: 5, untilMs: 9 } },
      { from: { stdout: 10, stderr: 3 }, first: zero, frames: [[stdout, `${time} one\n${time} tw`]] },
      {
        from: { stdout: 16, stderr: 3 },
        first: zero,
        frames: [[stdout, `${time} o\n`]],
        error: new StrataError('CONNECTION_CLOSED', 'gone'),
      },
      { from: { stdout: 18, stderr: 3 }, first: zero, frames: [] },
    );
    await made.reader.load();
    expect(await made.reader.follow()).toEqual({ kind: 'away' });
    expect((await made.reader.follow()).kind).toBe('ended');
    const what = { container, timestamps: true, untilMs: 9, stdout: true, stderr: false };
    expect(made.asked).toEqual([
      { ...what, follow: false, tail: 2, sinceMs: 5 },
      { ...what, follow: true, resume: { stdout: 16, stderr: 3 } },
      { ...what, follow: true, resume: { stdout: 18, stderr: 3 } },
    ]);
    expect(made.lines.map(({ text }) => text)).toEqual(['one', 'two']);
  });

  it('has a line for what it missed, and goes on where the notice says', async () => {
    const notice = { missed: { bytes: 2048, reason: 'rotated' }, at: { stdout: 5000, stderr: 70 } };
    const made = reader(
      {},
      {
        from: zero,
        first: zero,
        frames: [
          [Channel.stdout, `${time} a\n`],
          [Channel.bytes, `${JSON.stringify(notice)}\n`],
          [Channel.stderr, `${time} bc\n`],
        ],
      },
      { from: zero, first: zero, frames: [] },
    );
    await made.reader.load();
    await made.reader.follow();
    expect(made.lines).toMatchObject([
      { source: 'stdout', text: 'a' },
      {
        source: 'notice',
        text: '2 KiB of output are missing here: the log was rotated before it was read',
        timeMs: Date.parse('2026-11-20T17:49:51.042Z'),
      },
      { source: 'stderr', text: 'bc' },
    ]);
    expect(made.asked[1]).toMatchObject({ resume: { stdout: 5000, stderr: 73 } });
  });

  it.each([
    { what: 'earlier lines are there', from: 40, first: 0, frames: 2, hasEarlier: true, lines: 2 },
    { what: 'all was read', from: 0, first: 0, frames: 2, hasEarlier: false, lines: 2 },
    { what: 'what was before is out of the range', from: 40, first: 0, frames: 1, hasEarlier: false, lines: 1 },
    { what: 'what was before was rotated away', from: 40, first: 40, frames: 2, hasEarlier: false, lines: 3 },
  ])('offers earlier lines where there are some: $what', async ({ from, first, frames, hasEarlier, lines }) => {
    const line = [Channel.stdout, `${time} x\n`] as const;
    const made = reader(
      { tail: 2 },
      { from: { stdout: from, stderr: 0 }, first: { stdout: first, stderr: 0 }, frames: Array.from({ length: frames }, () => line) },
    );
    await made.reader.load();
    expect(made.reader.hasEarlier).toBe(hasEarlier);
    expect(made.lines).toHaveLength(lines);
    if (lines === 3) expect(made.lines[0]).toMatchObject({ source: 'notice', text: '40 B of earlier output were rotated away' });
  });
});
