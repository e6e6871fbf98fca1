import { type Exit, formatBytes, SIGNALS, signalName } from '../protocol/index.ts';
import { decodeNote, noteWords } from './endingNote.ts';
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
  if (!record.oomKilled) return `${statusOf(record)}${causeOf(record)}`;
  // A main process that lived on through the kill of another tells the rest by its own status.
  if (record.signal === SIGNALS.SIGKILL || record.code === 128 + SIGNALS.SIGKILL) return `out of memory: the kernel killed it ${where}`;
  return `${statusOf(record)}; out of memory: the kernel killed a process of it ${where}`;
}

function statusOf({ signal, code }: ExitRecord): string {
  return signal === null ? `exited with status ${code ?? 'unknown'}` : `killed by ${signalName(signal)}`;
}

/** What a program's own fault ends it with. */
const faults: ReadonlySet<number> = new Set([
  ...[SIGNALS.SIGILL, SIGNALS.SIGTRAP, SIGNALS.SIGABRT, SIGNALS.SIGBUS],
  ...[SIGNALS.SIGFPE, SIGNALS.SIGSEGV, SIGNALS.SIGSYS],
]);

/** Who ended it, as far as that is known. */
function causeOf({ signal, code, requested }: ExitRecord): string {
  // Its supervisor is of a version that does not say.
  if (requested === undefined || (signal === null && code === null)) return '';
  const note = requested === null ? undefined : decodeNote(requested.note);
  const isAnswer = requested !== null && (signal === requested.signal || code === 128 + requested.signal);
  if (note !== undefined && (isAnswer || (signal === null && note.by !== 'kill'))) return `: ${noteWords(note)}`;
  if (signal === null || isAnswer) return '';
  // From within its own pid namespace no other signal ends a first process.
  return faults.has(signal) ? ': a fault of its own, or sent from outside of Strata' : ' from outside of Strata';
}

function lossOf({ lostLogBytes = 0 }: ExitRecord): string {
  return lostLogBytes === 0 ? '' : `; ${formatBytes(lostLogBytes)} of its output were lost: the disk of the log was full`;
}
