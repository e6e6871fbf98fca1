import * as z from 'zod';
import { digestSchema, imageReferenceSchema, streamIdSchema } from '../ids.ts';
import { historyEntrySchema, imageDetailsSchema, imageSummarySchema } from '../model/images.ts';
import { registryCredentialsSchema } from '../registryCredentials.ts';
import { empty, LONG_MS, type Method, method, SHORT_MS } from './method.ts';

export const imageMethods = {
  'image.list': method({
    doc: 'All images.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: empty,
    result: z.strictObject({ images: z.array(imageSummarySchema) }),
  }),
  'image.inspect': method({
    doc: 'One image with its config.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ image: imageReferenceSchema }),
    result: imageDetailsSchema,
  }),
  'image.history': method({
    doc: 'How an image was made, newest first.',
    role: 'observe',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ image: imageReferenceSchema }),
    result: z.strictObject({ entries: z.array(historyEntrySchema) }),
  }),
  'image.tag': method({
    doc: 'Gives an image one more name; an image that has that name loses it. image.remove takes a name away.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: z.strictObject({ image: imageReferenceSchema, reference: z.string().max(512) }),
    result: z.strictObject({ image: imageSummarySchema }),
  }),
  'image.squash': method({
    doc: 'Makes an image of an image: its layers, or those above the lowest `keep`, become one that shows the same. The image itself stays.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      image: imageReferenceSchema,
      /** Name of the new image; absent: it has none. */
      reference: z.string().max(512).optional(),
      keep: z.int().min(0).max(1000).optional(),
      message: z.string().max(65_536).optional(),
      /** When it was made; absent: now. */
      created: z.iso.datetime({ offset: true }).optional(),
    }),
    result: z.strictObject({ image: imageSummarySchema }),
  }),
  'image.prune': method({
    doc: 'Removes images that no container uses: those without a name, or with `all` the others, too. With `dryRun` it only tells what it would remove and free.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      all: z.boolean().optional(),
      /** Only those made before this time, in milliseconds since the epoch. */
      untilMs: z.number().optional(),
      /** Only those with all of these labels: "key" or "key=value". */
      labels: z.array(z.string().max(4096)).max(100).optional(),
      dryRun: z.boolean().optional(),
    }),
    result: z.strictObject({ untagged: z.array(z.string()), removed: z.array(digestSchema), reclaimedBytes: z.number().min(0) }),
  }),
  'image.import': method({
    doc: 'Makes an image from a rootfs tar sent on a stream (as `docker export` writes it; gzip, zstd and xz are unpacked), a rootfs directory, or an OCI image layout directory of the host.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      source: z.discriminatedUnion('kind', [
        /** Opened before by image.openUpload; the client has sent, or is sending, the archive on it. */
        z.strictObject({ kind: z.literal('stream'), stream: streamIdSchema }),
        z.strictObject({ kind: z.literal('directory'), path: z.string().startsWith('/').max(4096) }),
        z.strictObject({ kind: z.literal('ociLayout'), path: z.string().startsWith('/').max(4096), name: z.string().max(512).optional() }),
      ]),
      /** Name of the image; for an OCI layout absent means its own ref.name annotation. */
      reference: z.string().max(512).optional(),
      command: z.array(z.string()).optional(),
    }),
    result: z.strictObject({ image: imageSummarySchema }),
  }),
  'image.pull': method({
    doc: 'Brings an image from its registry, or what of it is not here; a name that is here already is asked for again. With `progress` image.transferring events with that number tell how far it is. Cancelled or failed, what was downloaded is kept for the next try.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      reference: z.string().max(512),
      /** "os/architecture[/variant]"; absent: the host's. */
      platform: z.string().max(64).optional(),
      /** Of the person who asks: the helper reads no files of theirs. */
      credentials: registryCredentialsSchema.optional(),
      progress: z.int().optional(),
    }),
    result: z.strictObject({ image: imageSummarySchema }),
  }),
  'image.push': method({
    doc: 'Sends an image that is here to the registry and under the name by which it is asked for: what the registry lacks of it, the manifest last. With `progress` image.transferring events with that number tell how far it is. Cancelled or failed, nothing of it is to be seen there, and the next try sends only what is missing still.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({
      reference: z.string().max(512),
      /** Of the person who asks: the helper reads no files of theirs. */
      credentials: registryCredentialsSchema.optional(),
      progress: z.int().optional(),
    }),
    /** Of the manifest, as the registry has it now. */
    result: z.strictObject({ reference: z.string(), digest: digestSchema, sizeBytes: z.int().min(0) }),
  }),
  'image.openUpload': method({
    doc: 'Opens a stream to the helper for image.import and container.archive.put; its channel is `bytes`.',
    role: 'control',
    timeoutMs: SHORT_MS,
    params: empty,
    result: z.strictObject({ stream: streamIdSchema }),
  }),
  'image.remove': method({
    doc: 'Removes a name; with its last name the image and the layers that nothing else uses. `force` removes all names.',
    role: 'control',
    timeoutMs: LONG_MS,
    params: z.strictObject({ image: imageReferenceSchema, force: z.boolean().optional() }),
    result: z.strictObject({ untagged: z.array(z.string()), removed: z.array(digestSchema) }),
  }),
} as const satisfies Record<string, Method>;
