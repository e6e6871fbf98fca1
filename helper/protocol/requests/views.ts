import * as z from 'zod';
import { containerPathSchema } from '../copies.ts';
import { containerReferenceSchema, streamIdSchema } from '../ids.ts';
import { viewEntrySchema, viewReferenceSchema } from '../model/views.ts';
import { empty, LONG_MS, type Method, method, SHORT_MS } from './method.ts';

const place = { container: containerReferenceSchema, path: containerPathSchema };

export const viewMethods = {
  'view.list': method({
    doc: 'One directory as the container sees it, sorted by name. Links are followed as the container would.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ view: viewReferenceSchema, path: containerPathSchema }),
    result: z.strictObject({ entries: z.array(viewEntrySchema), truncated: z.boolean() }),
  }),
  'view.stat': method({
    doc: 'One entry, as view.list has it. With `follow` what a link at its end leads to.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ view: viewReferenceSchema, path: containerPathSchema, follow: z.boolean().optional() }),
    result: z.strictObject({ entry: viewEntrySchema }),
  }),
  'view.read': method({
    doc: 'A stream (channel `bytes`) of a regular file; of one that the kernel makes (proc, sysfs) 32 MiB at most, and `sizeBytes` says nothing. A file can hold secrets, so this needs control.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ view: viewReferenceSchema, path: containerPathSchema }),
    result: z.strictObject({ stream: streamIdSchema, sizeBytes: z.int() }),
  }),
  'file.write': method({
    doc: 'The whole content of a file of a container, running or not, which the client sends on a stream of image.openUpload: `sizeBytes`, 256 MiB at most. Links are followed. A file that is there (`replace`, else PATH_EXISTS) stays the same file, with mode, owner and attributes; with `create` one is made that belongs to root and has mode 0644 (else PATH_NOT_FOUND). Where not all of it came, or there is no room for it, nothing is changed.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      ...place,
      stream: streamIdSchema,
      sizeBytes: z.int().min(0),
      create: z.boolean().optional(),
      replace: z.boolean().optional(),
    }),
    result: empty,
  }),
  'file.makeDirectory': method({
    doc: "A directory of a container, running or not: root's, mode 0755. The one that it is in must be there.",
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject(place),
    result: empty,
  }),
  'file.remove': method({
    doc: 'Removes a file, a link itself, or a directory of a container, running or not; with `recursive` what is in it, too (else DIRECTORY_NOT_EMPTY). What is mounted there, or below, is not removed: PATH_MOUNTED.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({ ...place, recursive: z.boolean().optional() }),
    result: empty,
  }),
  'file.rename': method({
    doc: 'Renames a file or directory of a container, running or not. What has the new name is replaced where `replace` is set, else PATH_EXISTS. RENAME_IMPOSSIBLE: the two are on different mounts, or it is a directory that the image has.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ ...place, to: containerPathSchema, replace: z.boolean().optional() }),
    result: empty,
  }),
} as const satisfies Record<string, Method>;
