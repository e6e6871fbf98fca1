import * as z from 'zod';
import { containerIdSchema, digestSchema, execIdSchema } from '../ids.ts';
import { limitsChangeSchema, limitsSchema } from './limits.ts';
import { bytes, timestamp } from './values.ts';

export const exitSchema = z.strictObject({
  /** Exit status; null where a signal ended it or nobody saw the end. */
  code: z.int().min(0).max(255).nullable(),
  /** "SIGKILL"; null where it exited by itself or nobody saw the end. */
  signal: z.string().max(16).nullable(),
  /** The memory limit made the kernel kill a process of the container. */
  oomKilled: z.boolean(),
  /** In words, for people: "exited with status 1", "killed by SIGKILL: out of memory (limit 64 MiB)", "the host restarted". */
  reason: z.string(),
  finishedAt: timestamp,
});
export type Exit = z.infer<typeof exitSchema>;

export const containerStateSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('created') }),
  /** `paused`: it stands still (container.pause), and takes no cpu. */
  z.strictObject({ kind: z.literal('running'), pid: z.int(), startedAt: timestamp, paused: z.literal(true).optional() }),
  /** `restartsAt`: when its restart policy starts it again. */
  z.strictObject({ kind: z.literal('exited'), exit: exitSchema, startedAt: timestamp.nullable(), restartsAt: timestamp.optional() }),
]);
export type ContainerState = z.infer<typeof containerStateSchema>;

/** Whether it is started again when it has ended, as Docker has it. `maximumRetryCount` is of on-failure; absent or 0: no bound. */
export const restartPolicySchema = z
  .strictObject({
    name: z.enum(['no', 'on-failure', 'always', 'unless-stopped']),
    maximumRetryCount: z.int().min(0).max(1_000_000).optional(),
  })
  .refine(({ name, maximumRetryCount }) => maximumRetryCount === undefined || name === 'on-failure', {
    path: ['maximumRetryCount'],
    error: 'only the restart policy on-failure counts its retries',
  });
export type RestartPolicy = z.infer<typeof restartPolicySchema>;

/** What the checks of a running container have found; `failingStreak`: how many failed one after the other. */
export const healthSchema = z.strictObject({ status: z.enum(['starting', 'healthy', 'unhealthy']), failingStreak: z.int().min(0) });
export type Health = z.infer<typeof healthSchema>;

export const healthResultSchema = z.strictObject({
  startedAt: timestamp,
  finishedAt: timestamp,
  /** 128 and the signal where one ended it; null where it was killed because it took too long, or could not be run. */
  exitCode: z.int().nullable(),
  /** The first 4096 bytes of what it wrote, or why it could not be run. */
  output: z.string(),
});
export type HealthResult = z.infer<typeof healthResultSchema>;

/** With the last five checks, the newest last. */
export const healthDetailsSchema = healthSchema.extend({ results: z.array(healthResultSchema) });
export type HealthDetails = z.infer<typeof healthDetailsSchema>;

/** Longer command lines are cut off in what lists and events carry; `inspect` has the whole one as `process.args`. */
export const maxSummaryCommandLength = 4096;

/** What cannot be done for it as long as it runs, because an earlier version of Strata started it: a restart does away with them. */
const limitationsSchema = z.array(z.string());

/** What a list shows. Its `revision` grows with each change of this container. */
export const containerSummarySchema = z.strictObject({
  id: containerIdSchema,
  name: z.string(),
  /** The reference as it was asked for, and the image's id. */
  image: z.string(),
  imageId: digestSchema,
  /** Cut off at maxSummaryCommandLength characters. */
  command: z.array(z.string()),
  createdAt: timestamp,
  state: containerStateSchema,
  /** While it runs, of one whose health is checked. */
  health: healthSchema.optional(),
  tty: z.boolean(),
  openStdin: z.boolean(),
  autoRemove: z.boolean(),
  restartPolicy: restartPolicySchema,
  /** Starts by its restart policy since a person last started it. */
  restartCount: z.int().min(0),
  labels: z.record(z.string(), z.string()),
  limits: limitsSchema,
  /** Absent: none. */
  limitations: limitationsSchema.optional(),
  revision: z.int(),
});
export type ContainerSummary = z.infer<typeof containerSummarySchema>;

export const idMapSchema = z.strictObject({ containerId: z.int().min(0), hostId: z.int().min(0), size: z.int().min(1) });

/** `key=value`, no NUL. */
const environmentEntry = z
  .string()
  .max(131_072)
  .regex(/^[^=\0]+=[^\0]*$/, { error: 'an environment entry looks like NAME=value' });
const argument = z
  .string()
  .max(131_072)
  .regex(/^[^\0]*$/, { error: 'an argument must not hold a NUL byte' });

const healthTime = z
  .int()
  .min(1, { error: 'a time of a health check is at least 1 ms' })
  .max(86_400_000, { error: 'a time of a health check is at most a day' });

/** How the health of a container is checked, as Docker has it: what is absent is as the image says, else 30 s, 30 s, 0, 5 s and 3. */
export const healthcheckSchema = z.strictObject({
  /** ["NONE"], ["CMD", program, argument…] or ["CMD-SHELL", script]: exit status 0 is healthy. */
  test: z
    .array(argument)
    .max(4096)
    .refine(
      ([kind, ...words]) =>
        (kind === 'NONE' && words.length === 0) || (kind === 'CMD' && words.length > 0) || (kind === 'CMD-SHELL' && words.length === 1),
      { error: 'a health check is ["NONE"], ["CMD", program, argument…] or ["CMD-SHELL", script]' },
    )
    .optional(),
  /** From the end of one check to the next. */
  intervalMs: healthTime.optional(),
  /** What takes longer is killed and has failed. */
  timeoutMs: healthTime.optional(),
  /** After the start, in which failures do not count. */
  startPeriodMs: z.int().min(0).max(86_400_000, { error: 'a time of a health check is at most a day' }).optional(),
  /** From one check to the next while the start period lasts. */
  startIntervalMs: healthTime.optional(),
  /** Failures one after the other that make it unhealthy. */
  retries: z.int().min(1, { error: 'a health check fails at least once' }).max(1_000_000).optional(),
});

/** Everything a person can ask for at create. Absent: the image's value, else the default. */
export const createOptionsSchema = z.strictObject({
  image: z.string().min(1).max(512),
  name: z.string().max(128).optional(),
  /** Replaces the image's Cmd. */
  command: z.array(argument).max(4096).optional(),
  /** Replaces the image's Entrypoint; [] clears it. */
  entrypoint: z.array(argument).max(4096).optional(),
  env: z.array(environmentEntry).max(4096).optional(),
  workingDirectory: z.string().max(4096).startsWith('/', { error: 'a working directory begins with "/"' }).optional(),
  /** `name|uid[:name|gid]`. */
  user: z.string().max(256).optional(),
  hostname: z
    .string()
    .max(64)
    .regex(/^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$/, {
      error: 'a host name has letters, digits, "." and "-", and begins and ends with a letter or digit',
    })
    .optional(),
  tty: z.boolean().optional(),
  openStdin: z.boolean().optional(),
  autoRemove: z.boolean().optional(),
  /** Its first process is Strata's own, which reaps what loses its parent and hands signals on to the command. */
  init: z.boolean().optional(),
  restartPolicy: restartPolicySchema.optional(),
  readOnlyRootfs: z.boolean().optional(),
  noNewPrivileges: z.boolean().optional(),
  capAdd: z.array(z.string().max(64)).max(64).optional(),
  capDrop: z.array(z.string().max(64)).max(64).optional(),
  seccomp: z.enum(['default', 'unconfined']).optional(),
  healthcheck: healthcheckSchema.optional(),
  stopSignal: z.string().max(16).optional(),
  stopTimeoutMs: z.int().min(0).max(3_600_000).optional(),
  labels: z.record(z.string().max(256), z.string().max(4096)).optional(),
  /** Bytes of one segment of its log, which is rotated then (DEFAULT_LOG_LIMITS). */
  logMaxSize: z
    .int()
    .min(4096, { error: 'a segment of a log has 4 KiB at least' })
    .max(2 ** 40, { error: 'a segment of a log has 1 TiB at most' })
    .optional(),
  /** How many segments of its log are kept, the one that is written to among them. */
  logMaxFiles: z
    .int()
    .min(1, { error: 'a log has one segment at least' })
    .max(1000, { error: 'a log has 1000 segments at most' })
    .optional(),
  limits: limitsChangeSchema.optional(),
  /** Run in a user namespace with these maps; layers are shared by id-mapped mounts. */
  userNamespace: z.strictObject({ uidMaps: z.array(idMapSchema).min(1).max(64), gidMaps: z.array(idMapSchema).min(1).max(64) }).optional(),
  /** A time namespace with these offsets to the host's clocks, in seconds. */
  timeNamespace: z.strictObject({ monotonicSeconds: z.int().optional(), boottimeSeconds: z.int().optional() }).optional(),
  /** tmpfs mounts: path → mount options. */
  tmpfs: z.record(z.string().startsWith('/'), z.string()).optional(),
});
export type CreateOptions = z.infer<typeof createOptionsSchema>;

export const terminalSizeSchema = z.strictObject({ columns: z.int().min(1).max(10_000), rows: z.int().min(1).max(10_000) });
export type TerminalSize = z.infer<typeof terminalSizeSchema>;

/** One that runs. Its command is cut off at maxSummaryCommandLength characters. */
export const execSessionSchema = z.strictObject({
  id: execIdSchema,
  command: z.array(z.string()),
  /** As it was asked for, or the container's own. */
  user: z.string(),
  tty: z.boolean(),
  /** It has no streams: it was started so, or a helper that it spoke through has gone. */
  detached: z.boolean(),
  pid: z.int(),
  startedAt: timestamp,
});
export type ExecSession = z.infer<typeof execSessionSchema>;

export const execSummarySchema = execSessionSchema.extend({ container: containerIdSchema, containerName: z.string() });
export type ExecSummary = z.infer<typeof execSummarySchema>;

/** Everything `inspect` shows. */
export const containerDetailsSchema = containerSummarySchema.extend({
  /** Of the run that is, or of the last one since the helper's start. */
  health: healthDetailsSchema.optional(),
  options: createOptionsSchema,
  process: z.strictObject({
    args: z.array(z.string()),
    env: z.array(z.string()),
    cwd: z.string(),
    user: z.string(),
    capabilities: z.array(z.string()),
    noNewPrivileges: z.boolean(),
    seccomp: z.string(),
  }),
  hostname: z.string(),
  stopSignal: z.string(),
  stopTimeoutMs: z.int(),
  paths: z.strictObject({ state: z.string(), upper: z.string(), work: z.string(), log: z.string(), run: z.string() }),
  cgroup: z.strictObject({ path: z.string(), mode: z.enum(['v1', 'v2', 'hybrid']) }),
  namespaces: z.record(z.string(), z.string()),
  /** pid of the supervisor; null while none runs. */
  supervisorPid: z.int().nullable(),
  execSessions: z.array(execSessionSchema),
  /** Also where there are none. */
  limitations: limitationsSchema,
});
export type ContainerDetails = z.infer<typeof containerDetailsSchema>;

/** A place in a container's log: how many bytes of each stream come before it, since the container was made. */
export const logPositionSchema = z.strictObject({ stdout: bytes, stderr: bytes });
export type LogPosition = z.infer<typeof logPositionSchema>;

/**
 * Output that the reader of a log does not get, where it would have been. "rotated": it was removed before this reader had taken it;
 * "diskFull": it was never written, and is in no position; "damaged": a crash of the host took it. `at` is where the log goes on. One JSON
 * object a line.
 */
export const logNoticeSchema = z.strictObject({
  missed: z.strictObject({ bytes, reason: z.enum(['rotated', 'diskFull', 'damaged']) }),
  at: logPositionSchema,
});
export type LogNotice = z.infer<typeof logNoticeSchema>;

/**
 * A line of a log in the format "json". `text` is without the line's end; `base64` stands instead where that is no UTF-8. `partial`:
 * nothing ended it, or it goes on in the next object of its stream, for no object holds more than 256 KiB of it.
 */
export const logLineSchema = z.strictObject({
  /** When its first byte was written: RFC 3339, UTC, with nanoseconds. */
  time: timestamp,
  stream: z.enum(['stdout', 'stderr']),
  text: z.string().optional(),
  base64: z.string().optional(),
  partial: z.literal(true).optional(),
});
export type LogLine = z.infer<typeof logLineSchema>;

/** What a container's log keeps where nobody asks for something else: 100 MiB at most. */
export const DEFAULT_LOG_LIMITS = { maxSize: 10 * 1024 * 1024, maxFiles: 10 } as const;

/** Longer command lines are cut off. */
export const maxProcessCommandLength = 4096;

export const containerProcessSchema = z.strictObject({
  hostPid: z.int(),
  /** The pid as the container's own pid namespace has it. */
  containerPid: z.int(),
  parentHostPid: z.int(),
  /** Host user and the user as the container's namespace has it. */
  hostUid: z.int(),
  containerUid: z.int().nullable(),
  state: z.string(),
  startedAt: timestamp,
  cpuMs: z.int(),
  residentBytes: bytes,
  command: z.string().max(maxProcessCommandLength),
});
export type ContainerProcess = z.infer<typeof containerProcessSchema>;
