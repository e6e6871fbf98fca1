import { inProject, vmDir } from '../paths.mjs';
import { plainEnvironment, runCommand } from './runCommand.mjs';

export function prepareVm({ logFile }) {
  return runCommand('bash', [inProject('test/support/vm/prepare'), vmDir], { logFile, env: plainEnvironment() });
}
