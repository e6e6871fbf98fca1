import * as z from 'zod';
import { containerIdSchema, containerReferenceSchema, execIdSchema, execReferenceSchema, streamIdSchema } from '../ids.ts';
import {
  containerDetailsSchema,
  containerProcessSchema,
  containerSummarySchema,
  createOptionsSchema,
  execSummarySchema,
  exitSchema,
  logPositionSchema,
  restartPolicySchema,
  terminalSizeSchema,
} from '../model/containers.ts';
import { imageSummarySchema } from '../model/images.ts';
import { limitsChangeSchema, limitsSchema } from '../model/limits.ts';
import { container, empty, LONG_MS, type Method, method, SHORT_MS } from './method.ts';

/** Labels are part of what lists and events carry: a container with more would crowd out the others. */
export const maxLabelCharacters = 16_384;

const askedOptions = createOptionsSchema.refine(
  ({ labels }) => Object.entries(labels ?? {}).reduce((sum, [key, value]) => sum + key.length + value.length, 0) <= maxLabelCharacters,
  { path: ['labels'], error: `the labels of a container have ${maxLabelCharacters} characters together at most` },
);

const command = z
  .array(
    z
      .string()
      .max(131_072)
      .regex(/^[^\0]*$/),
  )
  .min(1)
  .max(4096);

export const containerMethods = {
  'container.list': method({
    doc: 'All containers, newest first; `all: false` leaves out those that do not run.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ all: z.boolean() }),
    result: z.strictObject({ containers: z.array(containerSummarySchema) }),
  }),
  'container.inspect': method({
    doc: 'Everything about one container.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: container,
    result: containerDetailsSchema,
  }),
  'container.create': method({
    doc: 'Makes a container without starting it.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ options: askedOptions }),
    result: z.strictObject({ id: containerIdSchema, name: z.string(), warnings: z.array(z.string()) }),
  }),
  'container.start': method({
    doc: 'Starts a container that is created or exited. With `attach` a stream of its output from this start on is opened first (stdin too when it has one, unless `stdin` is false).',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      attach: z.boolean().optional(),
      stdin: z.boolean().optional(),
      size: terminalSizeSchema.optional(),
    }),
    result: z.strictObject({ pid: z.int(), stream: streamIdSchema.optional() }),
  }),
  'container.run': method({
    doc: 'Creates and starts in one round trip. With `attach` a stream carries its output (and stdin when it has one). The exit comes as the event container.exited, after the last output.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ options: askedOptions, attach: z.boolean().optional(), size: terminalSizeSchema.optional() }),
    result: z.strictObject({
      id: containerIdSchema,
      name: z.string(),
      pid: z.int(),
      stream: streamIdSchema.optional(),
      warnings: z.array(z.string()),
    }),
  }),
  'container.stop': method({
    doc: 'Sends the stop signal, and SIGKILL when the grace time is over; answers when it has ended. Ended already is success. What was begun goes on when the request is cancelled.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      signal: z.string().max(16).optional(),
      graceMs: z.int().min(0).max(3_600_000).optional(),
    }),
    result: z.strictObject({ exit: exitSchema }),
  }),
  'container.restart': method({
    doc: 'Stops the container as container.stop does, where it runs, and starts it. What was begun goes on when the request is cancelled; a stop that comes meanwhile ends it with CANCELLED. One that removes itself stays meanwhile. Should the helper end, the next one goes on with it.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      signal: z.string().max(16).optional(),
      graceMs: z.int().min(0).max(3_600_000).optional(),
    }),
    result: z.strictObject({ pid: z.int() }),
  }),
  'container.pause': method({
    doc: 'Freezes every process of a running container where it is. Paused already is success. Until it is resumed it takes signals, but none that ends it is heard, except by container.stop, container.kill with SIGKILL and container.remove, which resume it.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: container,
    result: empty,
  }),
  'container.resume': method({
    doc: 'Lets a paused container go on. Not paused is success.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: container,
    result: empty,
  }),
  'container.kill': method({
    doc: 'Sends a signal ("SIGKILL", "KILL" or a number as text) to the main process. SIGKILL, SIGTERM, SIGINT, SIGQUIT and the stop signal count as a stop: its restart policy rests.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ container: containerReferenceSchema, signal: z.string().max(16).optional() }),
    result: empty,
  }),
  'container.remove': method({
    doc: 'Removes a container with its upper layer and log; `force` kills it first when it runs.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({ container: containerReferenceSchema, force: z.boolean().optional() }),
    result: z.strictObject({ id: containerIdSchema }),
  }),
  'container.rename': method({
    doc: 'Gives a container another name.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ container: containerReferenceSchema, name: z.string().max(128) }),
    result: empty,
  }),
  'container.commit': method({
    doc: 'Makes an image of a container: its image, and what it changed as one layer more. What it was told (command, environment, labels and so on) becomes the config. A running container stands still meanwhile, unless `pause` is false.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      /** Name of the image; absent: it has none. */
      reference: z.string().max(512).optional(),
      /** Dockerfile instructions that change the config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR. */
      changes: z.array(z.string().max(65_536)).max(1000).optional(),
      author: z.string().max(4096).optional(),
      message: z.string().max(65_536).optional(),
      /** When it was made; absent: now. The same content made at the same time is the same image. */
      created: z.iso.datetime({ offset: true }).optional(),
      pause: z.boolean().optional(),
    }),
    result: z.strictObject({ image: imageSummarySchema }),
  }),
  'container.wait': method({
    doc: 'Answers when the container has ended.',
    role: 'observe',
    timeoutMs: LONG_MS,
    params: container,
    result: z.strictObject({ exit: exitSchema }),
  }),
  'container.logs': method({
    doc: 'A stream of what the container wrote; with `follow` it goes on until the container ends or the stream is closed. `from` is where it begins, `first` the oldest that is still kept. Output that a reader does not get is told by a notice (logNoticeSchema) on the channel `bytes`.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z
      .strictObject({
        container: containerReferenceSchema,
        follow: z.boolean().optional(),
        /** The last n of the lines that the rest lets through; absent: all. */
        tail: z.int().min(0).max(10_000_000).optional(),
        /** Milliseconds since the epoch: begins with the first line that is not older. The time of a line is that of its first byte. */
        sinceMs: z.number().optional(),
        /** Milliseconds since the epoch: ends before the first line that is younger, or, with `follow`, at that time. */
        untilMs: z.number().optional(),
        /** false: without this stream. */
        stdout: z.boolean().optional(),
        stderr: z.boolean().optional(),
        /**
         * "raw", where absent: the bytes as they were written, stdout and stderr on channels of their own. "json": a JSON object a line (logLineSchema)
         * and notices between, both streams in order on the channel `bytes`.
         */
        format: z.enum(['raw', 'json']).optional(),
        /** Of the format "raw": each line starts with its time (RFC 3339, UTC, with nanoseconds) and a blank. */
        timestamps: z.boolean().optional(),
        /**
         * Goes on exactly where a stream was cut off, instead of `tail` and `sinceMs`: `from` of its answer, or `at` of its last notice, and, of each
         * stream, how many bytes came since, without the times that `timestamps` adds.
         */
        resume: logPositionSchema.optional(),
      })
      .refine(({ stdout, stderr }) => stdout !== false || stderr !== false, {
        path: ['stdout'],
        error: 'of a log at least one stream is shown',
      }),
    result: z.strictObject({ stream: streamIdSchema, tty: z.boolean(), from: logPositionSchema, first: logPositionSchema }),
  }),
  'container.attach': method({
    doc: "A stream of a running container's output from now on, and to its stdin when it has one (unless `stdin` is false). The input of several clients is one: it ends when one of them ends it and no other is joined that may go on. Closing the stream leaves the container, and the others, alone.",
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ container: containerReferenceSchema, stdin: z.boolean().optional(), size: terminalSizeSchema.optional() }),
    result: z.strictObject({ stream: streamIdSchema, tty: z.boolean() }),
  }),
  'container.exec': method({
    doc: "Runs another command in a running container. Its input and output are the stream's channels; its end is the event exec.exited and then the stream's close. Closing the stream hangs it up. With `detach` it has no stream, what it writes is thrown away, and it goes on until it ends by itself, by exec.kill or with the container.",
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      command,
      env: z.array(z.string()).max(4096).optional(),
      workingDirectory: z.string().startsWith('/').optional(),
      user: z.string().max(256).optional(),
      tty: z.boolean().optional(),
      /** Not with `detach`. */
      stdin: z.boolean().optional(),
      size: terminalSizeSchema.optional(),
      detach: z.boolean().optional(),
    }),
    result: z.strictObject({ exec: execIdSchema, pid: z.int(), stream: streamIdSchema.optional() }),
  }),
  'exec.list': method({
    doc: 'The exec sessions that run, of one container or of all. Those of a container that an earlier version of Strata started are known as long as the helper that began them.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ container: containerReferenceSchema.optional() }),
    result: z.strictObject({ sessions: z.array(execSummarySchema) }),
  }),
  'exec.kill': method({
    doc: 'Sends a signal (SIGKILL where none is named) to the process of an exec session. EXEC_NOT_RUNNING where it has ended lately, EXEC_NOT_FOUND where nothing is known of it.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ session: execReferenceSchema, signal: z.string().max(16).optional() }),
    result: z.strictObject({ exec: execIdSchema }),
  }),
  'container.resize': method({
    doc: "Size of the terminal of a container, or of one of its exec sessions. With `stream` (of container.run, start or attach) it is the size of that client's window: of several the terminal has the size of the one that was used last, by joining or typing.",
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      exec: execIdSchema.optional(),
      stream: streamIdSchema.optional(),
      size: terminalSizeSchema,
    }),
    result: empty,
  }),
  'container.update': method({
    doc: 'Changes limits: applied at once when it runs, kept for its next start. All of them or none. And the restart policy, for the next exit.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      limits: limitsChangeSchema,
      restartPolicy: restartPolicySchema.optional(),
    }),
    result: z.strictObject({ limits: limitsSchema, warnings: z.array(z.string()) }),
  }),
  'container.processes': method({
    doc: 'Processes of a running container with their host and container pids; `truncated` where it has more than an answer holds.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: container,
    result: z.strictObject({ processes: z.array(containerProcessSchema), truncated: z.boolean() }),
  }),
} as const satisfies Record<string, Method>;
