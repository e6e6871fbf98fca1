import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import {
  formatBytes,
  type ImageSummary,
  type Layer,
  normalizeReference,
  type Params,
  repositoryOf,
  StrataError,
} from '../../protocol/index.ts';
import type { Connection } from '../../wire/connection.ts';
import { upload } from '../../wire/upload.ts';
import { fileBytes } from '../archiveStreams.ts';
import { type Context, forEach, neither, print, printJson, withConnection } from '../context.ts';
import { ago, plainText, table } from '../output.ts';
import { pullImage, pushImage } from '../transfers.ts';
import { parseCommand, UsageError } from '../values.ts';

export function addImageCommands(program: Command, context: () => Context): void {
  addList(program, context);
  program
    .command('rmi')
    .description('remove names of images, and images')
    .argument('<images...>')
    .option('-f, --force', 'all its names')
    .option('--json', 'as JSON')
    .action(async (images: string[], flags: { force?: true; json?: true }) => {
      await forEach(context(), images, {
        json: flags.json,
        act: async (connection, image) => ({ image, ...(await connection.request('image.remove', { image, force: flags.force })) }),
        lines: ({ untagged, removed }) => [...untagged.map((name) => `Untagged: ${name}`), ...removed.map((id) => `Removed: ${id}`)],
      });
    });
  program
    .command('pull')
    .description('bring images from their registries; only what is not here')
    .argument('<names...>')
    .option('--platform <platform>', 'such as linux/arm64; else that of the host')
    .option('-q, --quiet', 'ids only')
    .option('--json', 'as JSON')
    .action(async (names: string[], flags: { platform?: string; quiet?: true; json?: true }) => {
      await forEach(context(), names, {
        json: flags.json,
        act: async (connection, reference) => await pullImage(connection, { reference, platform: flags.platform, quiet: flags.quiet }),
        lines: ({ id }) => [id],
      });
    });
  addPush(program, context);
  program
    .command('tag')
    .description('give an image one more name')
    .argument('<image>')
    .argument('<name>')
    .action(async (image: string, reference: string) => {
      await withConnection(context(), (connection) => connection.request('image.tag', { image, reference }));
    });
  addHistory(program, context);
  addImport(program, context);
  addLayers(program, context);
}

function addPush(program: Command, context: () => Context): void {
  program
    .command('push')
    .description('send images to the registries that their names tell; only what is missing there')
    .argument('<names...>')
    .option('-a, --all-tags', 'all names here of these repositories')
    .option('-q, --quiet', 'digests only')
    .option('--json', 'as JSON')
    .action(async (names: string[], flags: { allTags?: true; quiet?: true; json?: true }) => {
      const wanted = flags.allTags === true ? await withConnection(context(), (connection) => tagsOf(connection, names)) : names;
      await forEach(context(), wanted, {
        json: flags.json,
        act: async (connection, reference) => await pushImage(connection, { reference, quiet: flags.quiet }),
        lines: ({ digest }) => [digest],
      });
    });
}

/** The names with tags that images here have in these repositories. */
async function tagsOf(connection: Connection, repositories: readonly string[]): Promise<string[]> {
  const { images } = await connection.request('image.list', {});
  const references = images.flatMap((image) => image.references).filter((reference) => !reference.includes('@'));
  return repositories.flatMap((repository) => {
    if (/[@:][^/]*$/.test(repository)) throw new UsageError(`--all-tags takes repositories without a tag, and "${repository}" has one`);
    const found = references.filter((reference) => repositoryOf(reference) === repositoryOf(normalizeReference(repository))).sort();
    if (found.length > 0) return found;
    throw new StrataError('IMAGE_NOT_FOUND', `there is no image of the repository "${repository}" here`);
  });
}

function addList(program: Command, context: () => Context): void {
  program
    .command('images')
    .description('list images')
    .argument('[name]', 'only these: a repository or a whole name; * and ? stand for what one may not know')
    .option('-q, --quiet', 'ids only')
    .option('--dangling', 'only those without a name')
    .option('--no-trunc', 'whole ids')
    .option('--json', 'as JSON')
    .action(async (name: string | undefined, flags: { quiet?: true; dangling?: true; trunc: boolean; json?: true }) => {
      const { images } = await withConnection(context(), (connection) => connection.request('image.list', {}));
      const wanted = images.flatMap((image) => selected(image, name, flags.dangling === true));
      const idText = flags.trunc ? shortId : (id: string): string => id;
      if (flags.json === true) printJson(wanted);
      else if (flags.quiet === true) print(wanted.map(({ id }) => `${idText(id)}\n`).join(''));
      else print(imageTable(wanted, idText));
    });
}

/** The image with those of its names that are asked for. */
function selected(image: ImageSummary, name: string | undefined, dangling: boolean): ImageSummary[] {
  if (dangling && image.references.length > 0) return [];
  if (name === undefined) return [image];
  const pattern = namePattern(name);
  const references = image.references.filter((reference) => pattern.test(reference) || pattern.test(repositoryOf(reference)));
  return references.length === 0 ? [] : [{ ...image, references }];
}

/** Pure. A name as people write it, with * (not over a slash) and ? of the shell. */
function namePattern(name: string): RegExp {
  const escaped = name
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '[^/]*')
    .replaceAll('?', '[^/]');
  return new RegExp(`^(?:${escaped})$`);
}

function imageTable(images: readonly ImageSummary[], idText: (id: string) => string): string {
  const now = Date.now();
  const rows = images.flatMap((image) =>
    (image.references.length === 0 ? ['<none>'] : image.references).map((reference) => [
      reference,
      idText(image.id),
      String(image.layerCount),
      formatBytes(image.sizeBytes),
      ago(image.createdAt, now),
    ]),
  );
  return table(['IMAGE', 'IMAGE ID', 'LAYERS', 'SIZE', 'CREATED'], rows);
}

function addHistory(program: Command, context: () => Context): void {
  program
    .command('history')
    .description('how an image was made, newest step first')
    .argument('<image>')
    .option('--no-trunc', 'whole commands')
    .option('--json', 'as JSON')
    .action(async (image: string, flags: { trunc: boolean; json?: true }) => {
      const { entries } = await withConnection(context(), (connection) => connection.request('image.history', { image }));
      if (flags.json === true) {
        printJson(entries);
        return;
      }
      const width = flags.trunc ? 60 : Number.MAX_SAFE_INTEGER;
      const now = Date.now();
      const rows = entries.map(({ createdAt, createdBy, comment, layer }) => [
        layer === null ? '-' : shortId(layer.diffId),
        ago(createdAt, now),
        layer === null ? '-' : formatBytes(layer.sizeBytes),
        plainText(createdBy ?? '-', width),
        plainText(comment ?? '', width),
      ]);
      print(table(['DIFF ID', 'CREATED', 'SIZE', 'CREATED BY', 'COMMENT'], rows));
    });
}

interface ImportFlags {
  readonly cmd?: string;
  readonly image?: string;
  readonly json?: true;
}

function addImport(program: Command, context: () => Context): void {
  program
    .command('import')
    .description('make an image of a rootfs tar (FILE or - for the standard input), a rootfs directory or an OCI layout directory')
    .argument('<source>')
    .argument('[name]', 'name of the image; an OCI layout may bring its own')
    .option('--cmd <command>', 'what it runs by default: words, or a JSON array')
    .option('--image <name>', 'which image of an OCI layout with several')
    .option('--json', 'as JSON')
    .action(async (source: string, name: string | undefined, flags: ImportFlags) => {
      const image = await withConnection(context(), (connection) => importImage(connection, source, name, flags));
      if (flags.json === true) printJson(image);
      else print(`${image.id}\n`);
    });
}

async function importImage(connection: Connection, source: string, name: string | undefined, flags: ImportFlags): Promise<ImageSummary> {
  const asked: Pick<Params<'image.import'>, 'reference' | 'command'> = {
    reference: name,
    command: flags.cmd === undefined ? undefined : parseCommand(flags.cmd),
  };
  const isLayout = source !== '-' && existsSync(join(source, 'oci-layout'));
  if (flags.image !== undefined && !isLayout) throw new UsageError(`--image chooses from an OCI layout directory, and ${source} is none`);
  if (source !== '-' && isDirectory(source)) {
    const path = resolve(source);
    const kind = isLayout ? 'ociLayout' : 'directory';
    const from: Params<'image.import'>['source'] = kind === 'ociLayout' ? { kind, path, name: flags.image } : { kind, path };
    return (await connection.request('image.import', { ...asked, source: from })).image;
  }
  if (name === undefined) throw new UsageError('an archive needs a name: strata import FILE NAME');
  return await upload(connection, fileBytes(source), async (stream) => {
    const { image } = await connection.request('image.import', { ...asked, source: { kind: 'stream', stream } });
    return image;
  });
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw new StrataError('PATH_NOT_FOUND', `cannot read ${path} (${code})`, {
      hint: 'Name a tar archive, a directory, or - for the standard input.',
    });
  }
}

function addLayers(program: Command, context: () => Context): void {
  program
    .command('layers')
    .description('the overlay stack of a container or image, top first')
    .argument('<name>', 'a container, else an image')
    .option('--json', 'as JSON')
    .action(async (name: string, flags: { json?: true }) => {
      const layers = await withConnection(context(), (connection) => layerStack(connection, name));
      if (flags.json === true) printJson(layers);
      else {
        const rows = layers.map((layer) => [
          String(layer.index),
          layer.role,
          layer.sizeBytes === null ? '-' : formatBytes(layer.sizeBytes),
          entriesOf(layer),
          layer.diffId === null ? '-' : shortId(layer.diffId),
          layer.path,
        ]);
        print(table(['#', 'ROLE', 'SIZE', 'ENTRIES', 'DIFF ID', 'DIRECTORY'], rows));
      }
    });
}

function entriesOf({ entries, moreEntriesThan }: Layer): string {
  if (moreEntriesThan !== undefined) return `more than ${moreEntriesThan}`;
  return entries === null ? '-' : String(entries);
}

async function layerStack(connection: Connection, name: string) {
  try {
    return (await connection.request('layer.stack', { kind: 'container', container: name })).layers;
  } catch (error) {
    if (!(error instanceof StrataError) || error.code !== 'CONTAINER_NOT_FOUND') throw error;
  }
  try {
    return (await connection.request('layer.stack', { kind: 'image', image: name })).layers;
  } catch (error) {
    throw neither(error, name);
  }
}

function shortId(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}
