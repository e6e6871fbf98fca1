import * as z from 'zod';
import { containerReferenceSchema } from '../ids.ts';
import { statsSchema } from '../model/stats.ts';
import { empty, type Method, method, SHORT_MS } from './method.ts';

export const statsMethods = {
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
} as const satisfies Record<string, Method>;
