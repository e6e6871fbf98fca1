import * as vscode from 'vscode';

/** A notification while something lasts, which tells how far it is. To cancel it aborts the signal; what the helper makes of that is the request's matter. */
export async function cancellable<T>(
  title: string,
  action: (signal: AbortSignal, report: (message: string) => void) => Promise<T>,
): Promise<T> {
  return await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    async (progress, token) => {
      const abort = new AbortController();
      const subscription = token.onCancellationRequested(() => abort.abort());
      try {
        return await action(abort.signal, (message) => progress.report({ message }));
      } finally {
        subscription.dispose();
      }
    },
  );
}
