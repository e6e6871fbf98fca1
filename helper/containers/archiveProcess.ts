import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import * as z from 'zod';
import { type Copied, copiedSchema, type ErrorCode, type PathStat, pathStatSchema, StrataError } from '../protocol/index.ts';
import type { OciIdMap } from './ociConfig.ts';

/** `strata-runtime archive`'s view of a container. */
export type ArchiveView =
  | { readonly pid: number; readonly cgroupPath: string }
  | {
      readonly overlay: { readonly lower: readonly string[]; readonly upper?: string; readonly work?: string; readonly readOnly?: boolean };
      readonly uidMappings?: readonly OciIdMap[] | undefined;
      readonly gidMappings?: readonly OciIdMap[] | undefined;
      /** A directory that may be made. */
      readonly privatePlace: string;
    };

/** What the process is asked for, in one line (native/runtime/archive.h). */
export type ArchiveRequest =
  | { readonly action: 'stat'; readonly view: ArchiveView; readonly path: string; readonly follow: boolean }
  | { readonly action: 'get'; readonly view: ArchiveView; readonly path: string; readonly follow: boolean; readonly name: string }
  | { readonly action: 'put'; readonly view: ArchiveView; readonly path: string; readonly keepOwners: boolean }
  | { readonly action: 'export'; readonly view: ArchiveView; readonly emptied: readonly string[] }
  | { readonly action: 'list' | 'read' | 'mkdir'; readonly view: ArchiveView; readonly path: string }
  | {
      readonly action: 'write';
      readonly view: ArchiveView;
      readonly path: string;
      readonly sizeBytes: number;
      readonly create: boolean;
      readonly replace: boolean;
    }
  | { readonly action: 'remove'; readonly view: ArchiveView; readonly path: string; readonly recursive: boolean }
  | { readonly action: 'rename'; readonly view: ArchiveView; readonly path: string; readonly to: string; readonly replace: boolean }
  | { readonly action: 'changes'; readonly upper: string; readonly lower: readonly string[]; readonly details?: boolean }
  | { readonly action: 'layer'; readonly upper: string; readonly leftOut: readonly string[] };

const errorSchema = z.looseObject({
  code: z.string(),
  message: z.string(),
  errno: z.int().optional(),
  hint: z.string().optional(),
});

const answerSchema = z.union([
  z.strictObject({ stat: pathStatSchema }),
  z.strictObject({ done: copiedSchema }),
  z.strictObject({ error: errorSchema }),
]);
type Answer = z.infer<typeof answerSchema>;

/** Those that take something on their standard input, and those that give something on their standard output. */
const taking: ReadonlySet<ArchiveRequest['action']> = new Set(['put', 'write']);
const giving: ReadonlySet<ArchiveRequest['action']> = new Set(['get', 'export', 'changes', 'layer', 'list', 'read']);

const maxAnswerLength = 256 * 1024;
const maxErrorsLength = 4096;
/** How long one may take to end by itself once its input has ended. */
const endsByItselfMs = 5000;

/**
 * One process that copies. It comes to its end whatever happens: by itself, by `kill`, or with this process.
 *
 * Invariants: `stat` and `done` settle, at the latest when the process has ended; nobody has to listen to them.
 */
export class ArchiveProcess {
  readonly action: ArchiveRequest['action'];
  /** Of the archive or file, for `put` and `write`; null else, and where the process could not be made. */
  readonly input: Writable | null;
  /** Of the archive or layer, the file, or the lines of `changes` and `list`; null for all others, and where the process could not be made. */
  readonly output: Readable | null;
  readonly stat: Promise<PathStat>;
  readonly done: Promise<Copied>;
  /** The process is gone, and with it every mount that it had. */
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;

  /** `doing`: what an error says was tried, as in "copy '/x' from container "web"". */
  constructor(runtime: string, request: ArchiveRequest, doing: string) {
    this.action = request.action;
    this.#child = spawn(runtime, ['archive'], {
      stdio: [taking.has(request.action) ? 'pipe' : 'ignore', giving.has(request.action) ? 'pipe' : 'ignore', 'pipe', 'pipe'],
      cwd: '/',
      env: {},
    });
    const stat = Promise.withResolvers<PathStat>();
    const done = Promise.withResolvers<Copied>();
    // Where it could not be made there is nothing at all, whatever the types say.
    this.input = this.#child.stdin ?? null;
    this.output = this.#child.stdout ?? null;
    this.stat = stat.promise;
    this.done = done.promise;
    for (const promise of [this.stat, this.done]) promise.catch(() => {});
    const settle = (answer: Answer): void => {
      if ('stat' in answer) stat.resolve(answer.stat);
      else if ('done' in answer) done.resolve(answer.done);
      else for (const { reject } of [stat, done]) reject(failureOf(answer.error, request.action, doing));
    };
    this.ended = this.#follow(request, settle, (error) => {
      for (const { reject } of [stat, done]) reject(new StrataError('RUNTIME_FAILED', `${doing}: ${error}`));
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** Its input is cut off: it takes back what it has half of, and ends. */
  async cutOff(): Promise<void> {
    this.input?.destroy();
    const timer = setTimeout(() => this.kill(), endsByItselfMs);
    await this.ended;
    clearTimeout(timer);
  }

  #follow(request: ArchiveRequest, settle: (answer: Answer) => void, failed: (why: string) => void): Promise<void> {
    const child = this.#child;
    const broken = Promise.withResolvers<void>();
    child.once('error', (error) => {
      failed(`the runtime cannot be run: ${error.message}`);
      broken.resolve();
    });
    const streams = child.stdio as unknown as typeof child.stdio | undefined; // see the constructor
    const control = streams?.[3] as (Readable & Writable) | null | undefined; // 'pipe' gives a socket
    let errors = '';
    child.stderr?.on('data', (bytes: Buffer) => {
      errors = (errors + bytes.toString()).slice(-maxErrorsLength);
    });
    child.stdin?.on('error', () => {}); // it has ended: its answer tells why
    control?.on('error', () => {});
    control?.write(`${JSON.stringify(request)}\n`);
    let answers = '';
    control?.setEncoding('utf8');
    control?.on('data', (text: string) => {
      answers += text;
      if (answers.length > maxAnswerLength) this.kill();
      const lines = answers.split('\n');
      answers = lines.pop() ?? '';
      for (const line of lines) {
        const answer = parseAnswer(line);
        if (answer !== undefined) settle(answer);
      }
    });
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => {
        // What it still said is read before it is told that it said nothing.
        const over = (): void => failed(errors.trim() === '' ? 'the process that copies was ended' : errors.trim());
        if (control === null || control === undefined || control.destroyed) over();
        else control.once('close', over);
        resolve();
      });
    });
    return Promise.race([broken.promise, exited]);
  }
}

function parseAnswer(line: string): Answer | undefined {
  try {
    return answerSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined; // then its end tells
  }
}

/** By errno, since they come from the container's files and not from the host's. */
const codes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'PATH_NOT_FOUND',
  ELOOP: 'PATH_NOT_FOUND',
  ENOTDIR: 'NOT_A_DIRECTORY',
  EISDIR: 'NOT_A_FILE',
  EEXIST: 'PATH_EXISTS',
  ENOTEMPTY: 'DIRECTORY_NOT_EMPTY',
  EBUSY: 'PATH_MOUNTED',
  EFBIG: 'FILE_TOO_LARGE',
  EINVAL: 'INVALID_REQUEST',
  EROFS: 'READ_ONLY',
  ENOSPC: 'NO_SPACE',
  EDQUOT: 'NO_SPACE',
  EBADMSG: 'ARCHIVE_CORRUPT',
  EXDEV: 'ARCHIVE_UNSAFE',
  E2BIG: 'ARCHIVE_TOO_LARGE',
  EPROTONOSUPPORT: 'ARCHIVE_UNSUPPORTED',
  ENAMETOOLONG: 'INVALID_REQUEST',
  EACCES: 'PERMISSION_DENIED',
  EPERM: 'PERMISSION_DENIED',
};

const codesOf: Readonly<Partial<Record<ArchiveRequest['action'], Readonly<Record<string, ErrorCode>>>>> = {
  write: { EBADMSG: 'INVALID_REQUEST' },
  rename: { EXDEV: 'RENAME_IMPOSSIBLE' },
};

const hints: Readonly<Record<string, string>> = {
  ENOENT: 'Look at what is there: "strata exec CONTAINER ls".',
  ELOOP: 'A symbolic link there leads in a circle or nowhere.',
  EISDIR: 'Remove the directory first, or choose another place.',
  ENOSPC: "Free space where the container's files are: the helper's data directory, or its volume or tmpfs.",
  ESTALE: 'The container moved a directory while it was copied: copy again.',
  EACCES: "The container's own root may not do that either.",
  EPERM: "The container's own root may not do that either.",
};

const runtimeCodes: Readonly<Record<string, ErrorCode>> = {
  INVALID_STATE: 'CONTAINER_NOT_RUNNING',
  KERNEL_FEATURE_MISSING: 'FEATURE_MISSING',
  NO_SPACE: 'NO_SPACE',
};

function failureOf(error: z.infer<typeof errorSchema>, action: ArchiveRequest['action'], doing: string): StrataError {
  const errno = Object.entries(constants.errno).find(([, number]) => number === error.errno)?.[0];
  const known = error.code === 'INTERNAL' && errno !== undefined ? (codesOf[action]?.[errno] ?? codes[errno]) : undefined;
  return new StrataError(runtimeCodes[error.code] ?? known ?? 'RUNTIME_FAILED', `${doing}: ${error.message}`, {
    hint: error.hint ?? (errno === undefined ? undefined : hints[errno]),
    details: errno === undefined ? {} : { errno },
  });
}
