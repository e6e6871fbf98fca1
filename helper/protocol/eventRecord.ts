import * as z from 'zod';

/** Rises by one with each event, over restarts of the helper, too. */
export const seqSchema = z.int().min(0);
/** Of one life of a helper: after a crash of the host numbers may come again, but never in the same epoch. */
export const epochSchema = z.string().regex(/^[0-9a-f]{16}$/);

/** A place in the stream: after this event. */
export const eventPositionSchema = z.strictObject({ epoch: epochSchema, seq: seqSchema });
export type EventPosition = z.infer<typeof eventPositionSchema>;

export const eventTypeSchema = z.enum(['container', 'image', 'helper']);
export type EventType = z.infer<typeof eventTypeSchema>;

/** What an event is about, as it was called then. */
export const eventActorSchema = z.strictObject({
  /** Of the container or the image; of the helper: its epoch. */
  id: z.string(),
  /** Of an image: the reference that it is about, or "". */
  name: z.string(),
  /** Of a container: the reference as it was asked for. */
  image: z.string().optional(),
  /** Of a container that has any. */
  labels: z.record(z.string(), z.string()).optional(),
  /** What belongs to the action: exitCode, signal, execId, oldName, path. */
  attributes: z.record(z.string(), z.string()),
});
export type EventActor = z.infer<typeof eventActorSchema>;

/** Something that happened, in Docker's words (docs/events.md). */
export const eventRecordSchema = z.strictObject({
  seq: seqSchema,
  epoch: epochSchema,
  /** When it was told, RFC 3339 UTC. */
  time: z.string(),
  type: eventTypeSchema,
  /** "create", "start", "die", "exec_start", … */
  action: z.string().regex(/^[a-z]+([_-][a-z]+)*$/),
  actor: eventActorSchema,
});
export type EventRecord = z.infer<typeof eventRecordSchema>;

/** Those between two numbers are no longer known. */
export const eventGapSchema = z.strictObject({ gap: z.strictObject({ afterSeq: seqSchema, beforeSeq: seqSchema }) });
export type EventGap = z.infer<typeof eventGapSchema>;

/** A line of events.stream. */
export const eventLineSchema = z.union([eventRecordSchema, eventGapSchema]);
export type EventLine = z.infer<typeof eventLineSchema>;

const wanted = z.array(z.string().min(1).max(1024)).max(64).optional();

/** Values of one key are alternatives, keys come together; but a container must have all the labels. */
export const eventFiltersSchema = z.strictObject({
  type: z.array(eventTypeSchema).max(64).optional(),
  /** Actions. */
  event: wanted,
  /** Names, or starts of ids. */
  container: wanted,
  /** References with or without tag, or starts of ids: the image's own events and those of its containers. */
  image: wanted,
  /** "key" or "key=value". */
  label: wanted,
});
export type EventFilters = z.infer<typeof eventFiltersSchema>;
