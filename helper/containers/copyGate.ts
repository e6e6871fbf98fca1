import { StrataError } from '../protocol/index.ts';

/**
 * How a copy reaches a container's files: `running`, through its mounts; `reading` and `writing`, through an overlay of its own while the
 * container does not run; `changes`, its upper directory alone, read as it is.
 */
export type CopyKind = 'running' | 'reading' | 'writing' | 'changes';

export interface Copy {
  /** Aborted with a StrataError when it has to end. */
  readonly signal: AbortSignal;
  /** It is over, and nothing of it is mounted any more. */
  leave(): void;
}

interface Holder {
  readonly kind: CopyKind;
  readonly abort: AbortController;
  readonly left: PromiseWithResolvers<void>;
}

/**
 * The copies of one container.
 *
 * Invariant: no two overlays have the container's upper directory at the same time, unless both only read it: what overlayfs shows of an upper
 * that somebody else changes is undefined.
 */
export class CopyGate {
  readonly #holders = new Set<Holder>();

  get isIdle(): boolean {
    return this.#holders.size === 0;
  }

  /** Undefined where it has to wait for others; `whenLeft` tells when to ask again. */
  tryEnter(kind: CopyKind): Copy | undefined {
    if ([...this.#holders].some((holder) => excludes(holder.kind, kind))) return undefined;
    const holder: Holder = { kind, abort: new AbortController(), left: Promise.withResolvers() };
    this.#holders.add(holder);
    return {
      signal: holder.abort.signal,
      leave: () => {
        this.#holders.delete(holder);
        holder.left.resolve();
      },
    };
  }

  /** One of those who are there has left; at once where nobody is. */
  async whenLeft(): Promise<void> {
    if (!this.isIdle) await Promise.race([...this.#holders].map(({ left }) => left.promise));
  }

  /** Ends the copies that would meet what comes now, and waits until they are over. */
  async end(why: string, kinds: readonly CopyKind[] = ['running', 'reading', 'writing', 'changes']): Promise<void> {
    const ended = [...this.#holders].filter(({ kind }) => kinds.includes(kind));
    for (const { abort } of ended) abort.abort(new StrataError('COPY_INTERRUPTED', `the copy was ended: ${why}`));
    await Promise.all(ended.map(({ left }) => left.promise));
  }
}

/** One mount of a running container serves all its copies; what is left of a run holds its upper until it is over. */
function excludes(present: CopyKind, next: CopyKind): boolean {
  if (present === 'changes' || next === 'changes') return false;
  return present !== next || present === 'writing';
}
