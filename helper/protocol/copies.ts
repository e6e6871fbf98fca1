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

/** What a change is, exactly. */
export const changeDetailSchema = z.enum([
  'added',
  /** The content differs: bytes of a file, target of a link, number of a device. */
  'modified',
  /** The content is the same: mode, owner, extended attributes or time differ. */
  'metadata',
  /** A file, a directory, a link: it is another kind than below. */
  'typeChanged',
  'deleted',
  /** It is in the upper directory, and as it is below. */
  'copiedUp',
  /** A directory that is as it was, but for what is in it. */
  'contains',
]);
export type ChangeDetail = z.infer<typeof changeDetailSchema>;

export const changeDifferenceSchema = z.enum(['type', 'content', 'mode', 'owner', 'attributes', 'mtime']);
export type ChangeDifference = z.infer<typeof changeDifferenceSchema>;

/** A line of container.diff. */
export const changeSchema = z.strictObject({
  /** Added, changed, deleted; with details also unchanged, where it was only copied up. */
  change: z.enum(['A', 'C', 'D', 'U']),
  path: z.string(),
  /** Of what is there now; of what was there, where it was deleted. */
  kind: pathKindSchema,
  /** Of a file, the same way. */
  sizeBytes: z.number(),
  /** This and the rest: where details were asked for. */
  detail: changeDetailSchema.optional(),
  /** In what it differs from what is below; absent where in nothing. */
  differs: z.array(changeDifferenceSchema).optional(),
  /** What is below, and where: the position in layer.stack, in which 0 is the upper directory. */
  below: z.strictObject({ layer: z.int(), kind: pathKindSchema, sizeBytes: z.number() }).optional(),
  /** Where it was before overlay renamed it. */
  movedFrom: z.string().optional(),
  /** The bytes of a path that is no UTF-8: in `path` each byte that is none stands for the character of its number. */
  pathHex: z.string().optional(),
});
export type Change = z.infer<typeof changeSchema>;
