import { ERRORS, type ErrorCode, type ErrorDetails, StrataError } from '../protocol/index.ts';

/** What the addon rejects with, and what Node's own file functions throw: the same shape. */
interface SystemError {
  readonly code: string;
  readonly message: string;
  readonly syscall?: string;
  readonly path?: string;
  readonly hint?: string;
}

/** The `Error` object of docs/supervisor.md. */
export interface SupervisorError {
  readonly code: string;
  readonly message: string;
  readonly errno?: number | undefined;
  readonly syscall?: string | undefined;
  readonly path?: string | undefined;
  readonly hint?: string | undefined;
}

const nativeCodes: Readonly<Record<string, ErrorCode>> = {
  CORRUPT_ARCHIVE: 'ARCHIVE_CORRUPT',
  UNSAFE_PATH: 'ARCHIVE_UNSAFE',
  LIMIT_REJECTED: 'LIMIT_INVALID',
  EBUSY: 'LIMIT_BELOW_USE',
  UNSUPPORTED: 'FEATURE_MISSING',
  ENOSPC: 'NO_SPACE',
  EDQUOT: 'NO_SPACE',
  ABORTED: 'CANCELLED',
  ECANCELED: 'CANCELLED',
};

const supervisorCodes: Readonly<Record<string, ErrorCode>> = {
  COMMAND_NOT_FOUND: 'COMMAND_NOT_FOUND',
  COMMAND_NOT_EXECUTABLE: 'COMMAND_NOT_EXECUTABLE',
  WORKING_DIRECTORY: 'WORKING_DIRECTORY_INVALID',
  USER_NOT_FOUND: 'USER_NOT_FOUND',
  LIMIT_REJECTED: 'LIMIT_INVALID',
  KERNEL_FEATURE_MISSING: 'FEATURE_MISSING',
  NO_SPACE: 'NO_SPACE',
  INVALID_REQUEST: 'INVALID_REQUEST',
  NO_SUCH_SESSION: 'EXEC_NOT_RUNNING',
  TOO_MANY_SESSIONS: 'TOO_MANY_REQUESTS',
};

const brokenDiskHint = 'The file system is read-only or has failed: see the messages of the kernel (dmesg).';
/** What a person can do about an errno, whatever was being done. */
const errnoHints: Readonly<Record<string, string>> = { EROFS: brokenDiskHint, EIO: brokenDiskHint };

export function isSystemError(error: unknown): error is Error & SystemError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

/** Whether this is a rejection with that errno name or native code. */
export function hasCode(error: unknown, code: string): boolean {
  return isSystemError(error) && error.code === code;
}

/**
 * A rejection of the addon or of a file function as what a person reads. `doing` says what was tried, with the thing's
 * name: "import '/x.tar'". `codes` are readings that hold in this place alone (ENOENT: PATH_NOT_FOUND).
 */
export function fromNative(error: unknown, doing: string, codes: Readonly<Record<string, ErrorCode>> = {}): StrataError {
  if (error instanceof StrataError) return error;
  if (!isSystemError(error)) return new StrataError('INTERNAL', `${doing} failed`, { cause: error });
  const code = codes[error.code] ?? nativeCodes[error.code] ?? 'RUNTIME_FAILED';
  const details: ErrorDetails = { errno: error.code };
  if (error.syscall !== undefined) details['syscall'] = error.syscall;
  if (error.path !== undefined) details['path'] = error.path;
  // The core puts its hint into the message, too; then a person is better served with what to do about this kind of error.
  const told = error.hint === undefined || error.message.includes(error.hint);
  return new StrataError(code, `${doing}: ${error.message}`, {
    hint: told ? (errnoHints[error.code] ?? ERRORS[code].hint) : error.hint,
    details,
    cause: error,
  });
}

export function fromSupervisor(error: SupervisorError, doing: string): StrataError {
  const code = supervisorCodes[error.code] ?? 'RUNTIME_FAILED';
  const details: ErrorDetails = { supervisorCode: error.code };
  if (error.errno !== undefined) details['errno'] = error.errno;
  if (error.syscall !== undefined) details['syscall'] = error.syscall;
  if (error.path !== undefined) details['path'] = error.path;
  return new StrataError(code, `${doing}: ${error.message}`, { hint: error.hint, details });
}
