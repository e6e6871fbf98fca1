import { homedir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hostSettingsFile } from '../../../scripts/start/desktop.mjs';
import { withSettings } from '../../../scripts/start/settingsFile.mjs';

const wanted = { 'strata.socketPath': '/run/s.sock', 'strata.helper.startCommand': 'sudo "x"' };

test('settings go into an empty file', () => {
  expect(JSON.parse(withSettings('', wanted) ?? '')).toEqual(wanted);
  expect(JSON.parse(withSettings('{}', wanted) ?? '')).toEqual(wanted);
});

test('what a person wrote stays, comments and layout too', () => {
  const text = `// mine {
{
  /* "strata.socketPath": "/not/this", */
  "editor.rulers": [80, 120,],
  "strata.socketPath": "/old", // why
  "other": { "strata.socketPath": "inner", "url": "http://x" },
}
`;
  const first = withSettings(text, wanted);
  expect(first).toBe(text.replace('"/old"', '"/run/s.sock"').replace('\n{\n', '\n{\n    "strata.helper.startCommand": "sudo \\"x\\"",\n'));
  expect(withSettings(first ?? '', wanted)).toBe(first);
});

test.each(['[]', '{ "a": 1', 'hello'])('%s is no settings file, and is left alone', (text) => {
  expect(withSettings(text, wanted)).toBeUndefined();
});

test.each([
  ['/usr/share/code/bin/code', { XDG_CONFIG_HOME: '/home/me/.config' }, '/home/me/.config/Code/User/settings.json'],
  ['/usr/share/code/bin/code', { XDG_CONFIG_HOME: '' }, join(homedir(), '.config/Code/User/settings.json')],
  ['/usr/share/code/bin/code', { VSCODE_PORTABLE: '/opt/code/data' }, '/opt/code/data/user-data/User/settings.json'],
  ['/home/me/.vscode-server/cli/servers/Stable-1/server/bin/remote-cli/code', {}, '/home/me/.vscode-server/data/Machine/settings.json'],
])('the settings of the host of %s', (command, env, file) => {
  expect(hostSettingsFile(command, env)).toBe(file);
});
