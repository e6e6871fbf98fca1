import * as z from 'zod';

/**
 * A container's limits. `null` is "no limit". The same terms on cgroup v1, v2 and hybrid hosts:
 * cpuWeight is v2's 1..10000 (default 100); memorySwapMaxBytes counts memory and swap together, as Docker does.
 */
export const limitsSchema = z.strictObject({
  cpuQuotaUs: z
    .int()
    .min(1000, { error: 'a cpu quota is at least 1000 µs (0.01 cpu of the usual period)' })
    .max(1_000_000_000, { error: 'a cpu quota is at most 1000 s' })
    .nullable(),
  cpuPeriodUs: z
    .int()
    .min(1000, { error: 'a cpu period is at least 1000 µs' })
    .max(1_000_000, { error: 'a cpu period is at most 1 000 000 µs' }),
  cpuWeight: z.int().min(1, { error: 'a cpu weight is 1 to 10 000' }).max(10_000, { error: 'a cpu weight is 1 to 10 000' }),
  cpusetCpus: z
    .string()
    .max(1024)
    .regex(/^\d+(-\d+)?(,\d+(-\d+)?)*$/, { error: 'a cpu list looks like "0-1,3"' })
    .nullable(),
  cpusetMems: z
    .string()
    .max(1024)
    .regex(/^\d+(-\d+)?(,\d+(-\d+)?)*$/, { error: 'a memory node list looks like "0"' })
    .nullable(),
  memoryMaxBytes: z
    .int()
    .min(512 * 1024, { error: 'memory limits start at 512 KiB' })
    .nullable(),
  memorySwapMaxBytes: z.int().min(0).nullable(),
  pidsMax: z
    .int()
    .min(1, { error: 'a limit of processes is at least 1' })
    .max(4_194_304, { error: 'the kernel has at most 4 194 304 processes' })
    .nullable(),
});
export type Limits = z.infer<typeof limitsSchema>;

/** What a container has that nobody limits: the kernel's own defaults. */
export const DEFAULT_LIMITS: Limits = {
  cpuQuotaUs: null,
  cpuPeriodUs: 100_000,
  cpuWeight: 100,
  cpusetCpus: null,
  cpusetMems: null,
  memoryMaxBytes: null,
  memorySwapMaxBytes: null,
  pidsMax: null,
};

export interface Range {
  readonly min: number;
  readonly max: number;
}

/** The bounds of a number's schema, so that a client refuses in its own words what the helper would refuse. */
export function rangeOf(schema: { readonly minValue: number | null; readonly maxValue: number | null }): Range {
  return { min: schema.minValue ?? Number.MIN_SAFE_INTEGER, max: schema.maxValue ?? Number.MAX_SAFE_INTEGER };
}

export const LIMIT_RANGES = {
  cpuQuotaUs: rangeOf(limitsSchema.shape.cpuQuotaUs.unwrap()),
  cpuPeriodUs: rangeOf(limitsSchema.shape.cpuPeriodUs),
  cpuWeight: rangeOf(limitsSchema.shape.cpuWeight),
  memoryBytes: rangeOf(limitsSchema.shape.memoryMaxBytes.unwrap()),
  pids: rangeOf(limitsSchema.shape.pidsMax.unwrap()),
} as const satisfies Record<string, Range>;

/** A change of limits: only what is named changes. */
export const limitsChangeSchema = limitsSchema.partial();
export type LimitsChange = z.infer<typeof limitsChangeSchema>;
