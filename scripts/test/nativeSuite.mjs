// The doctest binary, as the product is built and with sanitizers, counted from its XML reports.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildDir } from '../paths.mjs';
import { capture } from '../setup/capture.mjs';
import { plainEnvironment } from '../setup/runCommand.mjs';
import { reportsDir } from './vitestSuite.mjs';

const builds = ['native', 'native-sanitized'];

// A sanitizer's finding must end the run; LeakSanitizer's ptrace does not work under every container runtime or debugger,
// so it says so itself instead of passing.
const env = () =>
  plainEnvironment({ ASAN_OPTIONS: 'abort_on_error=1:detect_leaks=1', UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1' });

async function runBuild(build) {
  const reportFile = join(reportsDir, `${build}.xml`);
  rmSync(reportFile, { force: true });
  const { status, output } = await capture(join(buildDir, build, 'strata_native_tests'), ['-r=xml', `-o=${reportFile}`], { env: env() });
  let xml = '';
  try {
    xml = readFileSync(reportFile, 'utf8');
  } catch {
    // Not started, or died before it wrote: counted below.
  }
  const totals = /<OverallResultsTestCases successes="(\d+)" failures="(\d+)"(?: skipped="(\d+)")?/.exec(xml);
  const report = `${build} (status ${status}):\n${output}\n${status === 0 ? '' : xml}`;
  if (totals === null) return { passed: 0, failed: 1, skipped: 0, report };
  const failed = Number(totals[2]);
  return { passed: Number(totals[1]), failed: failed === 0 && status !== 0 ? 1 : failed, skipped: Number(totals[3] ?? 0), report };
}

export async function runNativeTests() {
  mkdirSync(reportsDir, { recursive: true });
  const results = [];
  for (const build of builds) results.push(await runBuild(build));
  const sum = (name) => results.reduce((total, result) => total + result[name], 0);
  return {
    passed: sum('passed'),
    failed: sum('failed'),
    skipped: sum('skipped'),
    report: results.map((result) => result.report).join('\n'),
  };
}
