import { judgeReference } from '../model/pullQuestion.ts';
import type { InputStep } from './steps.ts';

/** What names the image that it makes. */
export interface Naming {
  /** As typed; "" for an image without a name. */
  readonly reference: string;
}

/** The name of an image that is made; it may have none. */
export function newNameStep<S extends Naming>(): InputStep<S> {
  return {
    kind: 'input',
    ask: ({ reference }) => ({
      prompt: 'Name of the image: name, name:tag or registry/name:tag. Empty: it has none, and goes by its id.',
      value: reference,
    }),
    read: (text, state) => {
      const judgement = judgeReference(text);
      return judgement.kind === 'invalid' ? { problem: judgement.problem } : { next: { ...state, reference: text.trim() } };
    },
  };
}

/** A name to begin with, or "" where the tag does not make it one. */
export function suggestedName(repository: string, tag: string): string {
  const name = `${repository}:${tag}`;
  return judgeReference(name).kind === 'valid' ? name : '';
}

/** The name with its tag, as images have it; what is none stays as it is. */
export function normalizedName(text: string): string {
  const judgement = judgeReference(text);
  return judgement.kind === 'valid' ? judgement.reference : text;
}
