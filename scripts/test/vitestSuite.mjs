// One vitest project, counted from its JSON report.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildDir, inProject, nodeBinary } from '../paths.mjs';
import { capture } from '../setup/capture.mjs';
import { asRoot } from '../setup/debianPackages.mjs';
import { plainEnvironment } from '../setup/runCommand.mjs';

export const reportsDir = join(buildDir, 'reports');

export function vitestCommand(project, reportFile) {
  const vitest = inProject('node_modules/vitest/vitest.mjs');
  return [nodeBinary, vitest, 'run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`];
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
 * Counts of a vitest JSON report. A file that could not be loaded, or a run that ended badly although no test failed
 * (an unhandled error), is one failure more.
 */
export function countReport(reportFile, status, output) {
  let report;
  try {
    report = JSON.parse(readFileSync(reportFile, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0, report: `${output}\nvitest wrote no report (status ${status})` };
  }
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = report.numFailedTests + brokenFiles;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && status !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
    report: output,
  };
}

/** Generous, and still so that a suite that hangs everywhere ends within what a CI run may take. */
const timeoutMs = 25 * 60_000;

export async function runVitest(project, { asRoot: needsRoot = false } = {}) {
  mkdirSync(reportsDir, { recursive: true });
  const reportFile = join(reportsDir, `${project}.json`);
  rmSync(reportFile, { force: true });
  const env = plainEnvironment();
  const words = vitestCommand(project, reportFile);
  const [command, ...args] = needsRoot ? throughRoot(words, env) : words;
  const { status, output } = await capture(command, args, { env, timeoutMs, logFile: join(reportsDir, `${project}.log`) });
  return countReport(reportFile, status, output);
}
