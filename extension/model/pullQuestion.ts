import { normalizeReference, registryOf, StrataError } from '../../helper/protocol/index.ts';

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

function problemOf(text: string): string {
  if (/\s/.test(text)) return 'An image name has no spaces.';
  const path = text.slice(text.indexOf('/') + 1).split(':')[0] ?? '';
  if (path !== path.toLowerCase()) return 'An image name is in lower case.';
  if (/[:@/]$/.test(text)) return 'The name goes on: name:tag, or host/name:tag.';
  return 'This is no image name: write name, name:tag, host/name:tag or name@sha256:….';
}
