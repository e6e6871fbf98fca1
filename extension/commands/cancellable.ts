import * as vscode from 'vscode';

/** What is over sooner is not worth a notification that comes and goes. */
const SHOWN_AFTER_MS = 300;

export type Report = (message: string, increment?: number) => void;

/**
 * A notification while something lasts, which tells how far it is (`increment`: percent since the last report). To cancel it aborts
 * the signal; what the helper makes of that is the request's matter.
 */
export async function cancellable<T>(title: string, action: (signal: AbortSignal, report: Report) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  let before: Parameters<Report> = ['', 0];
  let report: Report = (message, increment = 0) => {
    before = [message, (before[1] ?? 0) + increment];
  };
  const result = action(abort.signal, (message, increment) => report(message, increment));
  if (await isOver(result)) return await result;
  const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
  return await vscode.window.withProgress(options, async (progress, token) => {
    report = (message, increment) => progress.report({ message, ...(increment === undefined ? {} : { increment }) });
    report(...before);
    const subscription = token.onCancellationRequested(() => abort.abort());
    try {
      return await result;
    } finally {
      subscription.dispose();
    }
  });
}

/** Whether it settles before it would be shown. */
async function isOver(result: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), SHOWN_AFTER_MS);
  });
  const settled = result.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([settled, late]);
  } finally {
    clearTimeout(timer);
  }
}
