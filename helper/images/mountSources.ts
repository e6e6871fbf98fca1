import type { Digest } from '../protocol/index.ts';
import type { KnownBlobs } from './imageStore.ts';
import { type RemoteName, remoteName } from './registry/remoteName.ts';

/** More questions would cost more than they save. */
const mostSources = 3;

/**
 * Pure. By blob: repositories of the registry that is pushed to, but not the one that is, that may have it by what images came from there or
 * went there; the ones heard of last come first.
 */
export function mountSources(known: readonly KnownBlobs[], target: Pick<RemoteName, 'registry' | 'repository'>): Map<Digest, string[]> {
  const found = new Map<Digest, string[]>();
  for (const { repositoryDigests, blobs } of known) {
    const repositories = repositoryDigests
      .map((text) => remoteName(text))
      .filter(({ registry, repository }) => registry === target.registry && repository !== target.repository)
      .map(({ repository }) => repository)
      .toReversed();
    if (repositories.length === 0) continue;
    for (const blob of blobs) found.set(blob, [...new Set([...(found.get(blob) ?? []), ...repositories])].slice(0, mostSources));
  }
  return found;
}
