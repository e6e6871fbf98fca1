import { type Role, StrataError } from '../../helper/protocol/index.ts';

/** Where the client stands with its helper; each kind asks something else of the user. */
export type HelperState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected'; readonly role: Role; readonly helperVersion: string }
  /** The directory of the socket is not there: probably no helper was ever started on this host. */
  | { readonly kind: 'notInstalled' }
  | { readonly kind: 'notRunning'; readonly detail: string }
  | { readonly kind: 'notPermitted' }
  | { readonly kind: 'incompatible'; readonly detail: string }
  /** It runs, and has more containers and images than one answer holds. */
  | { readonly kind: 'tooLarge'; readonly detail: string }
  /** This side of the window is no Linux: no helper can run here. */
  | { readonly kind: 'unsupportedHost' };

export type HelperStateKind = HelperState['kind'];

/** What a failed attempt to connect means. `directoryExists` is about the socket's directory. */
export function stateAfterFailure(error: unknown, directoryExists: boolean): HelperState {
  if (error instanceof StrataError) {
    if (error.code === 'PROTOCOL_MISMATCH') return { kind: 'incompatible', detail: error.message };
    if (error.code === 'PERMISSION_DENIED') return { kind: 'notPermitted' };
    if (error.code === 'ANSWER_TOO_LARGE') return { kind: 'tooLarge', detail: error.message };
    return { kind: 'notRunning', detail: error.message };
  }
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EACCES' || code === 'EPERM') return { kind: 'notPermitted' };
  if (code === 'ENOENT') return directoryExists ? { kind: 'notRunning', detail: 'there is no socket' } : { kind: 'notInstalled' };
  if (code === 'ECONNREFUSED') return { kind: 'notRunning', detail: 'nobody listens on the socket' };
  return { kind: 'notRunning', detail: error instanceof Error ? error.message : String(error) };
}

/** Milliseconds before attempt n (0 is the first retry): doubling, with a ceiling at which it no longer costs anything. */
export function backOffMs(attempt: number): number {
  return Math.min(200 * 2 ** attempt, 30_000);
}
