import * as z from 'zod';

/** A container's id: 32 lower-case hex digits. */
export const containerIdSchema = z
  .string()
  .regex(/^[0-9a-f]{32}$/)
  .brand<'ContainerId'>();
export type ContainerId = z.infer<typeof containerIdSchema>;

/** What people call a container: Docker's rule for names. */
export const containerNameSchema = z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/, {
  error: 'a container name has 1 to 128 letters, digits, "_", "." or "-" and starts with a letter or digit',
});

/** A container as a person names it: its name, its id, or a unique start of its id. */
export const containerReferenceSchema = z.string().min(1).max(128);

/** "sha256:" and 64 lower-case hex digits (image-spec, descriptor). */
export const digestSchema = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .brand<'Digest'>();
export type Digest = z.infer<typeof digestSchema>;

/** An image as a person names it: `name[:tag]`, `sha256:…`, or a unique start of the id's hex digits. */
export const imageReferenceSchema = z.string().min(1).max(512);

/** An exec session of a container. */
export const execIdSchema = z
  .string()
  .regex(/^[0-9a-f]{16}$/)
  .brand<'ExecId'>();
export type ExecId = z.infer<typeof execIdSchema>;

/** An exec session as a person names it: its id, or a unique start of it. */
export const execReferenceSchema = z
  .string()
  .regex(/^[0-9a-f]{1,16}$/, { error: 'an exec session is named by its id: up to 16 hexadecimal digits' });

/** A stream on one connection: chosen by the helper, never reused on it. */
export const streamIdSchema = z.int().min(1).max(0xffff_ffff);
export type StreamId = z.infer<typeof streamIdSchema>;
