import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Logger } from '../log.ts';
import { hasCode } from '../native/errors.ts';
import type { Digest } from '../protocol/index.ts';
import type { ImageService } from './imageService.ts';
import type { ImageStore } from './imageStore.ts';
import type { ImageImports } from './imports.ts';

/** A root file system alone names no command; these are what people expect of `run IMAGE`. */
const commands: Readonly<Record<string, readonly string[]>> = { busybox: ['sh'] };

/**
 * Imports each `<name>.tar` of a directory as `<name>:latest`, once: not again while its content is the same, so that
 * what the person removed stays away and what the person gave that name stays theirs.
 */
export async function importEmbeddedImages(
  directory: string,
  options: { imports: ImageImports; service: ImageService; store: ImageStore; users: (id: Digest) => readonly string[]; log: Logger },
): Promise<void> {
  for (const file of await archives(directory)) {
    const name = basename(file, '.tar');
    try {
      await importOne(join(directory, file), name, options);
    } catch (error) {
      // The helper is of use without it.
      options.log.error({ err: error, image: name }, 'cannot import an embedded image');
    }
  }
}

async function importOne(
  path: string,
  name: string,
  { imports, service, store, users, log }: Parameters<typeof importEmbeddedImages>[1],
): Promise<void> {
  const { size, mtimeMs } = await stat(path);
  const stamp = `${size}-${mtimeMs}`;
  const known = store.embedded(name);
  if (known?.stamp === stamp) return;
  const digest = await digestOfFile(path);
  const reference = `${name}:latest`;
  const before = store.idOf(reference);
  const ours = before === undefined || before === known?.image;
  let image = known?.image;
  if (known?.digest !== digest && ours) {
    image = (await imports.file(path, { reference, command: commands[name], signal: new AbortController().signal })).id;
    log.info({ image: reference }, 'embedded image imported');
    if (before !== undefined && before !== image && store.referencesOf(before).length === 0 && users(before).length === 0) {
      await service.remove(before, false);
    }
  }
  await store.rememberEmbedded(name, { digest, stamp, ...(image === undefined ? {} : { image }) });
}

async function archives(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => /^[a-z0-9][a-z0-9._-]*\.tar$/.test(name)).sort();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer); // without an encoding a read stream gives buffers
  return `sha256:${hash.digest('hex')}`;
}
