import * as z from 'zod';
import type { ShellChoice } from './shellProbe.ts';

const KEY = 'strata.shells';
/** Images that were not used for longest are forgotten. */
const MAX_IMAGES = 100;

/** An older or newer version of the extension may have written it. */
const entries = z.array(
  z.tuple([
    z.string(),
    z.object({ shell: z.string().min(1), user: z.string().optional(), workingDirectory: z.string().startsWith('/').optional() }),
  ]),
);

/** VS Code's own memory, as much of it as is needed here. */
export interface Memory {
  get(key: string): unknown;
  update(key: string, value: unknown): PromiseLike<void>;
}

/** How a shell was opened last in containers of an image, in all windows of this person. */
export class ShellMemory {
  readonly #state: Memory;

  constructor(state: Memory) {
    this.#state = state;
  }

  last(image: string): ShellChoice | undefined {
    const found = this.#entries().find(([known]) => known === image)?.[1];
    if (found === undefined) return undefined;
    const { shell, user, workingDirectory } = found;
    return { shell, ...(user === undefined ? {} : { user }), ...(workingDirectory === undefined ? {} : { workingDirectory }) };
  }

  remember(image: string, choice: ShellChoice): void {
    const others = this.#entries().filter(([known]) => known !== image);
    void this.#state.update(KEY, [[image, choice], ...others].slice(0, MAX_IMAGES));
  }

  #entries(): z.infer<typeof entries> {
    const parsed = entries.safeParse(this.#state.get(KEY));
    return parsed.success ? parsed.data : [];
  }
}
