import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runSteps } from '../../../scripts/setup/runSteps.mjs';
import { clearStamp } from '../../../scripts/setup/stamps.mjs';

let folder: string;
let ran: string[];

/** Steps in a folder of the test's own, `made` after `base`; stamps are named by the folder, so that tests do not meet. */
function table(folder: string, failing?: string) {
  const step = (name: string, needs: string[]) => ({
    id: `${folder.replaceAll('/', '-')}-${name}`,
    why: `the ${name} of a test`,
    needs: needs.map((need) => `${folder.replaceAll('/', '-')}-${need}`),
    inputs: () => [join(folder, 'input')],
    outputs: () => [],
    help: `mend the ${name}`,
    run: () => {
      ran.push(name);
      if (name === failing) throw new Error('it broke');
    },
  });
  return [step('base', []), step('made', ['base']), step('unasked', [])];
}

const silent = () => {};
const wanted = (steps: readonly { readonly id: string }[]) => steps.filter(({ id }) => id.endsWith('-made')).map(({ id }) => id);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'strata-steps-'));
  writeFileSync(join(folder, 'input'), 'one');
  ran = [];
});

afterEach(() => {
  for (const step of table(folder)) clearStamp(step);
  rmSync(folder, { recursive: true });
});

test('runs what is needed, in order, and nothing again until an input changes', async () => {
  const steps = table(folder);
  await runSteps(steps, wanted(steps), silent);
  expect(ran).toEqual(['base', 'made']);
  await runSteps(steps, wanted(steps), silent);
  expect(ran).toEqual(['base', 'made']);
  writeFileSync(join(folder, 'input'), 'two');
  await runSteps(steps, wanted(steps), silent);
  expect(ran).toEqual(['base', 'made', 'base', 'made']);
});

test('what a step makes is looked at when it has run, by those that read it', async () => {
  const made = join(folder, 'made');
  const steps = table(folder).map((step) =>
    step.id.endsWith('-base')
      ? { ...step, run: () => writeFileSync(made, readFileSync(join(folder, 'input'))) }
      : { ...step, inputs: () => [made] },
  );
  for (const [content, runs] of [
    ['one', 1],
    ['two', 2],
    ['two', 2],
  ] as const) {
    writeFileSync(join(folder, 'input'), content);
    await runSteps(steps, wanted(steps), silent);
    expect(ran).toHaveLength(runs);
  }
});

test('a failure says which step, why and what to do, and is not taken for done', async () => {
  const steps = table(folder, 'base');
  await expect(runSteps(steps, wanted(steps), silent)).rejects.toThrow(
    /-base' \(the base of a test\) failed: it broke\n {2}what to do: mend the base/,
  );
  expect(ran).toEqual(['base']);
  const mended = table(folder);
  await runSteps(mended, wanted(mended), silent);
  expect(ran).toEqual(['base', 'base', 'made']);
});
