import * as vscode from 'vscode';

/** Steps of a question-and-answer with a Back button. Each answer makes the next state; `skip` leaves a step out. */
export type Step<S> = PickStep<S> | InputStep<S>;

export interface PickItem<S> extends vscode.QuickPickItem {
  readonly next: S;
  /** Asked next, after which this question stands again: a form is a pick of such items. */
  readonly details?: readonly Step<S>[];
}

export interface PickStep<S> {
  readonly kind: 'pick';
  readonly placeholder: string;
  readonly skip?: (state: S) => boolean;
  readonly items: (state: S) => readonly PickItem<S>[] | Promise<readonly PickItem<S>[]>;
  /** What was typed as an answer of its own, offered below those that fit; undefined where it is none. */
  readonly typed?: (text: string, state: S) => PickItem<S> | undefined;
}

export interface InputStep<S> {
  readonly kind: 'input';
  readonly skip?: (state: S) => boolean;
  readonly ask: (state: S) => InputQuestion | Promise<InputQuestion>;
  /** The next state, or what is wrong with the text. */
  readonly read: (text: string, state: S) => { readonly next: S } | { readonly problem: string };
}

export interface InputQuestion {
  readonly prompt: string;
  readonly value?: string;
  readonly placeholder?: string;
}

type Answer<S> = { readonly kind: 'next'; readonly state: S } | { readonly kind: 'back' } | { readonly kind: 'cancelled' };

interface Place {
  readonly title: string;
  readonly step: number;
  readonly total: number;
  /** The first of the details of an item goes back to that item. */
  readonly hasBack: boolean;
}

/** The last state, or undefined when the user left. */
export async function runSteps<S>(title: string, steps: readonly Step<S>[], initial: S): Promise<S | undefined> {
  const answer = await walk(title, steps, initial, false);
  return answer.kind === 'next' ? answer.state : undefined;
}

async function walk<S>(title: string, steps: readonly Step<S>[], initial: S, isInner: boolean): Promise<Answer<S>> {
  const answered: { readonly index: number; readonly state: S }[] = [];
  let state = initial;
  let index = nextIndex(steps, 0, state);
  while (index < steps.length) {
    const step = steps[index];
    if (step === undefined) break;
    const ahead = steps.slice(index).filter((other) => other.skip?.(state) !== true).length;
    const place = { title, step: answered.length + 1, total: answered.length + ahead, hasBack: isInner || answered.length > 0 };
    // Each question depends on the answer before.
    const answer = step.kind === 'pick' ? await pickWithDetails(step, state, place) : await input(step, state, place);
    if (answer.kind === 'cancelled') return answer;
    if (answer.kind === 'next') {
      answered.push({ index, state });
      state = answer.state;
      index = nextIndex(steps, index + 1, state);
    } else {
      const before = answered.pop();
      if (before === undefined) return answer;
      ({ index, state } = before);
    }
  }
  return { kind: 'next', state };
}

async function pickWithDetails<S>(step: PickStep<S>, initial: S, place: Place): Promise<Answer<S>> {
  let state = initial;
  for (;;) {
    const chosen = await pick(step, state, place);
    if (chosen.kind !== 'item') return chosen;
    const { details, label, next } = chosen.item;
    if (details === undefined) return { kind: 'next', state: next };
    const answer = await walk(`${place.title}: ${label}`, details, next, true);
    if (answer.kind === 'cancelled') return answer;
    if (answer.kind === 'next') state = answer.state;
  }
}

function nextIndex<S>(steps: readonly Step<S>[], from: number, state: S): number {
  let index = from;
  while (steps[index]?.skip?.(state) === true) index += 1;
  return index;
}

function prepare(box: vscode.QuickPick<vscode.QuickPickItem> | vscode.InputBox, place: Place): void {
  box.title = place.title;
  box.ignoreFocusOut = true;
  if (place.total > 1) {
    box.step = place.step;
    box.totalSteps = place.total;
  }
  box.buttons = place.hasBack ? [vscode.QuickInputButtons.Back] : [];
}

type Choice<S> = { readonly kind: 'item'; readonly item: PickItem<S> } | { readonly kind: 'back' } | { readonly kind: 'cancelled' };

async function pick<S>(step: PickStep<S>, state: S, place: Place): Promise<Choice<S>> {
  const box = vscode.window.createQuickPick<PickItem<S>>();
  try {
    prepare(box, place);
    box.placeholder = step.placeholder;
    box.matchOnDescription = true;
    return await new Promise<Choice<S>>((resolve, reject) => {
      box.onDidTriggerButton(() => resolve({ kind: 'back' }));
      box.onDidHide(() => resolve({ kind: 'cancelled' }));
      box.onDidAccept(() => {
        // Enter right after a key comes before the list has what was typed.
        const chosen = box.selectedItems[0] ?? step.typed?.(box.value.trim(), state);
        if (chosen !== undefined) resolve({ kind: 'item', item: chosen });
      });
      box.busy = true;
      box.show();
      let offered: readonly PickItem<S>[] = [];
      const offer = (): void => {
        const own = box.value.trim() === '' ? undefined : step.typed?.(box.value.trim(), state);
        // Always shown: what was typed need not be in its own words.
        box.items = own === undefined ? offered : [...offered, { ...own, alwaysShow: true }];
      };
      if (step.typed !== undefined) box.onDidChangeValue(offer);
      Promise.resolve(step.items(state)).then((items) => {
        offered = items;
        box.busy = false;
        offer();
      }, reject);
    });
  } finally {
    box.dispose();
  }
}

async function input<S>(step: InputStep<S>, state: S, place: Place): Promise<Answer<S>> {
  const question = await step.ask(state);
  const box = vscode.window.createInputBox();
  try {
    prepare(box, place);
    box.prompt = question.prompt;
    box.value = question.value ?? '';
    box.placeholder = question.placeholder ?? '';
    return await new Promise<Answer<S>>((resolve) => {
      box.onDidTriggerButton(() => resolve({ kind: 'back' }));
      box.onDidHide(() => resolve({ kind: 'cancelled' }));
      box.onDidChangeValue((text) => {
        const result = step.read(text, state);
        box.validationMessage = 'problem' in result ? result.problem : '';
      });
      box.onDidAccept(() => {
        const result = step.read(box.value, state);
        if ('problem' in result) box.validationMessage = result.problem;
        else resolve({ kind: 'next', state: result.next });
      });
      box.show();
    });
  } finally {
    box.dispose();
  }
}
