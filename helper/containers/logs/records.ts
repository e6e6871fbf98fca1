/** Streams of a container's output as the log numbers them, which are the wire's channels too. */
export type LogChannel = 1 | 2;

export const logChannels: readonly LogChannel[] = [1, 2];

/** Bytes of each stream. */
export type StreamBytes = Readonly<Record<LogChannel, number>>;

/** One write of the container. */
export interface LogOutput {
  readonly kind: 'output';
  /** Where the record begins in its file. */
  readonly offset: number;
  readonly channel: LogChannel;
  readonly timeNs: bigint;
  readonly payload: Uint8Array;
}

/** Output that was never written, because the disk was full. */
export interface LogLoss {
  readonly kind: 'lost';
  readonly offset: number;
  readonly bytes: number;
}

export type LogRecord = LogOutput | LogLoss;

export interface LogChunk {
  readonly records: readonly LogRecord[];
  /** Where to read on. */
  readonly next: number;
}

/** What a later segment begins with (docs/logs.md, "On disk"). */
export interface SegmentStart {
  /** Output in all earlier segments. */
  readonly before: StreamBytes;
  /** Of the output of the segment just before; 0: it has none. */
  readonly earliestNs: bigint;
  readonly latestNs: bigint;
  /** Streams whose first bytes belong to a line that an earlier segment began. */
  readonly continues: Readonly<Record<LogChannel, boolean>>;
}

export const headerBytes = 16;
export const segmentStartBytes = 40;
/** No supervisor writes a larger one: what says so is no record. */
const maxPayloadBytes = 16 * 1024 * 1024;

const Kind = { segment: 0, stdout: 1, stderr: 2, lost: 3 } as const;

/** Pure. Of the record at the start of `bytes`; undefined where there is none, or not all of its header. */
export function recordSize(bytes: Buffer): number | undefined {
  if (bytes.byteLength < headerBytes) return undefined;
  const payload = bytes.readUInt32LE(0);
  const kind = bytes.readUInt8(4);
  // All zeros are a block that was never written.
  if (payload > maxPayloadBytes || kind > Kind.lost || (kind === Kind.segment && payload !== segmentStartBytes)) return undefined;
  return headerBytes + payload;
}

/** Pure. The whole records at the start of `bytes`, which lie at `offset` in their file. A torn last one is not there yet. */
export function parseRecords(bytes: Buffer, offset: number): LogChunk {
  const records: LogRecord[] = [];
  let at = 0;
  for (;;) {
    const rest = bytes.subarray(at);
    const size = recordSize(rest);
    if (size === undefined || rest.byteLength < size) break;
    const record = parseRecord(rest.subarray(0, size), offset + at);
    if (record !== undefined) records.push(record);
    at += size;
  }
  return { records, next: offset + at };
}

function parseRecord(bytes: Buffer, offset: number): LogRecord | undefined {
  const kind = bytes.readUInt8(4);
  const payload = bytes.subarray(headerBytes);
  if (kind === Kind.segment) return undefined;
  if (kind === Kind.lost) return payload.byteLength < 8 ? undefined : { kind: 'lost', offset, bytes: Number(payload.readBigUInt64LE(0)) };
  return { kind: 'output', offset, channel: kind === Kind.stderr ? 2 : 1, timeNs: bytes.readBigUInt64LE(8), payload };
}

/** Pure. The beginning of a later segment; undefined where it is not all there. */
export function parseSegmentStart(bytes: Buffer): SegmentStart | undefined {
  if (recordSize(bytes) !== headerBytes + segmentStartBytes || bytes.byteLength < headerBytes + segmentStartBytes) return undefined;
  if (bytes.readUInt8(4) !== Kind.segment) return undefined;
  const start = bytes.subarray(headerBytes);
  const flags = start.readUInt8(32);
  return {
    before: { 1: Number(start.readBigUInt64LE(0)), 2: Number(start.readBigUInt64LE(8)) },
    earliestNs: start.readBigUInt64LE(16),
    latestNs: start.readBigUInt64LE(24),
    continues: { 1: (flags & 1) !== 0, 2: (flags & 2) !== 0 },
  };
}

const newline = 0x0a;

/** Whether each stream is at a line's start. */
export type LineStarts = Record<LogChannel, boolean>;

/** Where in the payload lines begin; notes where the stream is then. */
export function lineStarts({ payload, channel }: Pick<LogOutput, 'payload' | 'channel'>, atLineStart: LineStarts): number[] {
  const found: number[] = [];
  if (payload.byteLength === 0) return found;
  if (atLineStart[channel]) found.push(0);
  for (let at = payload.indexOf(newline); at !== -1 && at + 1 < payload.byteLength; at = payload.indexOf(newline, at + 1))
    found.push(at + 1);
  atLineStart[channel] = payload.at(-1) === newline;
  return found;
}

/** How many `lineStarts` would find. Byte by byte: a log may be nothing but lines' ends. */
export function countLineStarts({ payload, channel }: Pick<LogOutput, 'payload' | 'channel'>, atLineStart: LineStarts): number {
  if (payload.byteLength === 0) return 0;
  let count = atLineStart[channel] ? 1 : 0;
  const last = payload.byteLength - 1;
  for (let at = 0; at < last; at += 1) if (payload[at] === newline) count += 1;
  atLineStart[channel] = payload[last] === newline;
  return count;
}

/** Where the stream is behind the payload. */
export function passLines({ payload, channel }: Pick<LogOutput, 'payload' | 'channel'>, atLineStart: LineStarts): void {
  if (payload.byteLength > 0) atLineStart[channel] = payload.at(-1) === newline;
}
