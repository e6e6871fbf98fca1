/** Units as people read and write them: "512 MiB" and "512m", "0.5 cpu". */

// Written by the one formatter of all clients; read here, beside its counterparts.
export { formatBytes } from '../../helper/protocol/index.ts';

const BYTE_FACTORS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** Bytes from "512m", "1.5 GiB", "64 MB" (read as MiB, like Docker), "1048576"; undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*$/i.exec(text);
  if (match === null) return undefined;
  const factor = BYTE_FACTORS[(match[2] ?? '').toLowerCase()];
  if (factor === undefined) return undefined;
  const bytes = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The shortest exact text that parseBytes reads back: "512m". */
export function bytesForEditing(bytes: number): string {
  for (const [letter, factor] of Object.entries(BYTE_FACTORS).reverse()) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${letter}`;
  }
  return String(bytes);
}

/** "0.5 cpu", "2 cpus" */
export function cpusWord(cpus: number): string {
  const text = String(Number(cpus.toFixed(3)));
  return `${text} ${cpus > 1 ? 'cpus' : 'cpu'}`;
}

/** Cpus from "0.5", "0.5 cpu", "50 %" (of one cpu); undefined for anything else. */
export function parseCpus(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*(cpus?|%)?\s*$/i.exec(text);
  if (match === null) return undefined;
  const value = Number(match[1]);
  return match[2] === '%' ? value / 100 : value;
}

/** "3 h 12 min" for a span; of the two largest units. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}

/**
 * "2026-11-20 17:49:51" in the host's time zone: absolute, so that nothing on the screen grows old. Of RFC 3339 or of
 * milliseconds since the epoch; what is no time of this calendar stays as it is, for a file may have any.
 */
export function formatTime(time: string | number): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return String(time);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
