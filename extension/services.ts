import type * as vscode from 'vscode';
import type { HelperClient } from './client/helperClient.ts';
import type { ErrorReporter } from './errors.ts';
import type { FigureStore } from './model/figures.ts';
import type { Store } from './model/store.ts';

/** What views, commands and terminals are given: made once, in extension.ts. */
export interface Services {
  readonly client: HelperClient;
  readonly store: Store;
  readonly figures: FigureStore;
  readonly errors: ErrorReporter;
  readonly log: vscode.LogOutputChannel;
}
