import * as z from 'zod';
import { seqSchema as seq } from './eventRecord.ts';
import { containerIdSchema, digestSchema, execIdSchema } from './ids.ts';
import { layerProgressSchema } from './layerProgress.ts';
import { containerSummarySchema, exitSchema, imageSummarySchema, statsSchema } from './model/index.ts';

/**
 * A notification from the helper. Those with `seq` tell a connection that subscribed how the state changed, in the order of the
 * one stream of events: what happened that changed no state has numbers between theirs (events.stream tells all).
 */
export interface EventDefinition<P extends z.ZodType = z.ZodType> {
  readonly doc: string;
  readonly params: P;
}

function event<P extends z.ZodType>(definition: EventDefinition<P>): EventDefinition<P> {
  return definition;
}

export const events = {
  'container.changed': event({
    doc: 'A container is new or changed (state, name, limits): its summary as it is now.',
    params: z.strictObject({ seq, container: containerSummarySchema }),
  }),
  'container.exited': event({
    doc: 'A container has ended; the record of it is on disk and its output is complete in the log. With its summary as it is now.',
    params: z.strictObject({ seq, id: containerIdSchema, exit: exitSchema, container: containerSummarySchema }),
  }),
  'container.removed': event({ doc: 'A container is gone.', params: z.strictObject({ seq, id: containerIdSchema }) }),
  'exec.exited': event({
    doc: 'An exec session has ended; sent only to the connection that owns it, after its last output.',
    params: z.strictObject({ container: containerIdSchema, exec: execIdSchema, code: z.int().nullable(), signal: z.string().nullable() }),
  }),
  'image.changed': event({ doc: 'An image is new or has other names.', params: z.strictObject({ seq, image: imageSummarySchema }) }),
  'image.removed': event({ doc: 'An image is gone.', params: z.strictObject({ seq, id: digestSchema }) }),
  'image.transferring': event({
    doc: 'How far an image.pull, image.push or image.load of this connection is, that asked for it: its layers, bottom first. About ten times a second while something moves.',
    params: z.strictObject({ progress: z.int(), layers: z.array(layerProgressSchema) }),
  }),
  'image.bootstrapping': event({
    doc: 'A line that the program of an image.bootstrap of this connection said, which asked for it.',
    params: z.strictObject({ progress: z.int(), line: z.string() }),
  }),
  'stats.sampled': event({
    doc: 'One reading of the running containers; only after stats.subscribe.',
    params: z.strictObject({ samples: z.array(statsSchema) }),
  }),
} as const satisfies Record<string, EventDefinition>;

export type EventName = keyof typeof events;
export type EventParams<E extends EventName> = z.infer<(typeof events)[E]['params']>;
