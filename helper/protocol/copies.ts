import * as z from 'zod';

/** A path in a container; its root is "/". */
export const containerPathSchema = z
  .string()
  .startsWith('/')
  .max(4000)
  .regex(/^[^\0]*$/);

export const pathKindSchema = z.enum(['file', 'directory', 'symlink', 'device', 'fifo', 'socket']);
export type PathKind = z.infer<typeof pathKindSchema>;

/** One path of a container, as the container sees it. */
export const pathStatSchema = z.strictObject({
  kind: pathKindSchema,
  /** Permission bits, set-id and sticky bits included. */
  mode: z.int(),
  /** The container's, where it has a user namespace. */
  uid: z.int(),
  gid: z.int(),
  /** Of a file. */
  sizeBytes: z.number(),
  mtimeMs: z.number(),
  /** Of a link. */
  linkTarget: z.string().optional(),
  /** Of what a link leads to; left out where it leads nowhere, and where nobody asked. */
  linkKind: pathKindSchema.optional(),
  /** Its mount can only be read. */
  readOnly: z.literal(true).optional(),
});
export type PathStat = z.infer<typeof pathStatSchema>;

export const copiedSchema = z.strictObject({
  /** Members of the archive. */
  entries: z.int(),
  /** Of the files, without their holes. */
  bytes: z.int(),
  /** Device nodes that the container's user namespace cannot have. */
  leftOut: z.int(),
});
export type Copied = z.infer<typeof copiedSchema>;

/** A line of container.diff. */
export const changeSchema = z.strictObject({
  /** Added, changed, deleted. */
  change: z.enum(['A', 'C', 'D']),
  path: z.string(),
  /** Of what is there now; of what was there, where it was deleted. */
  kind: pathKindSchema,
  /** Of a file, the same way. */
  sizeBytes: z.number(),
});
export type Change = z.infer<typeof changeSchema>;
