/** Runs all of them at the same time; the first that fails ends the others by their signal, and its error is thrown when they have ended. */
export async function allOrNone<T>(
  items: readonly T[],
  signal: AbortSignal,
  action: (item: T, index: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const errors: unknown[] = [];
  await Promise.all(
    items.map(async (item, index) => {
      try {
        await action(item, index, either);
      } catch (error) {
        errors.push(error);
        failed.abort();
      }
    }),
  );
  if (errors.length > 0) throw errors[0];
}
