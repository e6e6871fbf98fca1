import * as z from 'zod';
import { epochSchema, eventFiltersSchema, eventPositionSchema, seqSchema } from '../eventRecord.ts';
import { streamIdSchema } from '../ids.ts';
import { containerSummarySchema } from '../model/containers.ts';
import { diskUsageSchema } from '../model/diskUsage.ts';
import { hostInfoSchema, roleSchema } from '../model/host.ts';
import { imageSummarySchema } from '../model/images.ts';
import { empty, LONG_MS, type Method, method, SHORT_MS } from './method.ts';

export const sessionMethods = {
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

  'host.diskUsage': method({
    doc: 'What images and containers take of the disk. Layers that several images share are counted once.',
    role: 'observe',
    timeoutMs: LONG_MS,
    params: empty,
    result: diskUsageSchema,
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
} as const satisfies Record<string, Method>;
