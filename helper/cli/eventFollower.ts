import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Channel,
  type EventFilters,
  type EventGap,
  type EventLine,
  type EventRecord,
  eventGapSchema,
  eventRecordSchema,
  type Params,
  StrataError,
} from '../protocol/index.ts';
import type { Connection } from '../wire/connection.ts';
import { parseReceived } from '../wire/received.ts';
import type { WireStream } from '../wire/stream.ts';
import type { Context } from './context.ts';

type Request = Params<'events.stream'>;

export interface FollowRequest {
  readonly since: Request['since'];
  readonly untilMs: number | undefined;
  readonly filters: EventFilters;
  readonly take: (line: EventLine) => void;
}

/** Between two looks whether there is a helper again. */
const lookAgainMs = { first: 50, longest: 2000 };

/** Until its end, over restarts of the helper: it goes on after the last event that came, so none is lost or comes twice. */
export async function followEvents(context: Context, { since, untilMs, filters, take }: FollowRequest): Promise<void> {
  let from = since;
  let connection = await context.connect();
  for (;;) {
    try {
      const { stream, at } = await connection.request('events.stream', {
        filters,
        ...(from === undefined ? {} : { since: from }),
        ...(untilMs === undefined ? {} : { untilMs }),
      });
      from ??= { kind: 'position', ...at };
      await readLines(connection.stream(stream), (line) => {
        if (!('gap' in line)) from = { kind: 'position', epoch: line.epoch, seq: line.seq };
        take(line);
      });
      return;
    } catch (error) {
      if (!isAway(error)) throw error;
    } finally {
      connection.close();
    }
    process.stderr.write('strata: the helper has gone; what happens is told when there is one again\n');
    connection = await connectAgain(context, untilMs);
  }
}

/** A helper that was replaced is back at once; one that crashed when somebody starts it. */
async function connectAgain(context: Context, untilMs = Number.POSITIVE_INFINITY): Promise<Connection> {
  for (let waitMs = lookAgainMs.first; ; waitMs = Math.min(waitMs * 2, lookAgainMs.longest)) {
    await sleep(waitMs);
    try {
      return await context.connect();
    } catch (error) {
      if (!isAway(error) || Date.now() >= untilMs) throw error;
    }
  }
}

/** Also where it went in the midst of a handshake, of which the socket tells in its own words. */
function isAway(error: unknown): boolean {
  if (error instanceof StrataError) return error.code === 'CONNECTION_CLOSED' || error.code === 'TIMEOUT';
  return error instanceof Error && 'code' in error;
}

/** Settles when the stream is closed. */
function readLines(stream: WireStream, take: (line: EventLine) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  return new Promise((resolve, reject) => {
    stream.consume({
      data: async (channel, bytes) => {
        if (channel !== Channel.bytes) return;
        const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const parsed = parseLine(line);
          if (parsed === undefined) reject(new StrataError('PROTOCOL_MISMATCH', 'an event of the helper is not what this version expects'));
          else take(parsed);
        }
        // Who reads our output says how fast the helper shall send.
        if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain');
      },
      closed: (error) => (error === undefined ? resolve() : reject(error)),
    });
  });
}

function parseLine(text: string): EventLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const isGap = typeof value === 'object' && value !== null && 'gap' in value;
  const parsed = parseReceived(isGap ? eventGapSchema : eventRecordSchema, value);
  return parsed.success ? (parsed.data as EventGap | EventRecord) : undefined; // by the schemas
}
