import * as z from 'zod';
import { bytes } from './values.ts';

export const hostInfoSchema = z.strictObject({
  helperVersion: z.string(),
  protocolVersion: z.string(),
  nodeVersion: z.string(),
  runtimeVersion: z.string(),
  kernelRelease: z.string(),
  architecture: z.string(),
  cpus: z.int(),
  memoryBytes: bytes,
  cgroup: z.strictObject({
    mode: z.enum(['v1', 'v2', 'hybrid']),
    controllers: z.array(z.string()),
    swapAccounting: z.boolean(),
    psi: z.boolean(),
  }),
  features: z.array(z.strictObject({ name: z.string(), available: z.boolean(), detail: z.string() })),
  paths: z.strictObject({ root: z.string(), run: z.string(), socket: z.string() }),
  warnings: z.array(z.string()),
});
export type HostInfo = z.infer<typeof hostInfoSchema>;

export const roleSchema = z.enum(['observe', 'control']);
/** observe: read. control: change, which on a container host is root. */
export type Role = z.infer<typeof roleSchema>;
