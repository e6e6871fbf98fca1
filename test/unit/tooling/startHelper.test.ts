import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { JOIN_GROUP_COMMAND } from '../../../helper/protocol/index.ts';
import { joinGroup, startCommandLine, withAbsolutePaths } from '../../../scripts/start/helper.mjs';

test('paths are those of the person who asked, not of the checkout', () => {
  const options = { root: 'data', socket: '/run/x.sock', 'cgroup-parent': 'strata', 'log-level': 'debug' };
  expect(withAbsolutePaths(options, '/home/me')).toEqual({ ...options, root: '/home/me/data' });
});

test('a shell reads the command line back as the words it was made of', () => {
  const root = join('/tmp', "it's $HOME");
  const words = execFileSync('sh', ['-c', `printf '%s\\n' ${startCommandLine({ root })}`], { encoding: 'utf8' }).split('\n');
  expect(words[words.indexOf('--root') + 1]).toBe(root);
});

test('who may not use the helper is told the same by the script as by the helper', () => {
  expect(joinGroup).toContain(JOIN_GROUP_COMMAND);
});
