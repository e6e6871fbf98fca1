import { type Digest, DOCKER_HUB, type ImageSummary, registryOf, repositoryOf } from '../../helper/protocol/index.ts';
import { shortId } from './containerWords.ts';

/** An image under one of its names; without a name it has one row of its own. */
export interface NamedImage {
  readonly image: ImageSummary;
  readonly reference: string | undefined;
}

/** The images of one repository, by tag. `name` is '' for images without a name. */
export interface Repository {
  readonly name: string;
  readonly images: readonly NamedImage[];
}

/** "12" of "debian:12", "@0123456789ab" of "debian@sha256:0123456789ab…". */
export function tagOf(reference: string): string {
  const rest = reference.slice(repositoryOf(reference).length);
  return rest.startsWith('@') ? `@${shortId(rest.slice(1))}` : rest.slice(1);
}

/** The name a person would use for an image as a whole: the first, else the short id. */
export function imageName(image: ImageSummary): string {
  return image.references[0] ?? shortId(image.id);
}

/** What a person calls an image that is known under this name, or under none. */
export function nameOf({ image, reference }: NamedImage): string {
  return reference ?? shortId(image.id);
}

/** Every name of every image, those without a name last: the same images give the same order. */
export function namedImages(images: Iterable<ImageSummary>): readonly NamedImage[] {
  const named = [...images].flatMap((image): readonly NamedImage[] =>
    image.references.length === 0 ? [{ image, reference: undefined }] : image.references.map((reference) => ({ image, reference })),
  );
  const order = new Intl.Collator('en', { numeric: true }); // debian:9 before debian:12
  return named.sort(
    (a, b) =>
      Number(a.reference === undefined) - Number(b.reference === undefined) ||
      order.compare(a.reference ?? '', b.reference ?? '') ||
      a.image.id.localeCompare(b.image.id),
  );
}

/** By name, images without one last. */
export function repositoriesOf(images: Iterable<ImageSummary>): readonly Repository[] {
  const groups = new Map<string, NamedImage[]>();
  for (const named of namedImages(images)) {
    const name = named.reference === undefined ? '' : repositoryOf(named.reference);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [named]);
    else group.push(named);
  }
  const order = new Intl.Collator('en', { numeric: true });
  return [...groups]
    .map(([name, members]) => ({ name, images: members }))
    .sort((a, b) => Number(a.name === '') - Number(b.name === '') || order.compare(a.name, b.name));
}

/** How many images a repository has; two tags of one image count it once. */
export function imageCount(repository: Repository): number {
  return new Set<Digest>(repository.images.map(({ image }) => image.id)).size;
}

/** The page of Docker Hub that tells of an image with this name; undefined for one of another registry. */
export function hubPage(reference: string): string | undefined {
  if (registryOf(reference) !== DOCKER_HUB) return undefined;
  const repository = repositoryOf(reference);
  return `https://hub.docker.com/${repository.includes('/') ? `r/${repository}` : `_/${repository}`}`;
}
