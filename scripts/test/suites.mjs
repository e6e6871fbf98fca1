// The suites, and which of them run side by side.
import { printChecks, runChecks } from '../check.mjs';
import { runNativeTests } from './nativeSuite.mjs';
import { runVitest } from './vitestSuite.mjs';
import { runInVm } from './vmSuite.mjs';

async function runCheckSuite() {
  const results = await runChecks();
  printChecks(results);
  const failed = results.filter(({ findings }) => findings.length > 0).length;
  return { passed: results.length - failed, failed, skipped: 0, report: '' };
}

/**
 * `goal` is what the set-up must reach first. A result counts tests; `report` is what to show when something failed.
 * @type {Record<string, {goal: string, run: () => Promise<{passed: number, failed: number, skipped: number, report: string}>}>}
 */
export const suites = {
  check: { goal: 'check', run: runCheckSuite },
  unit: { goal: 'unit', run: () => runVitest('unit') },
  native: { goal: 'native', run: runNativeTests },
  vm: { goal: 'vm', run: runInVm },
  integration: { goal: 'integration', run: () => runVitest('integration', { asRoot: true }) },
  e2e: { goal: 'e2e', run: () => runVitest('e2e', { asRoot: true }) },
};

/** Phases of lanes of suites. Integration measures cpu shares and e2e is slow when starved: each has the machine alone. */
export const lanes = [[['check', 'unit', 'native'], ['vm']], [['integration']], [['e2e']]];
