import { findCredentials } from '../credentials/dockerConfig.ts';
import {
  type EventParams,
  formatBytes,
  type ImageSummary,
  type MethodResult,
  type PullLayer,
  pullText,
  registryOf,
  StrataError,
} from '../protocol/index.ts';
import type { Connection } from '../wire/connection.ts';

export interface PullRequest {
  readonly reference: string;
  readonly platform?: string | undefined;
  readonly quiet?: true | undefined;
}

/** When `run` and `create` ask the registry: Docker's words. */
export const PULL_POLICIES = ['missing', 'always', 'never'] as const;
export type PullPolicy = (typeof PULL_POLICIES)[number];

let lastProgress = 0;

/** Brings an image with what the person logged in with, and tells on stderr how far it is. */
export async function pullImage(connection: Connection, { reference, platform, quiet }: PullRequest): Promise<ImageSummary> {
  const credentials = await findCredentials(registryOf(reference));
  return await reportingLayers(connection, quiet === true ? undefined : new LayerReport(reference, 'pulled'), async (progress) => {
    const { image } = await connection.request('image.pull', { reference, platform, credentials, progress });
    return image;
  });
}

/** Sends an image with what the person logged in with, and tells on stderr how far it is. */
export async function pushImage(
  connection: Connection,
  { reference, quiet }: Omit<PullRequest, 'platform'>,
): Promise<MethodResult<'image.push'>> {
  const credentials = await findCredentials(registryOf(reference));
  return await reportingLayers(connection, quiet === true ? undefined : new LayerReport(reference, 'pushed'), (progress) =>
    connection.request('image.push', { reference, credentials, progress }),
  );
}

/** Gives the request a number of its own, under which the helper tells how far its layers are. */
export async function reportingLayers<T>(
  connection: Connection,
  report: LayerReport | undefined,
  action: (progress: number) => Promise<T>,
): Promise<T> {
  lastProgress += 1;
  const progress = lastProgress;
  const stop = connection.onEvent((event, params) => {
    if (event !== 'image.pulling') return;
    const told = params as EventParams<'image.pulling'>; // of this event
    if (told.progress === progress) report?.show(told.layers);
  });
  try {
    return await action(progress);
  } finally {
    stop();
    report?.close();
  }
}

/** Does what needs an image, and pulls the image first where the policy says so. */
export async function withImage<T>(
  connection: Connection,
  image: string,
  { policy, quiet }: { policy: PullPolicy; quiet: true | undefined },
  action: () => Promise<T>,
): Promise<T> {
  if (policy === 'always') await pullImage(connection, { reference: image, quiet });
  try {
    return await action();
  } catch (error) {
    const isMissing = error instanceof StrataError && error.code === 'IMAGE_NOT_FOUND';
    if (!isMissing || policy !== 'missing' || image.startsWith('sha256:')) throw error;
    await pullMissing(connection, image, quiet);
  }
  return await action();
}

async function pullMissing(connection: Connection, image: string, quiet: true | undefined): Promise<void> {
  try {
    await pullImage(connection, { reference: image, quiet });
  } catch (error) {
    if (!(error instanceof StrataError) || error.code === 'CONNECTION_CLOSED' || error.code === 'CANCELLED') throw error;
    // It is not here: that comes first, and then why it cannot be brought.
    throw new StrataError(error.code, `there is no image "${image}" here, and it cannot be pulled: ${error.message}`, {
      hint: error.hint,
      details: error.details,
      cause: error,
    });
  }
}

/** On a terminal one line that changes; elsewhere a line for each layer that is there. */
export class LayerReport {
  readonly #name: string;
  readonly #verb: string;
  readonly #out = process.stderr;
  readonly #told = new Set<string>();
  #isLineOpen = false;

  constructor(name: string, verb: 'pulled' | 'loaded' | 'saved' | 'pushed') {
    this.#name = name;
    this.#verb = verb;
  }

  /** What is not of layers, on a terminal alone. */
  say(text: string): void {
    if (!this.#out.isTTY) return;
    this.#out.write(`\r\u001b[K${this.#name}: ${text}`.slice(0, (this.#out.columns || 80) + 4));
    this.#isLineOpen = true;
  }

  show(layers: readonly PullLayer[]): void {
    if (this.#out.isTTY) {
      this.say(pullText(layers));
      return;
    }
    for (const { digest, state, totalBytes } of layers) {
      const end = this.#endWords(state, totalBytes);
      if (end === undefined || this.#told.has(digest)) continue;
      this.#told.add(digest);
      this.#out.write(`${digest.slice(7, 19)}: ${end}\n`);
    }
  }

  /** Undefined: there is more to come. */
  #endWords(state: PullLayer['state'], totalBytes: number): string | undefined {
    if (state === 'present') return `${this.#verb === 'pushed' ? 'there' : 'here'} already`;
    if (state === 'mounted') return 'taken from another repository';
    return state === 'done' ? `${this.#verb}, ${formatBytes(totalBytes)}` : undefined;
  }

  close(): void {
    if (this.#isLineOpen) this.#out.write('\r\u001b[K');
  }
}
