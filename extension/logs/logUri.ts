import * as vscode from 'vscode';
import { type ContainerId, containerIdSchema } from '../../helper/protocol/index.ts';

export const LOG_SCHEME = 'strata-log';
/** Its language is found by this beginning of the path: see contributions/languages.ts. */
const ROOT = '/container-log/';

/** strata-log:/container-log/<id>/web.log: the last part is the tab's title. */
export function logUri(container: ContainerId, name: string): vscode.Uri {
  return vscode.Uri.from({ scheme: LOG_SCHEME, path: `${ROOT}${container}/${name.replaceAll('/', '∕')}.log` });
}

/** The container of a log's URI, which can come from anywhere: undefined where it names none. */
export function containerOfLog(uri: vscode.Uri | undefined): ContainerId | undefined {
  if (uri?.scheme !== LOG_SCHEME || !uri.path.startsWith(ROOT)) return undefined;
  const id = containerIdSchema.safeParse(uri.path.slice(ROOT.length).split('/')[0]);
  return id.success ? id.data : undefined;
}
