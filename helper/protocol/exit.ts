import { StrataError } from './errors.ts';
import type { Exit } from './model/index.ts';

/** Signal numbers of Linux on x86-64 and arm64 (signal(7)). */
export const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const;

const names = new Map<number, string>(Object.entries(SIGNALS).map(([name, number]) => [number, name]));

/** "SIGTERM" for 15; "SIGRTMIN+3" style names are not needed: real-time signals are "SIG37". */
export function signalName(number: number): string {
  return names.get(number) ?? `SIG${number}`;
}

/** A signal from "SIGTERM", "term", "15" or "SIG37"; undefined for anything else. */
export function signalNumber(text: string): number | undefined {
  const upper = text.toUpperCase();
  const numeric = /^(?:SIG)?(\d{1,2})$/.exec(upper);
  if (numeric !== null) {
    const number = Number(numeric[1]);
    return number >= 1 && number <= 64 ? number : undefined;
  }
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  return Object.entries(SIGNALS).find(([key]) => key === name)?.[1];
}

/** The same for what a person asked for. */
export function signalOf(text: string): number {
  const number = signalNumber(text);
  if (number !== undefined) return number;
  throw new StrataError('INVALID_REQUEST', `there is no signal "${text}"`, { hint: 'A signal is a name such as SIGTERM, or a number.' });
}

/** What a shell would say of this exit: the status, 128 + the signal, or 255 where nobody saw the end. */
export function shellStatus(exit: Pick<Exit, 'code' | 'signal'>): number {
  if (exit.code !== null) return exit.code;
  const number = exit.signal === null ? undefined : signalNumber(exit.signal);
  return number === undefined ? 255 : 128 + number;
}
