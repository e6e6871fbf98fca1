import * as z from 'zod';
import { containerPathSchema, copiedSchema, pathStatSchema } from '../copies.ts';
import { containerReferenceSchema, streamIdSchema } from '../ids.ts';
import { container, LONG_MS, type Method, method, SHORT_MS } from './method.ts';

export const copyMethods = {
  'container.archive.stat': method({
    doc: 'One path of a container, running or not, as the container sees it. With `follow` what a link at its end leads to.',
    role: 'observe',
    timeoutMs: LONG_MS,
    params: z.strictObject({ container: containerReferenceSchema, path: containerPathSchema, follow: z.boolean().optional() }),
    result: z.strictObject({ stat: pathStatSchema }),
  }),
  'container.archive.get': method({
    doc: 'A stream (channel `bytes`) of a tar of a file or directory of a container, running or not. Its members start with the last name of the path; of "/", and of a path that ends with "/.", they are the content: "./", "./a". With `follow` a link at its end is what it leads to. Where the container is started or removed meanwhile the stream is closed with COPY_INTERRUPTED.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({ container: containerReferenceSchema, path: containerPathSchema, follow: z.boolean().optional() }),
    result: z.strictObject({ stream: streamIdSchema, stat: pathStatSchema }),
  }),
  'container.archive.put': method({
    doc: "Unpacks a tar, which the client sends on a stream of image.openUpload (gzip, zstd and xz are unpacked), in a directory of a container, running or not. What is unpacked belongs to the container's root, without set-id bits, unless `keepOwners`. Names that leave the directory are refused. What was written before an error stays.",
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      container: containerReferenceSchema,
      /** A directory. */
      path: containerPathSchema,
      stream: streamIdSchema,
      keepOwners: z.boolean().optional(),
    }),
    result: copiedSchema,
  }),
  'container.export': method({
    doc: "A stream (channel `bytes`) of a tar of a container's whole root file system, without what is mounted in it: image.import makes an image of it.",
    role: 'control',
    timeoutMs: LONG_MS,
    params: container,
    result: z.strictObject({ stream: streamIdSchema }),
  }),
  'container.diff': method({
    doc: 'A stream (channel `bytes`) of what a container has added, changed and deleted in its root file system: a line of JSON each, `{"change": "A"|"C"|"D", "path", "kind", "sizeBytes"}`, a directory before what is in it. With `details` the content of files is compared, each line has `detail`, `differs`, `below`, `movedFrom` and `pathHex` where they apply, and what was only copied up is told as `"change": "U"`.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ container: containerReferenceSchema, details: z.boolean().optional() }),
    result: z.strictObject({ stream: streamIdSchema }),
  }),
  'container.diff.export': method({
    doc: "A stream (channel `bytes`) of a layer's tar of what a container has changed, as container.commit packs it: what was deleted is a file whose name begins with `.wh.`. Files that change while they are read are as they are at that moment.",
    role: 'control',
    timeoutMs: LONG_MS,
    params: container,
    result: z.strictObject({ stream: streamIdSchema }),
  }),
  'container.diff.watch': method({
    doc: 'A stream (channel `bytes`) of lines `{"changed":true}`: one at once, and one soon after something in the root file system of a container has changed, several changes together. What container.diff says from a line on holds all that was changed before. It ends when the container is removed, with CONTAINER_NOT_FOUND.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: container,
    result: z.strictObject({ stream: streamIdSchema }),
  }),
} as const satisfies Record<string, Method>;
