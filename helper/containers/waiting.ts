import { StrataError } from '../protocol/index.ts';

/** How long a supervisor may take to answer what it needs no container for. */
export const supervisorAnswerMs = 10_000;

/** The value, or undefined when the time is over. */
export async function within<T>(value: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  const over = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => over.resolve(undefined), timeoutMs);
  try {
    return await Promise.race([value, over.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Rejects with CANCELLED when the caller gives up. */
export async function aborted(signal: AbortSignal): Promise<never> {
  return await new Promise((_, reject) => {
    const onAbort = (): void => reject(new StrataError('CANCELLED', 'the request was cancelled'));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** Does it for each, so many at a time, in their order. */
export async function inTurns<T>(list: readonly T[], atOnce: number, act: (one: T) => Promise<void>): Promise<void> {
  const left = list.values();
  const takeTurns = async (): Promise<void> => {
    for (const one of left) await act(one);
  };
  await Promise.all(Array.from({ length: atOnce }, takeTurns));
}
