import * as z from 'zod';
import { containerIdSchema } from '../ids.ts';
import { bytes } from './values.ts';

/** One reading of a container's cgroup. Rates are over the time since the reading before; null in the first one. */
export const statsSchema = z.strictObject({
  id: containerIdSchema,
  /** Milliseconds since the epoch. */
  atMs: z.number(),
  /** 100 = one cpu used fully. */
  cpuPercent: z.number().nullable(),
  cpuUsageUs: z.number(),
  /** Share of the last interval's periods in which the quota ran out, 0..100; null without a quota, or where no period passed. */
  throttledPercent: z.number().nullable(),
  throttledUs: z.number(),
  /** As Docker counts: without reclaimable page cache. */
  memoryBytes: bytes,
  memoryLimitBytes: bytes.nullable(),
  memoryAnonBytes: bytes,
  memoryFileBytes: bytes,
  memoryPeakBytes: bytes.nullable(),
  swapBytes: bytes.nullable(),
  oomKills: z.int(),
  pids: z.int(),
  pidsLimit: z.int().nullable(),
  ioReadBytes: bytes,
  ioWriteBytes: bytes,
});
export type Stats = z.infer<typeof statsSchema>;
