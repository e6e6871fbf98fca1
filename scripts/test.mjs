#!/usr/bin/env node
// npm test: set-up, then every suite, then one line `N passed, M failed` (`, K skipped`). With names: those suites only.
import { setup } from './setup.mjs';
import { lanes, suites } from './test/suites.mjs';

const chosen = process.argv.slice(2);
const unknown = chosen.find((name) => !Object.hasOwn(suites, name));
if (unknown !== undefined) {
  console.error(`test: no suite is called '${unknown}'; there are: ${Object.keys(suites).join(', ')}`);
  process.exit(2);
}
const isChosen = (name) => chosen.length === 0 || chosen.includes(name);
const isStrict = process.env.CI === 'true' || process.env.STRICT === '1';
if (isStrict) process.env.STRICT = '1';

try {
  const goals = Object.keys(suites)
    .filter(isChosen)
    .map((name) => suites[name].goal);
  await setup(...goals);
} catch (error) {
  console.error(`\n[setup] ${error.message}`);
  console.log('0 passed, 1 failed');
  process.exit(1);
}

const total = { passed: 0, failed: 0, skipped: 0 };

async function runSuite(name) {
  console.log(`[test] ${name} ...`);
  const start = Date.now();
  const result = await suites[name].run();
  const { passed, skipped, report, flaky = [] } = result;
  // A suite that ran nothing has not shown anything: a wrong pattern or an empty binary must not look like a pass.
  const failed = passed + result.failed === 0 ? 1 : result.failed;
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  // One write, so that what a suite says stays together while another runs beside it.
  const details = failed > 0 || flaky.length > 0 ? `${report.trimEnd()}\n` : '';
  const notes = flaky.map((test) => `[test] flaky, passed only on a second try: ${test}\n`).join('');
  process.stdout.write(
    `${details}${notes}[test] ${name}: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''} (${seconds} s)\n`,
  );
}

for (const phase of lanes) {
  await Promise.all(
    phase.map(async (lane) => {
      for (const name of lane.filter(isChosen)) await runSuite(name);
    }),
  );
}

const { passed, failed, skipped } = total;
if (isStrict && skipped > 0) console.log('[test] a skipped test is a failure here (CI=true or STRICT=1)');
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(failed > 0 || (isStrict && skipped > 0) ? 1 : 0);
