import { type Digest, digestSchema, isRegistryHost, registryOf } from '../../protocol/index.ts';

/** Where an image's name points to: a repository of a registry, and in it a tag or a digest. */
export interface RemoteName {
  /** Host and port, as people write it; Docker Hub is "docker.io". */
  readonly registry: string;
  readonly repository: string;
  readonly target: { readonly kind: 'tag'; readonly tag: string } | { readonly kind: 'digest'; readonly digest: Digest };
}

/** Of a name as `normalizeReference` gives it. The first part is a host where it looks like one, as Docker reads names. */
export function remoteName(reference: string): RemoteName {
  const [named = '', digest] = reference.split('@');
  const slash = named.indexOf('/');
  const head = named.slice(0, Math.max(slash, 0));
  const hasHost = isRegistryHost(head);
  const path = hasHost ? named.slice(slash + 1) : named;
  const colon = path.indexOf(':');
  const repository = colon === -1 ? path : path.slice(0, colon);
  return {
    registry: registryOf(named),
    repository: hasHost || repository.includes('/') ? repository : `library/${repository}`,
    target:
      digest === undefined
        ? { kind: 'tag', tag: colon === -1 ? 'latest' : path.slice(colon + 1) }
        : { kind: 'digest', digest: digestSchema.parse(digest) },
  };
}
