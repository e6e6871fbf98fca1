import type * as vscode from 'vscode';
import { StrataError } from '../../helper/protocol/index.ts';

/**
 * The path of a file that a person has chosen. In a remote window a dialog can show the files of the person's own machine ("Show Local"),
 * which are not to be read from here: PATH_NOT_FOUND.
 */
export function hostPath(uri: vscode.Uri): string {
  if (uri.scheme === 'file') return uri.fsPath;
  throw new StrataError('PATH_NOT_FOUND', `${uri.path} is not on the host that the containers run on (${uri.scheme})`, {
    hint: 'Copy it there first, and choose it again.',
  });
}
