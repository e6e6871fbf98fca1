import { formatTime } from '../units.ts';

/** Which part of a log is shown, in milliseconds since the epoch; without bounds all of it. */
export interface LogRange {
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** "last hour" */
  readonly words: string;
}

export const WHOLE_LOG: LogRange = { words: 'all' };

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** What a person chooses from, as it is at this time. */
export function rangePresets(nowMs: number): readonly LogRange[] {
  const midnight = new Date(nowMs).setHours(0, 0, 0, 0);
  return [
    { words: 'last 5 minutes', sinceMs: nowMs - 5 * MINUTE_MS },
    { words: 'last hour', sinceMs: nowMs - HOUR_MS },
    { words: 'today', sinceMs: midnight },
    WHOLE_LOG,
  ];
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: MINUTE_MS, min: MINUTE_MS, h: HOUR_MS, d: 24 * HOUR_MS };

/**
 * A time as people write it: "10m" (ago), "14:30" and "14:30:05" (today), "2026-11-20", "2026-11-20 14:30" in the host's time
 * zone, or RFC 3339. Undefined for anything else.
 */
export function parseTime(typed: string, nowMs: number): number | undefined {
  const text = typed.trim();
  const ago = /^(\d+(?:\.\d+)?)\s*(s|m|min|h|d)$/.exec(text);
  if (ago !== null) return nowMs - Number(ago[1]) * (UNITS[ago[2] ?? ''] ?? 0);
  const clock = /^(\d{1,2}):(\d\d)(?::(\d\d))?$/.exec(text);
  if (clock !== null) {
    const [hours, minutes, seconds] = [Number(clock[1]), Number(clock[2]), Number(clock[3] ?? 0)];
    return hours > 23 || minutes > 59 || seconds > 59 ? undefined : new Date(nowMs).setHours(hours, minutes, seconds, 0);
  }
  if (!/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.test(text)) return undefined;
  // A day alone would be taken as one of UTC.
  const time = Date.parse(text.length === 10 ? `${text}T00:00` : text.replace(' ', 'T'));
  return Number.isNaN(time) ? undefined : time;
}

/** "from 2026-11-20 14:30:00 to 2026-11-20 15:00:00" */
export function rangeWords(sinceMs: number | undefined, untilMs: number | undefined): string {
  const parts = [sinceMs === undefined ? '' : `from ${formatTime(sinceMs)}`, untilMs === undefined ? '' : `to ${formatTime(untilMs)}`];
  return parts.filter((part) => part !== '').join(' ') || WHOLE_LOG.words;
}
