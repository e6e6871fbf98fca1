import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { writeWhole } from '../../archive/writeWhole.ts';
import { archiveFormats, formatBytes, type MethodResult } from '../../protocol/index.ts';
import { loadArchive, saveImages } from '../../wire/imageArchives.ts';
import { fileBytes, refuseTerminal, stdinBytes, toStdout } from '../archiveStreams.ts';
import { type Context, print, printJson, withConnection } from '../context.ts';
import { LayerReport, reportingLayers } from '../layerReport.ts';

export function addImageArchiveCommands(program: Command, context: () => Context): void {
  addLoad(program, context);
  addSave(program, context);
}

interface LoadFlags {
  readonly input?: string;
  readonly image?: string;
  readonly platform?: string;
  readonly quiet?: true;
  readonly json?: true;
}

function addLoad(program: Command, context: () => Context): void {
  program
    .command('load')
    .description(
      'images of an archive that docker, podman or skopeo wrote (gzip, zstd and xz are unpacked), or of an OCI image layout directory',
    )
    .option('-i, --input <path>', 'a file or directory instead of the standard input')
    .option('--image <name>', 'which of several: its name, or the start of its id')
    .option('--platform <platform>', 'such as linux/arm64, where the archive has several; else that of the host')
    .option('-q, --quiet', 'without a word about how far it is')
    .option('--json', 'as JSON')
    .action(async (flags: LoadFlags) => {
      const images = await withConnection(context(), async (connection) => {
        const choice = { image: flags.image, platform: flags.platform };
        const title = flags.input ?? 'standard input';
        const report = flags.quiet === true ? undefined : new LayerReport(title, 'loaded');
        return await reportingLayers(connection, report, async (progress) => {
          if (flags.input !== undefined && isDirectory(flags.input)) {
            const source = { kind: 'directory', path: resolve(flags.input) } as const;
            return (await connection.request('image.load', { ...choice, source, progress })).images;
          }
          const bytes = flags.input === undefined ? stdinBytes() : fileBytes(flags.input);
          return await loadArchive(
            connection,
            counted(bytes, (sent) => report?.say(`${formatBytes(sent)} read`)),
            { ...choice, progress },
          );
        });
      });
      if (flags.json === true) printJson(images);
      else print(images.flatMap(loadedLines).join(''));
    });
}

/** As docker says it. */
function loadedLines({ image, references }: MethodResult<'image.load'>['images'][number]): string[] {
  if (references.length === 0) return [`Loaded image ID: ${image.id}\n`];
  return references.map((reference) => `Loaded image: ${reference}\n`);
}

const stepMs = 200;

/** `tell` is told now and then how many bytes have gone through. */
async function* counted(source: AsyncIterable<Uint8Array>, tell: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  let sent = 0;
  let shownAt = 0;
  for await (const bytes of source) {
    yield bytes;
    sent += bytes.byteLength;
    if (performance.now() - shownAt < stepMs) continue;
    shownAt = performance.now();
    tell(sent);
  }
}

/** What cannot be looked at is read as a file, which tells what is wrong with it. */
function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

function addSave(program: Command, context: () => Context): void {
  program
    .command('save')
    .description('images as one archive, which "strata load", docker, podman, skopeo and containerd take')
    .argument('<images...>', 'names, which the archive keeps; an id has none')
    .option('-o, --output <file>', 'to a file instead of the standard output')
    .addOption(
      new Option('--format <format>', 'docker-archive is an OCI image layout, too; oci-archive is nothing else')
        .choices(archiveFormats)
        .default('docker-archive'),
    )
    .action(async (images: string[], flags: { output?: string; format: (typeof archiveFormats)[number] }) => {
      if (flags.output === undefined) refuseTerminal('-o FILE');
      await withConnection(context(), async (connection) => {
        const { bytes, sizeBytes } = await saveImages(connection, { images, format: flags.format });
        if (flags.output === undefined) {
          await toStdout(bytes);
          return;
        }
        const report = new LayerReport(flags.output, 'saved');
        try {
          await writeWhole(
            counted(bytes, (sent) => report.say(`${formatBytes(sent)} of ${formatBytes(sizeBytes)}`)),
            flags.output,
          );
        } finally {
          report.close();
        }
      });
    });
}
