import * as vscode from 'vscode';
import { StrataError } from '../helper/protocol/index.ts';

const SHOW_LOG = 'Show Log';

/** The one place where an error becomes what a person sees. */
export class ErrorReporter {
  readonly #log: vscode.LogOutputChannel;

  constructor(log: vscode.LogOutputChannel) {
    this.#log = log;
  }

  /** `action` is what failed, as a beginning of a sentence: "Stop web". A cancelled request says nothing. */
  async show(action: string, error: unknown): Promise<void> {
    if (error instanceof StrataError && error.code === 'CANCELLED') return;
    this.#log.error(`${action}: ${describe(error)}`);
    const wantsLog = !(error instanceof StrataError) || error.retryable;
    const answer = await vscode.window.showErrorMessage(`${action}: ${messageOf(error)}`, ...(wantsLog ? [SHOW_LOG] : []));
    if (answer === SHOW_LOG) this.#log.show();
  }

  /** Runs an action and shows what it throws; undefined then. */
  async guard<T>(action: string, run: () => Promise<T>): Promise<T | undefined> {
    try {
      return await run();
    } catch (error) {
      // Not awaited: the notification stays for as long as the user likes.
      void this.show(action, error);
      return undefined;
    }
  }
}

/** What happened and what to do next, as sentences. */
export function messageOf(error: unknown): string {
  if (!(error instanceof StrataError)) return error instanceof Error ? error.message : String(error);
  const message = /[.!?]$/.test(error.message) ? error.message : `${error.message}.`;
  return error.hint === '' || error.message.includes(error.hint) ? message : `${message} ${error.hint}`;
}

function describe(error: unknown): string {
  if (error instanceof StrataError) return `${error.code} ${error.message} ${JSON.stringify(error.details)}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
