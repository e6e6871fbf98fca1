import * as z from 'zod';

/** What a person runs to be let in; -f, because the group is not there on a host where nobody made it. */
export const JOIN_GROUP_COMMAND = 'sudo groupadd -f --system strata && sudo usermod -aG strata $USER';

/**
 * Every error code of the wire, once: whether the same request may succeed later by itself, and what a person can do
 * where the message has no better hint.
 */
export const ERRORS = {
  INVALID_REQUEST: { retryable: false, hint: 'Check the named field.' },
  UNKNOWN_METHOD: { retryable: false, hint: 'The helper is older or newer than this client: update both to the same version.' },
  PROTOCOL_MISMATCH: { retryable: false, hint: 'Update the Strata extension and the helper to the same version.' },
  TOO_MANY_REQUESTS: { retryable: true, hint: 'Wait for earlier requests to finish.' },
  PERMISSION_DENIED: {
    retryable: false,
    hint: `Join the group "strata" (as powerful as root): ${JOIN_GROUP_COMMAND}. Then restart the helper and log in again.`,
  },
  ANSWER_TOO_LARGE: { retryable: false, hint: 'Ask for less at once.' },
  CANCELLED: { retryable: true, hint: 'The request was cancelled.' },
  TIMEOUT: { retryable: true, hint: "Try again; if it lasts, look at the helper's log." },
  CONNECTION_CLOSED: { retryable: true, hint: 'The helper went away: start it again.' },
  CONTAINER_NOT_FOUND: { retryable: false, hint: 'List the containers with "strata ps --all".' },
  CONTAINER_AMBIGUOUS: { retryable: false, hint: 'Give more digits of the id, or the name.' },
  NAME_IN_USE: { retryable: false, hint: 'Choose another name, or remove the container that has it.' },
  CONTAINER_RUNNING: { retryable: false, hint: 'Stop the container first, or force the removal.' },
  CONTAINER_PAUSED: { retryable: false, hint: 'Let it go on first: "strata unpause".' },
  CONTAINER_NOT_RUNNING: { retryable: false, hint: 'Start the container first.' },
  EXEC_NOT_FOUND: { retryable: false, hint: 'List the exec sessions that run with "strata execs".' },
  EXEC_NOT_RUNNING: { retryable: false, hint: 'It has ended: nothing has to be done.' },
  IMAGE_NOT_FOUND: { retryable: false, hint: 'List the images with "strata images"; bring one with "strata pull" or "strata import".' },
  IMAGE_AMBIGUOUS: { retryable: false, hint: 'Give more digits of the id, or name and tag.' },
  IMAGE_IN_USE: { retryable: false, hint: 'Remove the containers that use it first.' },
  IMAGE_INVALID: { retryable: false, hint: 'The image is not what the OCI image specification asks for: make it again.' },
  REFERENCE_INVALID: { retryable: false, hint: 'An image name looks like "name:tag", in lower case.' },
  REGISTRY_UNREACHABLE: {
    retryable: true,
    hint: 'Check the name of the registry and the network; what was downloaded is kept for the next try.',
  },
  REGISTRY_DENIED: {
    retryable: false,
    hint: 'Log in: "docker login HOST" or "podman login HOST" keeps credentials that Strata uses, too.',
  },
  REGISTRY_FAILED: { retryable: true, hint: 'Try again later; what was downloaded is kept.' },
  LAYER_IMPOSSIBLE: { retryable: false, hint: 'Rename or remove what the message names, and try again.' },
  LAYER_NOT_FOUND: { retryable: false, hint: 'Refresh the view: the container or image has changed.' },
  PATH_NOT_FOUND: { retryable: false, hint: 'Refresh the view: the file may be gone.' },
  NOT_A_FILE: { retryable: false, hint: 'Only regular files can be opened.' },
  COPY_INTERRUPTED: { retryable: true, hint: 'Copy again.' },
  PATH_EXISTS: { retryable: false, hint: 'Choose another name, or remove what is there.' },
  PATH_MOUNTED: { retryable: false, hint: 'What is mounted in a container stays where it is: choose something in it.' },
  DIRECTORY_NOT_EMPTY: { retryable: false, hint: 'Remove what is in it first.' },
  FILE_TOO_LARGE: { retryable: false, hint: 'Copy it: "strata cp".' },
  RENAME_IMPOSSIBLE: {
    retryable: false,
    hint: 'A directory that the image has, and what is on another mount, is moved by copying it: "mv" in a shell of the container does that.',
  },
  NOT_A_DIRECTORY: { retryable: false, hint: 'Name a directory, or remove what is in its place.' },
  READ_ONLY: { retryable: false, hint: 'Copy to a place that can be written: a volume or a tmpfs of the container.' },
  ARCHIVE_CORRUPT: { retryable: false, hint: 'The archive is cut off or damaged: make it again.' },
  ARCHIVE_UNSAFE: { retryable: false, hint: 'The archive tries to write outside its root: do not trust it.' },
  ARCHIVE_TOO_LARGE: {
    retryable: false,
    hint: 'The archive would unpack to more than an image may hold: check where it comes from.',
  },
  ARCHIVE_UNSUPPORTED: { retryable: false, hint: 'Unpack it first, or compress it with gzip, zstd or xz.' },
  COMMAND_NOT_FOUND: { retryable: false, hint: "Check the command and the image's PATH." },
  COMMAND_NOT_EXECUTABLE: { retryable: false, hint: 'Make the file executable, or name an interpreter.' },
  USER_NOT_FOUND: { retryable: false, hint: "Use a name of the image's /etc/passwd, or a number." },
  WORKING_DIRECTORY_INVALID: { retryable: false, hint: 'Choose a directory that exists in the image.' },
  LIMIT_INVALID: { retryable: false, hint: 'Choose a value within the range.' },
  LIMIT_BELOW_USE: { retryable: false, hint: 'Choose a limit above the present use, or free memory first.' },
  FEATURE_MISSING: { retryable: false, hint: 'The host\'s kernel or configuration lacks it: see "strata info".' },
  NO_SPACE: { retryable: true, hint: "Free space below the helper's data directory." },
  EVENTS_GONE: { retryable: false, hint: 'Take a snapshot (events.subscribe), and go on from there.' },
  STREAM_NOT_FOUND: { retryable: false, hint: 'The stream has ended.' },
  RUNTIME_FAILED: { retryable: true, hint: "See the details, and the helper's log." },
  INTERNAL: { retryable: true, hint: "This is a fault in Strata: please report it with the helper's log." },
} as const satisfies Record<string, { readonly retryable: boolean; readonly hint: string }>;

export type ErrorCode = keyof typeof ERRORS;

export const errorCodes = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]; // Object.keys loses the key type

/** JSON-RPC error `data` of every Strata error. `details` holds what the message names: paths, limits, present values. */
export const errorDataSchema = z.strictObject({
  code: z.enum(errorCodes),
  hint: z.string().optional(),
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).optional(),
});
export type ErrorData = z.infer<typeof errorDataSchema>;

/** The one JSON-RPC error number of Strata's own errors (the server-defined range of JSON-RPC 2.0); `data.code` tells which. */
export const STRATA_RPC_ERROR = -32000;

export type ErrorDetails = NonNullable<ErrorData['details']>;

/** An error that a person may read: what happened, to which thing (message), and what to do next (hint). */
export class StrataError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly details: ErrorDetails;

  constructor(
    code: ErrorCode,
    message: string,
    options: { readonly hint?: string | undefined; readonly details?: ErrorDetails | undefined; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'StrataError';
    this.code = code;
    this.hint = options.hint ?? ERRORS[code].hint;
    this.details = options.details ?? {};
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}
