import type { LogPlace } from './cursor.ts';
import {
  countLineStarts,
  type LineStarts,
  type LogChannel,
  type LogOutput,
  lineStarts,
  logChannels,
  passLines,
  type StreamBytes,
} from './records.ts';
import { LogSegment, listSegments, type SegmentName } from './segments.ts';

/** Which lines are looked for. */
export interface LineQuery {
  readonly channels: ReadonlySet<LogChannel>;
  /** Milliseconds since the epoch, both included; the time of a line is that of its first byte. */
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
}

export const wholeLog: LineQuery = { channels: new Set(logChannels) };

/** The oldest byte that is still there. */
export async function firstPlace(log: string): Promise<LogPlace> {
  for (const name of await listSegments(log)) {
    const segment = await LogSegment.open(name);
    if (segment === undefined) continue;
    await segment.close();
    return beginOf(segment);
  }
  return { position: { 1: 0, 2: 0 } };
}

/** Behind all that was written so far. */
export async function endPlace(log: string): Promise<LogPlace> {
  for (const name of (await listSegments(log)).toReversed()) {
    const end = await withSegment(name, (segment) => walk(segment, () => {}));
    if (end !== undefined) return end;
  }
  return { position: { 1: 0, 2: 0 } };
}

/** Where so much of each of these streams was given. What is gone of it since is a gap when it is read. */
export async function placeAt(log: string, position: StreamBytes, channels: ReadonlySet<LogChannel>): Promise<LogPlace> {
  let oldest: LogSegment | undefined;
  for (const name of (await listSegments(log)).toReversed()) {
    const segment = await LogSegment.open(name);
    if (segment === undefined) continue;
    await segment.close();
    const { before } = segment.start;
    if ([...channels].every((channel) => before[channel] <= position[channel])) return { ...beginOf(segment), position };
    oldest = segment;
  }
  return oldest === undefined ? { position: { 1: 0, 2: 0 } } : { position };
}

/**
 * Where the last `tail` lines begin that the query lets through, or the first one where `tail` is absent; the end where there is none. A
 * line that is not ended counts. Segments that hold none of them are not read, nor is more than a chunk a segment kept.
 */
export async function findLines(log: string, query: LineQuery, tail: number | undefined, signal?: AbortSignal): Promise<LogPlace> {
  const names = await segmentsWithin(log, query);
  if (tail === 0) return await endPlace(log);
  let found: LogPlace | undefined;
  let left = tail ?? 1;
  // From the end on backwards where the last lines are wanted, forwards for the first.
  for (const name of tail === undefined ? names : names.toReversed()) {
    signal?.throwIfAborted();
    const lines = await withSegment(name, (segment) => linesIn(segment, query, signal));
    if (lines === undefined || lines.count === 0) continue;
    found = await withSegment(name, (segment) => lineAt(segment, query, lines, tail === undefined ? 0 : Math.max(0, lines.count - left)));
    left -= lines.count;
    if (found !== undefined && (tail === undefined || left <= 0)) break;
  }
  return found ?? (await endPlace(log));
}

/** A segment says when the output of the one before was written. */
async function segmentsWithin(log: string, { sinceMs, untilMs }: LineQuery): Promise<SegmentName[]> {
  const names = await listSegments(log);
  if (sinceMs === undefined && untilMs === undefined) return names;
  const within: SegmentName[] = [];
  for (const [index, name] of names.entries()) {
    const next = names[index + 1];
    const times = next === undefined ? undefined : await withSegment(next, ({ start }) => Promise.resolve(start));
    // A line may begin in it and be written on later; none begins before or after its output.
    const isWithin =
      times === undefined ||
      (millisecondsOf(times.latestNs) >= (sinceMs ?? 0) && millisecondsOf(times.earliestNs) <= (untilMs ?? Infinity));
    if (isWithin) within.push(name);
  }
  return within;
}

export function millisecondsOf(timeNs: bigint): number {
  return Number(timeNs / 1_000_000n);
}

/** A chunk of a segment in which a line begins, and what the lines before it left behind. */
interface LineMark {
  readonly offset: number;
  readonly before: StreamBytes;
  readonly linesBefore: number;
  readonly atLineStart: Readonly<LineStarts>;
}

interface SegmentLines {
  readonly count: number;
  readonly marks: readonly LineMark[];
}

/** One mark a chunk is kept and not one a line, of which a container can write any number; one chunk is read again. */
async function linesIn(segment: LogSegment, query: LineQuery, signal: AbortSignal | undefined): Promise<SegmentLines> {
  const marks: LineMark[] = [];
  const atLineStart = lineStartsOf(segment);
  let count = 0;
  let linesBefore = 0;
  let mark: Omit<LineMark, 'linesBefore'> | undefined;
  const close = (): void => {
    if (mark !== undefined && count > linesBefore) marks.push({ ...mark, linesBefore });
    linesBefore = count;
  };
  await walk(
    segment,
    (output) => {
      if (isWanted(output, query)) count += countLineStarts(output, atLineStart);
      else passLines(output, atLineStart);
    },
    (offset, before) => {
      signal?.throwIfAborted();
      close();
      mark = { offset, before, atLineStart: { ...atLineStart } };
    },
  );
  close();
  return { count, marks };
}

/** Where the line begins that is the `index`th of the segment. */
async function lineAt(segment: LogSegment, query: LineQuery, { marks }: SegmentLines, index: number): Promise<LogPlace | undefined> {
  const mark = marks.findLast(({ linesBefore }) => linesBefore <= index);
  if (mark === undefined) return undefined;
  const atLineStart = { ...mark.atLineStart };
  const position = { ...mark.before };
  let left = index - mark.linesBefore;
  for (const record of (await segment.read(mark.offset)).records) {
    if (record.kind !== 'output') continue;
    const starts = lineStarts(record, atLineStart);
    if (!isWanted(record, query)) starts.length = 0;
    const skip = starts[left];
    if (skip !== undefined) {
      const before = { ...position };
      position[record.channel] += skip;
      return { position, record: { segment: segment.name, offset: record.offset, before } };
    }
    left -= starts.length;
    position[record.channel] += record.payload.byteLength;
  }
  return undefined;
}

function isWanted({ channel, timeNs }: LogOutput, { channels, sinceMs, untilMs }: LineQuery): boolean {
  if (!channels.has(channel)) return false;
  if (sinceMs === undefined && untilMs === undefined) return true;
  const timeMs = millisecondsOf(timeNs);
  return timeMs >= (sinceMs ?? 0) && timeMs <= (untilMs ?? Infinity);
}

/** To the segment's end, chunk by chunk; its place. */
async function walk(
  segment: LogSegment,
  output: (record: LogOutput) => void,
  chunkBegins: (offset: number, before: StreamBytes) => void = () => {},
): Promise<LogPlace> {
  const position = { ...segment.start.before };
  let offset = segment.begin;
  for (;;) {
    const chunk = await segment.read(offset);
    if (chunk.next === offset) return { position, record: { segment: segment.name, offset, before: position } };
    chunkBegins(offset, { ...position });
    for (const record of chunk.records) {
      if (record.kind !== 'output') continue;
      output(record);
      position[record.channel] += record.payload.byteLength;
    }
    offset = chunk.next;
  }
}

function lineStartsOf({ start }: LogSegment): LineStarts {
  return { 1: !start.continues[1], 2: !start.continues[2] };
}

function beginOf(segment: LogSegment): LogPlace {
  const { before } = segment.start;
  return { position: before, record: { segment: segment.name, offset: segment.begin, before } };
}

/** Undefined where the segment is gone. */
async function withSegment<T>(name: SegmentName, use: (segment: LogSegment) => Promise<T>): Promise<T | undefined> {
  const segment = await LogSegment.open(name);
  if (segment === undefined) return undefined;
  try {
    return await use(segment);
  } finally {
    await segment.close();
  }
}
