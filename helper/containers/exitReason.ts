import { type Exit, formatBytes, signalName } from '../protocol/index.ts';
import type { ExitRecord } from './record.ts';

/** The record of an exit as people and clients see it. Pure. */
export function exitOf(record: ExitRecord, memoryMaxBytes: number | null): Exit {
  return {
    code: record.code,
    signal: record.signal === null ? null : signalName(record.signal),
    oomKilled: record.oomKilled,
    reason: `${reasonOf(record, memoryMaxBytes)}${lossOf(record)}`,
    finishedAt: record.finishedAt,
  };
}

function reasonOf(record: ExitRecord, memoryMaxBytes: number | null): string {
  if (record.reason !== undefined) return record.reason;
  if (record.error !== undefined) return `did not start: ${record.error.message}`;
  const where = memoryMaxBytes === null ? 'because the host ran out of memory' : `at its limit of ${formatBytes(memoryMaxBytes)}`;
  const status = record.signal === null ? `exited with status ${record.code ?? 'unknown'}` : `killed by ${signalName(record.signal)}`;
  if (!record.oomKilled) return status;
  // A main process that lived on through the kill of another tells the rest by its own status.
  if (record.signal === 9 || record.code === 137) return `out of memory: the kernel killed it ${where}`;
  return `${status}; out of memory: the kernel killed a process of it ${where}`;
}

function lossOf({ lostLogBytes = 0 }: ExitRecord): string {
  return lostLogBytes === 0 ? '' : `; ${formatBytes(lostLogBytes)} of its output were lost: the disk of the log was full`;
}
