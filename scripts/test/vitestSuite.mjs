// One vitest project, counted from its JSON report.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildDir, inProject, nodeBinary } from '../paths.mjs';
import { capture } from '../setup/capture.mjs';
import { asRoot } from '../setup/debianPackages.mjs';
import { plainEnvironment } from '../setup/runCommand.mjs';
import { withSecondTry } from './secondTry.mjs';

export const reportsDir = join(buildDir, 'reports');

/** Runs these files of a project; all of them where none is named. */
export function vitestCommand(project, reportFile, files = []) {
  const vitest = inProject('node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
  return [nodeBinary, vitest, 'run', '--project', project, ...reporters, ...files];
}

/** sudo drops the environment; what the tests listen to goes along as arguments. */
function throughRoot(words, env) {
  const sudo = asRoot('this test suite');
  if (sudo.length === 0) return words;
  const kept = ['PATH', 'CI', 'STRICT', 'CHROMIUM'].filter((name) => env[name] !== undefined);
  // A user's PATH may lack where dockerd, ip and mount are.
  const passedValue = (name) => (name === 'PATH' ? `${env.PATH}:/usr/sbin:/sbin` : env[name]);
  return [...sudo, 'env', ...kept.map((name) => `${name}=${passedValue(name)}`), ...words];
}

/**
 * Counts of a vitest JSON report, together and for each file. A file that could not be loaded is one failure more; so is a run
 * that ended badly although no test failed (an unhandled error), which no file answers for.
 */
export function countReport(reportFile, status, output) {
  let report;
  try {
    report = JSON.parse(readFileSync(reportFile, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0, files: [], report: `${output}\nvitest wrote no report (status ${status})` };
  }
  const files = report.testResults.map(countFile);
  const sum = (key) => files.reduce((total, file) => total + file[key], 0);
  const failed = sum('failed');
  return {
    passed: sum('passed'),
    failed: failed === 0 && status !== 0 ? 1 : failed,
    skipped: sum('skipped'),
    files,
    report: output,
  };
}

function countFile({ name, status, assertionResults }) {
  const tests = (...kinds) => assertionResults.filter((test) => kinds.includes(test.status));
  const failures = tests('failed').map((test) => test.fullName);
  const isBroken = status === 'failed' && failures.length === 0;
  return {
    name,
    passed: tests('passed').length,
    failed: isBroken ? 1 : failures.length,
    skipped: assertionResults.length - tests('passed', 'failed').length,
    failures: isBroken ? ['(the file itself)'] : failures,
  };
}

/** Generous, and still so that a suite that hangs everywhere ends within what a CI run may take. */
const timeoutMs = 25 * 60_000;

export function runVitest(project, { asRoot: needsRoot = false } = {}) {
  mkdirSync(reportsDir, { recursive: true });
  const env = plainEnvironment();
  return withSecondTry(async ({ files, name }) => {
    const reportFile = join(reportsDir, `${project}${name}.json`);
    rmSync(reportFile, { force: true });
    const words = vitestCommand(project, reportFile, files);
    const [command, ...args] = needsRoot ? throughRoot(words, env) : words;
    const { status, output } = await capture(command, args, { env, timeoutMs, logFile: join(reportsDir, `${project}${name}.log`) });
    return countReport(reportFile, status, output);
  });
}
