import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

/**
 * An ext4 file system on a loop device, for stores and uppers: block allocation on the root file systems of small virtual
 * machines can cost twenty times the usual, which would drown every difference.
 */
export class LoopStore implements Disposable {
  readonly directory: string;
  readonly #workspace: string;

  /** `isWritten`: its blocks are allocated beforehand, so that not even the first writes pay for that. */
  constructor(sizeMib = 4096, { isWritten = false }: { isWritten?: boolean } = {}) {
    this.#workspace = fs.mkdtempSync(path.join(os.tmpdir(), 'strata-bench-'));
    const image = this.#image;
    this.directory = path.join(this.#workspace, 'store');
    fs.mkdirSync(this.directory);
    fs.writeFileSync(image, '');
    if (isWritten) execFileSync('dd', ['if=/dev/zero', `of=${image}`, 'bs=1M', `count=${sizeMib}`, 'status=none']);
    else fs.truncateSync(image, sizeMib * 1024 * 1024);
    execFileSync('mkfs.ext4', ['-q', '-F', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0', image]);
    this.#mount();
  }

  /** As it is after an unmount and a mount: what was written and not synced may be lost. Nobody may use it. */
  mountAgain(): void {
    execFileSync('umount', [this.directory]);
    this.#mount();
  }

  get #image(): string {
    return path.join(this.#workspace, 'ext4');
  }

  #mount(): void {
    execFileSync('mount', ['-o', 'loop,noatime', this.#image, this.directory]);
  }

  [Symbol.dispose](): void {
    // Lazily: the last supervisor may still be giving up its mount.
    execFileSync('umount', ['--lazy', this.directory]);
    fs.rmSync(this.#workspace, { recursive: true });
  }
}
