import { type PathStat, StrataError, type ViewEntry, viewEntrySchema } from '../protocol/index.ts';
import { type ArchiveRuns, named } from './archiveRuns.ts';
import type { ByteStream } from './byteStream.ts';
import type { Container } from './container.ts';

export interface FileToWrite {
  readonly path: string;
  readonly sizeBytes: number;
  readonly create: boolean;
  readonly replace: boolean;
  readonly source: AsyncIterable<Uint8Array>;
}

/** Single files of a container, running or not, through its own mounts and with the rights of its root. */
export class ContainerTree {
  readonly #runs: ArchiveRuns;

  constructor(runs: ArchiveRuns) {
    this.#runs = runs;
  }

  async list(container: Container, path: string, signal: AbortSignal): Promise<{ entries: ViewEntry[]; truncated: boolean }> {
    return await this.#runs.with(container, 'reading', signal, async ({ view, copy }) => {
      const process = this.#runs.start({ action: 'list', view, path }, `list '${path}' in ${named(container)}`);
      return await this.#runs.until(process, [copy.signal, signal], async () => {
        const text = await textOf(process.output);
        const { leftOut } = await process.done;
        return { entries: text.split('\n').flatMap((line) => (line === '' ? [] : [entryOf(line)])), truncated: leftOut > 0 };
      });
    });
  }

  async stat(container: Container, { path, follow }: { path: string; follow: boolean }, signal: AbortSignal): Promise<PathStat> {
    return await this.#runs.with(container, 'reading', signal, async ({ view, copy }) => {
      const process = this.#runs.start({ action: 'stat', view, path, follow }, `look at '${path}' in ${named(container)}`);
      return await this.#runs.until(process, [copy.signal, signal], () => process.stat);
    });
  }

  /** The content goes on the stream, which is closed at its end. */
  async read(container: Container, path: string, stream: ByteStream, signal: AbortSignal): Promise<PathStat> {
    const entered = await this.#runs.enter(container, 'reading', signal);
    const doing = `read '${path}' in ${named(container)}`;
    return await this.#runs.send({ action: 'read', view: entered.view, path }, doing, { entered, stream, signal }, async (process) => {
      const stat = await process.stat;
      if (stat.kind !== 'file')
        throw new StrataError('NOT_A_FILE', `${doing}: it is a ${stat.kind}`, { details: { path, kind: stat.kind } });
      return stat;
    });
  }

  async write(container: Container, { path, source, ...how }: FileToWrite, signal: AbortSignal): Promise<void> {
    const doing = `write '${path}' in ${named(container)}`;
    await this.#runs.take(container, { doing, source, signal }, (view) => ({ action: 'write', view, path, ...how }));
  }

  async makeDirectory(container: Container, path: string, signal: AbortSignal): Promise<void> {
    await this.#runs.change(container, `make the directory '${path}' in ${named(container)}`, signal, (view) => ({
      action: 'mkdir',
      view,
      path,
    }));
  }

  async remove(container: Container, { path, recursive }: { path: string; recursive: boolean }, signal: AbortSignal): Promise<void> {
    await this.#runs.change(container, `remove '${path}' in ${named(container)}`, signal, (view) => ({
      action: 'remove',
      view,
      path,
      recursive,
    }));
  }

  async rename(container: Container, how: { path: string; to: string; replace: boolean }, signal: AbortSignal): Promise<void> {
    await this.#runs.change(container, `rename '${how.path}' in ${named(container)}`, signal, (view) => ({
      action: 'rename',
      view,
      ...how,
    }));
  }
}

async function textOf(output: AsyncIterable<Buffer> | null): Promise<string> {
  const chunks: Buffer[] = [];
  if (output !== null) for await (const bytes of output) chunks.push(bytes);
  return Buffer.concat(chunks).toString();
}

function entryOf(line: string): ViewEntry {
  return viewEntrySchema.parse(JSON.parse(line));
}
