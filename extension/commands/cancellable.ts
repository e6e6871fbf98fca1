import * as vscode from 'vscode';

/** A notification while something lasts, which tells how far it is (`increment`: percent since the last report). To cancel it aborts the signal; what the helper makes of that is the request's matter. */
export async function cancellable<T>(
  title: string,
  action: (signal: AbortSignal, report: (message: string, increment?: number) => void) => Promise<T>,
): Promise<T> {
  return await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    async (progress, token) => {
      const abort = new AbortController();
      const subscription = token.onCancellationRequested(() => abort.abort());
      try {
        return await action(abort.signal, (message, increment) =>
          progress.report({ message, ...(increment === undefined ? {} : { increment }) }),
        );
      } finally {
        subscription.dispose();
      }
    },
  );
}
