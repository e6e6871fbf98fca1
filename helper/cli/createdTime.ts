import { UsageError } from './values.ts';

/** When an image is to have been made, as RFC 3339: what the flag says, else SOURCE_DATE_EPOCH (reproducible-builds.org), else undefined: now. Pure. */
export function createdTime(flag: string | undefined, sourceDateEpoch: string | undefined): string | undefined {
  if (flag !== undefined) return timeOf('--created', flag);
  if (sourceDateEpoch === undefined || sourceDateEpoch === '') return undefined;
  if (!/^\d+$/.test(sourceDateEpoch)) throw new UsageError(`SOURCE_DATE_EPOCH "${sourceDateEpoch}" is not a number of seconds`);
  return timeOf('SOURCE_DATE_EPOCH', sourceDateEpoch);
}

function timeOf(name: string, text: string): string {
  const time = new Date(/^\d+$/.test(text) ? Number(text) * 1000 : text);
  if (Number.isNaN(time.getTime())) throw new UsageError(`${name} "${text}" is no time, such as 2026-01-31T12:00:00Z`);
  return time.toISOString();
}
