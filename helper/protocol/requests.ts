import * as z from 'zod';
import { containerPathSchema, copiedSchema, pathStatSchema } from './copies.ts';
import { epochSchema, eventFiltersSchema, eventPositionSchema, seqSchema } from './eventRecord.ts';
import {
  containerIdSchema,
  containerReferenceSchema,
  digestSchema,
  execIdSchema,
  execReferenceSchema,
  imageReferenceSchema,
  streamIdSchema,
} from './ids.ts';
import {
  containerDetailsSchema,
  containerProcessSchema,
  containerSummarySchema,
  createOptionsSchema,
  execSummarySchema,
  exitSchema,
  hostInfoSchema,
  imageDetailsSchema,
  imageSummarySchema,
  layerEntrySchema,
  layerReferenceSchema,
  layerSchema,
  limitsChangeSchema,
  limitsSchema,
  logPositionSchema,
  type Role,
  restartPolicySchema,
  roleSchema,
  statsSchema,
  terminalSizeSchema,
} from './model.ts';
import { registryCredentialsSchema } from './pull.ts';

/** A message of the wire: what it is for, what it takes and gives, who may send it, and how long it may take (0: no bound, cancel it instead). */
export interface Method<P extends z.ZodType = z.ZodType, R extends z.ZodType = z.ZodType> {
  readonly doc: string;
  readonly role: Role;
  readonly timeoutMs: number;
  readonly params: P;
  readonly result: R;
}

function method<P extends z.ZodType, R extends z.ZodType>(definition: Method<P, R>): Method<P, R> {
  return definition;
}

const SHORT_MS = 30_000;
const LONG_MS = 0;

/** Labels are part of what lists and events carry: a container with more would crowd out the others. */
export const maxLabelCharacters = 16_384;

const askedOptions = createOptionsSchema.refine(
  ({ labels }) => Object.entries(labels ?? {}).reduce((sum, [key, value]) => sum + key.length + value.length, 0) <= maxLabelCharacters,
  { path: ['labels'], error: `the labels of a container have ${maxLabelCharacters} characters together at most` },
);

const empty = z.strictObject({});
const container = z.strictObject({ container: containerReferenceSchema });
const command = z
  .array(
    z
      .string()
      .max(131_072)
      .regex(/^[^\0]*$/),
  )
  .min(1)
  .max(4096);

export const methods = {
  hello: method({
    doc: 'First message of a connection: both versions. A different major version is refused with PROTOCOL_MISMATCH.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({
      protocol: z.strictObject({ major: z.int(), minor: z.int() }),
      client: z.strictObject({ name: z.string().max(64), version: z.string().max(64) }),
    }),
    result: z.strictObject({
      protocol: z.strictObject({ major: z.int(), minor: z.int() }),
      helperVersion: z.string(),
      role: roleSchema,
      capabilities: z.array(z.string()),
    }),
  }),

  'host.info': method({
    doc: 'Versions, kernel features, cgroup mode of the host.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: empty,
    result: hostInfoSchema,
  }),

  'events.subscribe': method({
    doc: 'A snapshot of everything, then events with a greater `seq` on this connection, in order, none left out but one that no message can hold. After a reconnect ask events.resume first.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: empty,
    result: z.strictObject({
      epoch: epochSchema,
      seq: seqSchema,
      containers: z.array(containerSummarySchema),
      images: z.array(imageSummarySchema),
    }),
  }),
  'events.resume': method({
    doc: 'Goes on after the last event that an earlier connection to this helper saw: the events since, some maybe before the answer, and those to come. EVENTS_GONE where they are no longer known, or were those of an earlier helper.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: eventPositionSchema,
    result: z.strictObject({ seq: seqSchema }),
  }),
  'events.stream': method({
    doc: "What happened, in Docker's words: a stream (channel `bytes`) of lines of JSON (`eventLine`), also of the helpers before. From `since` on; absent: from now on. With `untilMs` it ends then, else when it is closed. A reader may be slow: where what it has not read is no longer known it is told of the gap. `at` is where the stream was at the answer.",
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({
      since: z
        .discriminatedUnion('kind', [
          eventPositionSchema.extend({ kind: z.literal('position') }),
          /** Milliseconds since the epoch of Unix, by the clock of the host. */
          z.strictObject({ kind: z.literal('time'), timeMs: z.number() }),
        ])
        .optional(),
      untilMs: z.number().optional(),
      filters: eventFiltersSchema.optional(),
    }),
    result: z.strictObject({ stream: streamIdSchema, at: eventPositionSchema }),
  }),

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
    doc: 'Stops the container as container.stop does, where it runs, and starts it. What was begun goes on when the request is cancelled; a stop that comes meanwhile ends it with CANCELLED.',
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

  'container.archive.stat': method({
    doc: 'One path of a container, running or not, as the container sees it. With `follow` what a link at its end leads to.',
    role: 'observe',
    timeoutMs: LONG_MS,
    params: z.strictObject({ container: containerReferenceSchema, path: containerPathSchema, follow: z.boolean().optional() }),
    result: z.strictObject({ stat: pathStatSchema }),
  }),
  'container.archive.get': method({
    doc: 'A stream (channel `bytes`) of a tar of a file or directory of a container, running or not. Its members start with the last name of the path; of "/", and of a path that ends with "/.", they are the content: "./", "./a". With `follow` a link at its end is what it leads to. Where the container is started or removed meanwhile the stream is closed with COPY_INTERRUPTED.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({ container: containerReferenceSchema, path: containerPathSchema, follow: z.boolean().optional() }),
    result: z.strictObject({ stream: streamIdSchema, stat: pathStatSchema }),
  }),
  'container.archive.put': method({
    doc: "Unpacks a tar, which the client sends on a stream of image.openUpload (gzip and zstd are unpacked), in a directory of a container, running or not. What is unpacked belongs to the container's root, without set-id bits, unless `keepOwners`. Names that leave the directory are refused. What was written before an error stays.",
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      /** A directory. */
      path: containerPathSchema,
      stream: streamIdSchema,
      keepOwners: z.boolean().optional(),
    }),
    result: copiedSchema,
  }),
  'container.export': method({
    doc: "A stream (channel `bytes`) of a tar of a container's whole root file system, without what is mounted in it: image.import makes an image of it.",
    role: 'control',
    timeoutMs: LONG_MS,
    params: container,
    result: z.strictObject({ stream: streamIdSchema }),
  }),
  'container.diff': method({
    doc: 'A stream (channel `bytes`) of what a container has added, changed and deleted in its root file system: a line of JSON each, `{"change": "A"|"C"|"D", "path", "kind", "sizeBytes"}`, a directory before what is in it.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: container,
    result: z.strictObject({ stream: streamIdSchema }),
  }),

  'stats.subscribe': method({
    doc: 'Readings of all running containers as stats.sampled events on this connection, about once a second, until unsubscribed. The sampler rests while nobody listens.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ intervalMs: z.int().min(200).max(60_000).optional() }),
    result: empty,
  }),
  'stats.unsubscribe': method({
    doc: 'No more stats.sampled events on this connection.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: empty,
    result: empty,
  }),
  'stats.read': method({
    doc: 'One reading, with rates over a short interval.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ containers: z.array(containerReferenceSchema).max(10_000).optional() }),
    result: z.strictObject({ samples: z.array(statsSchema) }),
  }),

  'image.list': method({
    doc: 'All images.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: empty,
    result: z.strictObject({ images: z.array(imageSummarySchema) }),
  }),
  'image.inspect': method({
    doc: 'One image with its config.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ image: imageReferenceSchema }),
    result: imageDetailsSchema,
  }),
  'image.import': method({
    doc: 'Makes an image from a rootfs tar sent on a stream (as `docker export` writes it; gzip and zstd are unpacked), a rootfs directory, or an OCI image layout directory of the host.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      source: z.discriminatedUnion('kind', [
        /** Opened before by image.openUpload; the client has sent, or is sending, the archive on it. */
        z.strictObject({ kind: z.literal('stream'), stream: streamIdSchema }),
        z.strictObject({ kind: z.literal('directory'), path: z.string().startsWith('/').max(4096) }),
        z.strictObject({ kind: z.literal('ociLayout'), path: z.string().startsWith('/').max(4096), name: z.string().max(512).optional() }),
      ]),
      /** Name of the image; for an OCI layout absent means its own ref.name annotation. */
      reference: z.string().max(512).optional(),
      command: z.array(z.string()).optional(),
    }),
    result: z.strictObject({ image: imageSummarySchema }),
  }),
  'image.pull': method({
    doc: 'Brings an image from its registry, or what of it is not here; a name that is here already is asked for again. With `progress` image.pulling events with that number tell how far it is. Cancelled or failed, what was downloaded is kept for the next try.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      reference: z.string().max(512),
      /** "os/architecture[/variant]"; absent: the host's. */
      platform: z.string().max(64).optional(),
      /** Of the person who asks: the helper reads no files of theirs. */
      credentials: registryCredentialsSchema.optional(),
      progress: z.int().optional(),
    }),
    result: z.strictObject({ image: imageSummarySchema }),
  }),
  'image.openUpload': method({
    doc: 'Opens a stream to the helper for image.import and container.archive.put; its channel is `bytes`.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: empty,
    result: z.strictObject({ stream: streamIdSchema }),
  }),
  'image.remove': method({
    doc: 'Removes a name; with its last name the image and the layers that nothing else uses. `force` removes all names.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({ image: imageReferenceSchema, force: z.boolean().optional() }),
    result: z.strictObject({ untagged: z.array(z.string()), removed: z.array(digestSchema) }),
  }),

  'layer.stack': method({
    doc: 'The overlay stack of a container (upper, init, image layers) or an image, top first.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('container'), container: containerReferenceSchema }),
      z.strictObject({ kind: z.literal('image'), image: imageReferenceSchema }),
    ]),
    result: z.strictObject({ layers: z.array(layerSchema) }),
  }),
  'layer.list': method({
    doc: 'One directory of one layer, sorted by name.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ layer: layerReferenceSchema, path: z.string().startsWith('/').max(4096) }),
    result: z.strictObject({ entries: z.array(layerEntrySchema), truncated: z.boolean() }),
  }),
  'layer.stat': method({
    doc: 'One entry of one layer, not following a link.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ layer: layerReferenceSchema, path: z.string().startsWith('/').max(4096) }),
    result: z.strictObject({ entry: layerEntrySchema }),
  }),
  'layer.read': method({
    doc: 'A stream (channel `bytes`) of a regular file of a layer. A file can hold secrets, so this needs control.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ layer: layerReferenceSchema, path: z.string().startsWith('/').max(4096) }),
    result: z.strictObject({ stream: streamIdSchema, sizeBytes: z.int() }),
  }),
} as const satisfies Record<string, Method>;

export type MethodName = keyof typeof methods;
export type Params<M extends MethodName> = z.infer<(typeof methods)[M]['params']>;
export type MethodResult<M extends MethodName> = z.infer<(typeof methods)[M]['result']>;
