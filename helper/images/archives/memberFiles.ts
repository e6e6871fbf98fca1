import { constants } from 'node:fs';
import { mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { writeContent } from '../../archive/memberContent.ts';
import { readTar, type TarMember } from '../../archive/tarReader.ts';
import { fromNative } from '../../native/errors.ts';
import { StrataError } from '../../protocol/index.ts';
import { plain } from '../imageText.ts';
import { type LayoutFiles, MetadataBudget, partsOf } from './layoutFiles.ts';

/** Of one archive: 500 layers with two files each, for a hundred images. */
const maxMembers = 100_000;
/** As much as the native core takes of one layer. */
const maxBytes = 2 ** 40;
/** PATH_MAX: what is kept of an archive in memory is bounded. */
const maxNameLength = 4096;
/** A link to a link to a link: `docker save` wrote one of them. */
const maxLinks = 8;

/**
 * The members of an archive, as files of a directory of the helper's own. They are numbered there: no name of the archive becomes one on the host, and its links are
 * followed among its members only.
 */
export class MemberFiles implements LayoutFiles {
  readonly title = 'the archive';
  readonly take = 'move';
  readonly budget = new MetadataBudget();
  readonly #directory: string;
  readonly #files = new Map<string, string>();
  readonly #links = new Map<string, string>();
  #members = 0;
  #bytes = 0;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Reads a tar to its end; `directory` is made, and removed by the caller, also after a failure. */
  static async extract(source: AsyncIterable<Uint8Array>, directory: string, signal: AbortSignal): Promise<MemberFiles> {
    const files = new MemberFiles(directory);
    try {
      await mkdir(directory, { mode: 0o700 });
      for await (const member of readTar(source)) await files.#add(member, signal);
    } catch (error) {
      if (signal.aborted) throw new StrataError('CANCELLED', 'the load was cancelled');
      throw fromNative(error, 'receive the archive');
    }
    return files;
  }

  find(name: string): Promise<string | undefined> {
    let parts = partsOf(name);
    for (let links = 0; parts !== undefined && links <= maxLinks; links += 1) {
      const path = parts.join('/');
      const target = this.#links.get(path);
      if (target === undefined) return Promise.resolve(this.#files.get(path));
      parts = partsOf(target);
    }
    return Promise.resolve(undefined);
  }

  async #add(member: TarMember, signal: AbortSignal): Promise<void> {
    if (member.kind === 'directory') return;
    if (member.name.length > maxNameLength || member.linkName.length > maxNameLength) throw tooLarge('it has a name that is no path');
    const name = partsOf(member.name)?.join('/');
    if (name === undefined) throw unsafe(member.name, 'its name leads out of the archive');
    this.#members += 1;
    if (this.#members > maxMembers) throw tooLarge(`it has more than ${maxMembers} members`);
    await this.#forget(name);
    switch (member.kind) {
      case 'file':
        this.#files.set(name, await this.#write(member, signal));
        return;
      case 'hardlink':
        this.#links.set(name, member.linkName);
        return;
      case 'symlink':
        this.#links.set(name, fromLink(name, member.linkName));
        return;
      case 'other':
        return;
    }
  }

  /** The last member of a name wins. */
  async #forget(name: string): Promise<void> {
    const earlier = this.#files.get(name);
    this.#links.delete(name);
    if (earlier === undefined) return;
    this.#files.delete(name);
    await rm(earlier);
  }

  async #write(member: TarMember, signal: AbortSignal): Promise<string> {
    this.#bytes += member.sizeBytes;
    if (this.#bytes > maxBytes) throw tooLarge(`it holds more than ${maxBytes} bytes`);
    const path = join(this.#directory, String(this.#members));
    const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      await writeContent(file, member, { signal });
    } finally {
      await file.close();
    }
    return path;
  }
}

/** Pure. What a symbolic link of this name leads to, by its name in the archive; what leads out of it is found to lead nowhere. */
function fromLink(name: string, target: string): string {
  return target.startsWith('/') ? target : join(dirname(name), target);
}

function unsafe(name: string, why: string): StrataError {
  return new StrataError('ARCHIVE_UNSAFE', `"${plain(name)}" of the archive is refused: ${why}`);
}

function tooLarge(why: string): StrataError {
  return new StrataError('ARCHIVE_TOO_LARGE', `the archive is refused: ${why}`);
}
