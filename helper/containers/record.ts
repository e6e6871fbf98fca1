import * as z from 'zod';
import { containerIdSchema, createOptionsSchema, digestSchema, healthDetailsSchema, limitsSchema } from '../protocol/index.ts';
import type { RecordFormat } from '../store/record.ts';
import type { RestartHistory } from './restartPolicy.ts';

/** What makes a container, and outlives a reboot. */
const containerRecordSchema = z.strictObject({
  id: containerIdSchema,
  name: z.string(),
  /** The reference as it was asked for. */
  image: z.string(),
  imageId: digestSchema,
  options: createOptionsSchema,
  limits: limitsSchema,
  createdAt: z.string(),
  /** Boot in which it was last started; null: never. Written before the start, so a start is never forgotten. */
  startedInBoot: z.string().nullable(),
});
export type ContainerRecord = z.infer<typeof containerRecordSchema>;
/** What options newly have an older helper would take for damage. 2: a restart policy; 3: an init, a health check; 4: limits of the log. */
export const containerFormat: RecordFormat<ContainerRecord> = {
  name: 'container record',
  version: 4,
  schema: containerRecordSchema,
  migrations: { 1: (value) => value, 2: (value) => value, 3: (value) => value },
};

/** See RestartHistory. A file of its own: it is written when others write the record. */
const restartRecordSchema = z.strictObject({
  count: z.int().min(0),
  shortRuns: z.int().min(0),
  stoppedByPerson: z.boolean(),
});
export const restartFormat: RecordFormat<RestartHistory> = { name: 'restart record', version: 1, schema: restartRecordSchema };

/** A restart that somebody asked for, of the run that began at that time. True in this boot only. */
const restartOrderSchema = z.strictObject({
  bootId: z.string(),
  startedAt: z.string(),
  user: z.string(),
  signal: z.string().optional(),
  graceMs: z.number().optional(),
});
export type RestartOrder = z.infer<typeof restartOrderSchema>;
export const restartOrderFormat: RecordFormat<RestartOrder> = { name: 'restart order', version: 1, schema: restartOrderSchema };

/** In the run directory; of the run that began at that time. */
const healthRecordSchema = z.strictObject({ startedAt: z.string(), health: healthDetailsSchema });
export type HealthRecord = z.infer<typeof healthRecordSchema>;
export const healthFormat: RecordFormat<HealthRecord> = { name: 'health record', version: 1, schema: healthRecordSchema };

/** In the run directory. */
const startedRecordSchema = z.strictObject({ pid: z.int(), startedAt: z.string() });
export type StartedRecord = z.infer<typeof startedRecordSchema>;
export const startedFormat: RecordFormat<StartedRecord> = { name: 'start record', version: 1, schema: startedRecordSchema };

/** Of the supervisor's state.json: what is needed to be sure that a process is it, and where its container's cgroups are. */
const supervisorRecordSchema = z.looseObject({
  bootId: z.string(),
  supervisor: z.looseObject({ pid: z.int().min(2), startTime: z.int() }),
  cgroupPath: z.string().startsWith('/').optional(),
});
export type SupervisorRecord = z.infer<typeof supervisorRecordSchema>;
export const supervisorFormat: RecordFormat<SupervisorRecord> = { name: 'supervisor record', version: 1, schema: supervisorRecordSchema };

/** The `Error` of docs/supervisor.md. */
export const supervisorErrorSchema = z.looseObject({
  code: z.string(),
  message: z.string(),
  errno: z.int().optional(),
  syscall: z.string().optional(),
  path: z.string().optional(),
  hint: z.string().optional(),
});

/** Written by the supervisor (docs/supervisor.md), or with a `reason` by a helper that found it gone. */
export const exitRecordSchema = z.looseObject({
  code: z.int().nullable(),
  signal: z.int().nullable(),
  oomKilled: z.boolean(),
  oomKills: z.int().optional(),
  memoryPeakBytes: z.number().nullish(),
  startedAt: z.string().nullish(),
  finishedAt: z.string(),
  /** Of the output, because the log's disk was full. */
  lostLogBytes: z.number().optional(),
  error: supervisorErrorSchema.optional(),
  /** The last signal that somebody had its supervisor send; null: none. Absent where that was of a version that does not say. */
  requested: z.looseObject({ signal: z.int(), at: z.string(), note: z.string() }).nullish(),
  reason: z.string().optional(),
});
export type ExitRecord = z.infer<typeof exitRecordSchema>;
export const exitFormat: RecordFormat<ExitRecord> = { name: 'exit record', version: 1, schema: exitRecordSchema };
