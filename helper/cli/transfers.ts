import { findCredentials } from '../credentials/dockerConfig.ts';
import { type ImageSummary, type MethodResult, registryOf, StrataError } from '../protocol/index.ts';
import type { Connection } from '../wire/connection.ts';
import { LayerReport, reportingLayers } from './layerReport.ts';

export interface PullRequest {
  readonly reference: string;
  readonly platform?: string | undefined;
  readonly quiet?: true | undefined;
}

/** When `run` and `create` ask the registry: Docker's words. */
export const PULL_POLICIES = ['missing', 'always', 'never'] as const;
export type PullPolicy = (typeof PULL_POLICIES)[number];

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
