import { Channel } from '../../../helper/protocol/index.ts';

/** Of a container, or a word of Strata's own between what the container wrote. */
export type LogSource = 'stdout' | 'stderr' | 'notice';

/** Which streams a person wants to see. */
export type ShownSources = 'both' | 'stdout' | 'stderr';

export interface LogLine {
  /** Milliseconds since the epoch. */
  readonly timeMs: number;
  readonly source: LogSource;
  /** What readableLine made of it. */
  readonly text: string;
}

/** How lines are written in a document. */
export interface LogLayout {
  readonly times: boolean;
  /** Whether lines of both streams stand together, so that each says which it is of. */
  readonly sources: boolean;
}

const two = (value: number): string => String(value).padStart(2, '0');

/** "2026-11-20 17:49:51.042" in the host's time zone. */
export function formatLogTime(timeMs: number): string {
  const date = new Date(timeMs);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

/** A line of the document, without its end. The grammar of media/strata-log.tmLanguage.json knows these beginnings. */
export function formatLogLine({ timeMs, source, text }: LogLine, layout: LogLayout): string {
  const time = layout.times ? `${formatLogTime(timeMs)} ` : '';
  if (source === 'notice') return `${time}── ${text} ──`;
  return `${time}${layout.sources ? (source === 'stderr' ? 'err ' : 'out ') : ''}${text}`;
}

export function sourceOf(channel: Channel): LogSource {
  return channel === Channel.stderr ? 'stderr' : 'stdout';
}
