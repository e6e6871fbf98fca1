import * as vscode from 'vscode';
import { judgeReference } from '../model/pullQuestion.ts';

interface ReferenceQuestion {
  readonly title: string;
  readonly prompt: string;
  readonly value?: string;
  /** What a name that can be one would mean here: shown while it is typed. */
  readonly meaning: (name: { readonly reference: string; readonly from: string }) => string;
}

/** Asks for the name of an image, and says while it is typed what is wrong with it, or what it means. Normalised; undefined where the person left. */
export async function askReference({ title, prompt, value = '', meaning }: ReferenceQuestion): Promise<string | undefined> {
  const text = await vscode.window.showInputBox({
    title,
    prompt,
    value,
    ignoreFocusOut: true,
    validateInput: (typed) => {
      const judgement = judgeReference(typed);
      if (judgement.kind === 'invalid') return judgement.problem;
      if (judgement.kind === 'empty') return undefined;
      return { message: meaning(judgement), severity: vscode.InputBoxValidationSeverity.Info };
    },
  });
  const judgement = judgeReference(text ?? '');
  return judgement.kind === 'valid' ? judgement.reference : undefined;
}
