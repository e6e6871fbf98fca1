/** Text for people. Pure. */
import { joinCommand } from '../protocol/index.ts';

const units: readonly (readonly [name: string, seconds: number])[] = [
  ['year', 365 * 86_400],
  ['month', 30 * 86_400],
  ['week', 7 * 86_400],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

/** "2 minutes"; what is shorter than a second is "less than a second". */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  for (const [name, size] of units) {
    const count = Math.floor(seconds / size);
    if (count >= 1) return `${count} ${name}${count === 1 ? '' : 's'}`;
  }
  return 'less than a second';
}

export function ago(timestamp: string | null, nowMs: number): string {
  return timestamp === null ? 'unknown' : `${duration(Math.max(0, nowMs - Date.parse(timestamp)))} ago`;
}

/** Columns as wide as their widest cell, three spaces between; the last is not padded. */
export function table(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headers, ...rows];
  const widths = headers.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map((line) => line.map((cell, column) => (column === line.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('   '))
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

/** A command as one would type it, cut to `width`. */
export function commandText(command: readonly string[], width = 30): string {
  return plainText(joinCommand(command), width);
}

/** Cut to `width`; control characters of somebody else's text must not reach the terminal. */
export function plainText(text: string, width: number): string {
  const plain = text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
  return plain.length > width ? `${plain.slice(0, width - 1)}…` : plain;
}
