import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, constants, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Logger } from '../log.ts';
import type { Addon } from '../native/addon.ts';
import { type ImageSummary, normalizeReference, type Params, StrataError } from '../protocol/index.ts';
import { Slots } from '../slots.ts';
import type { Layout } from '../store/layout.ts';
import { plain } from './imageText.ts';
import type { ImageImports } from './imports.ts';

export type BootstrapRequest = Omit<Params<'image.bootstrap'>, 'progress'>;

/** Where Debian installs them; nobody's PATH is asked. */
const programDirectories = ['/usr/sbin', '/usr/bin'];
const programs = ['mmdebstrap', 'debootstrap'] as const;
type Program = (typeof programs)[number];

/** Each unpacks hundreds of packages. */
const atOnce = 2;
const keptLines = 20;

/**
 * Makes root file systems of Debian and its like with mmdebstrap or debootstrap, where one of them is installed.
 *
 * Invariants: the program has mount and pid namespaces of its own, and dies with the helper: its mounts and processes go with it; what it writes lies below `tmp`.
 */
export class ImageBootstraps {
  readonly #layout: Layout;
  readonly #addon: Addon;
  readonly #imports: ImageImports;
  readonly #log: Logger;
  readonly #slots = new Slots(atOnce);

  constructor(options: { layout: Layout; addon: Addon; imports: ImageImports; log: Logger }) {
    this.#layout = options.layout;
    this.#addon = options.addon;
    this.#imports = options.imports;
    this.#log = options.log;
  }

  /** `onLine` is told what the program says. */
  async make(
    request: BootstrapRequest,
    { signal, onLine }: { readonly signal: AbortSignal; readonly onLine: (line: string) => void },
  ): Promise<ImageSummary> {
    const reference = normalizeReference(request.reference);
    const program = await installedProgram();
    return await this.#slots.run(async () => {
      const directory = join(this.#layout.temporary, `bootstrap-${randomBytes(8).toString('hex')}`);
      try {
        signal.throwIfAborted();
        await mkdir(join(directory, 'tmp'), { recursive: true, mode: 0o755 });
        const { args, rootfs } = commandLine(program.name, request, directory);
        await this.#run([program.path, ...args], { directory, request, signal, onLine });
        const options = { reference, command: ['bash'], signal, title: `${program.name} ${request.suite}` };
        return rootfs.kind === 'archive'
          ? await this.#imports.file(rootfs.path, options)
          : await this.#imports.directory(rootfs.path, options);
      } catch (error) {
        if (signal.aborted) throw new StrataError('CANCELLED', 'the bootstrap was cancelled');
        throw error;
      } finally {
        await this.#removeTree(directory);
      }
    });
  }

  async #run(
    command: readonly string[],
    options: {
      readonly directory: string;
      readonly request: BootstrapRequest;
      readonly signal: AbortSignal;
      readonly onLine: (line: string) => void;
    },
  ): Promise<void> {
    const { directory, request, signal, onLine } = options;
    const child = spawn('/usr/bin/setpriv', [...alone, ...command], {
      cwd: '/',
      env: { ...environment(), TMPDIR: join(directory, 'tmp') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const kill = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill, { once: true });
    try {
      const said: string[] = [];
      const tell = (line: string): void => {
        said.push(line);
        if (said.length > keptLines) said.shift();
        onLine(line);
      };
      const [code] = await Promise.all([ended(child), ...[child.stdout, child.stderr].map((output) => eachLine(output, tell))]);
      signal.throwIfAborted();
      if (code !== 0) throw failed(request, said);
    } finally {
      signal.removeEventListener('abort', kill);
    }
  }

  async #removeTree(path: string): Promise<void> {
    try {
      await this.#addon.removeTree(path);
    } catch (error) {
      this.#log.warn({ err: error, path }, 'cannot remove a temporary directory; the next start tries again');
    }
  }
}

/** Of util-linux, which every Debian has: all that the program starts and mounts ends with this one process, and that with the helper. */
const alone = ['--pdeathsig', 'KILL', '--', '/usr/bin/unshare', '--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc', '--'];

/** The helper's own is nobody's business; proxies are how some hosts reach a mirror. */
function environment(): Record<string, string> {
  const proxies = ['http_proxy', 'https_proxy', 'no_proxy'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    DEBIAN_FRONTEND: 'noninteractive',
    ...Object.fromEntries(proxies),
  };
}

async function installedProgram(): Promise<{ readonly name: Program; readonly path: string }> {
  for (const name of programs) {
    for (const directory of programDirectories) {
      const path = join(directory, name);
      const isThere = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (isThere) return { name, path };
    }
  }
  throw new StrataError('FEATURE_MISSING', 'neither mmdebstrap nor debootstrap is installed on the host of the helper', {
    hint: 'Install one of them there: sudo apt-get install mmdebstrap',
  });
}

type Rootfs = { readonly kind: 'archive' | 'directory'; readonly path: string };

/** Pure. Arguments, and where the root file system is then. Every word of the request is one that no option can look like. */
export function commandLine(
  program: Program,
  { suite, variant = 'minbase', mirror, include = [] }: BootstrapRequest,
  directory: string,
): { readonly args: string[]; readonly rootfs: Rootfs } {
  const packages = include.length === 0 ? [] : [`--include=${include.join(',')}`];
  if (program === 'mmdebstrap') {
    const path = join(directory, 'rootfs.tar');
    const args = ['--mode=root', '--format=tar', `--variant=${mmdebstrapVariants[variant]}`, ...packages, '--', suite, path];
    return { args: [...args, ...(mirror === undefined ? [] : [mirror])], rootfs: { kind: 'archive', path } };
  }
  const path = join(directory, 'rootfs');
  const variants = variant === 'standard' ? [] : [`--variant=${variant}`];
  return { args: [...variants, ...packages, suite, path, ...(mirror === undefined ? [] : [mirror])], rootfs: { kind: 'directory', path } };
}

/** What debootstrap makes without a variant is "important" there. */
const mmdebstrapVariants = { minbase: 'minbase', buildd: 'buildd', standard: 'important' } as const;

async function ended(child: ChildProcess): Promise<number | null> {
  const [code] = (await once(child, 'close')) as [number | null];
  return code;
}

const maxLine = 4096;

async function eachLine(output: Readable, tell: (line: string) => void): Promise<void> {
  let rest = '';
  output.setEncoding('utf8');
  for await (const text of output as AsyncIterable<string>) {
    const lines = (rest + text).split(/[\r\n]+/);
    rest = (lines.pop() ?? '').slice(0, maxLine);
    for (const line of lines) if (line.trim() !== '') tell(plain(line));
  }
  if (rest.trim() !== '') tell(plain(rest));
}

function failed({ suite, mirror }: BootstrapRequest, said: readonly string[]): StrataError {
  const why = said.findLast((line) => /^(?:E:|Err:|error)/i.test(line)) ?? said.at(-1) ?? 'it said nothing';
  return new StrataError('RUNTIME_FAILED', `"${suite}" cannot be made${mirror === undefined ? '' : ` of ${mirror}`}: ${why}`, {
    hint: 'Check suite, mirror and network. The keyring of another distribution is a package: debian-archive-keyring, ubuntu-keyring.',
    details: { output: said.join('\n').slice(-3000) },
  });
}
