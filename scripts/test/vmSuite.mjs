// The integration tests that are meant for every kind of cgroup host, again on a kernel with cgroup v2 only.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { inProject, vmDir } from '../paths.mjs';
import { capture } from '../setup/capture.mjs';
import { plainEnvironment } from '../setup/runCommand.mjs';
import { withSecondTry } from './secondTry.mjs';
import { countReport, reportsDir, vitestCommand } from './vitestSuite.mjs';

/** Alone it takes five minutes; beside other suites, on a slow host, several times that. */
const timeoutS = 25 * 60;

export function runInVm() {
  mkdirSync(reportsDir, { recursive: true });
  // Two cpus and a disk: stores and uppers want a real file system. The reports folder is the host's, all else a copy.
  const options = ['-c', '2', '-m', '3072', '-d', '2048', '-t', String(timeoutS), '-w', reportsDir];
  const env = plainEnvironment({ STRATA_TEST_WORLD: 'v2', STRATA_VM_DIR: vmDir });
  return withSecondTry(async ({ files, name }) => {
    const reportFile = join(reportsDir, `vm${name}.json`);
    rmSync(reportFile, { force: true });
    const command = [inProject('test/support/vm/vm-run'), ...options, '--', ...vitestCommand('vm', reportFile, files)];
    const { status, output } = await capture('bash', command, { env, logFile: join(reportsDir, `vm${name}.log`) });
    return countReport(reportFile, status, output);
  });
}
