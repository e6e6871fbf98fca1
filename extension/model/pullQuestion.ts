import { DOCKER_HUB, normalizeReference, registryOf, StrataError } from '../../helper/protocol/index.ts';

export type ReferenceJudgement =
  | { readonly kind: 'empty' }
  | { readonly kind: 'invalid'; readonly problem: string }
  | { readonly kind: 'valid'; readonly reference: string; readonly from: string };

/** Pure. What a name of an image, as far as it is typed, would bring and from where. */
export function judgeReference(text: string): ReferenceJudgement {
  const typed = text.trim();
  if (typed === '') return { kind: 'empty' };
  try {
    const reference = normalizeReference(typed);
    return { kind: 'valid', reference, from: registryOf(reference) };
  } catch (error) {
    if (!(error instanceof StrataError)) throw error;
    return { kind: 'invalid', problem: problemOf(typed) };
  }
}

/** What a name would bring: short names are of Docker Hub, which is worth saying. */
export function originWords({ reference, from }: { readonly reference: string; readonly from: string }): string {
  if (from !== DOCKER_HUB) return `${reference} from ${from}`;
  return reference.includes('/')
    ? `${DOCKER_HUB}/${reference}: an image of a user or team of Docker Hub`
    : `${DOCKER_HUB}/library/${reference}: an official image of Docker Hub`;
}

function problemOf(text: string): string {
  if (/\s/.test(text)) return 'An image name has no spaces.';
  const path = text.slice(text.indexOf('/') + 1).split(':')[0] ?? '';
  if (path !== path.toLowerCase()) return 'An image name is in lower case.';
  if (/[:@/]$/.test(text)) return 'The name goes on: name:tag, or host/name:tag.';
  return 'This is no image name: write name, name:tag, host/name:tag or name@sha256:….';
}
