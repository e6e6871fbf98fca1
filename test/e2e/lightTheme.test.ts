import { describe, expect } from 'vitest';
import { shortName } from '../../extension/model/figures.ts';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('the light theme, and an interactive container', () => {
  const session = useSession({ theme: 'light', settings: { 'strata.helper.startCommand': 'echo started-by-$((40+2))' } });

  test('Start Helper runs the command of the settings in a terminal', async () => {
    const { page } = session;
    await page.welcome('Containers').getByText('The Strata helper is not running on this host').waitFor();
    await page.welcome('Containers').getByText('Try Again').waitFor();
    await page.welcome('Containers').getByRole('button', { name: 'Start Helper' }).click();
    expect(await page.waitForTerminal(/^started-by-42$/m)).toContain('echo');
    await page.screenshot('start-helper-light');
    await page.typeInTerminal('exit\r');
    await page.page.locator('.terminal-wrapper.active').waitFor({ state: 'detached' });
  });

  test('Run on an image opens a terminal on its main process, and the row goes with it', async () => {
    const { page } = session;
    await session.startHelper();
    const image = page.imageRow('busybox:latest');
    await page.expandRow(image);
    await page.treeRow('layer 1', 'Images').waitFor();
    await page.hoverUntil(image, 'what its removal frees');
    await page.screenshot('images-light', { withTooltip: true });
    await image.locator('.monaco-tl-twistie').click();
    await page.clickInlineAction(image, 'Run Container…');
    await page.quickInputTitle.getByText('(1/3)').waitFor();
    await page.answer('sh');
    await page.pick('Interactive, removed when it ends');
    await page.pick('Medium');
    await page.waitForTerminal(/[#$] ?$/);
    await page.rowDescription(page.treeRows('Containers').first()).getByText('running').waitFor();
    await page.typeInTerminal('echo hello > /root-file; mkdir -p /root/deep; rm /etc/group; echo pid $$\r');
    await page.waitForTerminal(/^pid 1$/m);

    await page.treeRows('Containers').first().click();
    await page.expand('upper', 'Layers');
    await page.expand('etc', 'Layers');
    await page.rowDescription(page.treeRow('group', 'Layers')).getByText('deleted here (whiteout)').waitFor();
    await page.treeRow('root-file', 'Layers').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('hello');
    await page.expand(shortName((await page.treeLabels('Containers'))[0] ?? ''), 'Cgroups');
    await page.treeRow('CPU', 'Cgroups').waitFor();
    await page.screenshot('overview-light');

    // Stopping it removes it: there would be nothing to start again.
    const offered = await page.contextMenu(page.treeRows('Containers').first());
    expect(offered).toContain('Stop');
    expect(offered).not.toContain('Restart');
    await page.chooseFromContextMenu(page.treeRows('Containers').first(), 'Change Limits…');
    await page.quickPickRows().filter({ hasText: 'Memory' }).first().waitFor();
    await page.screenshot('limits-light');
    await page.page.keyboard.press('Escape');
    await page.typeInTerminal('exit 7\r');
    await page.waitForTerminal(/status 7\. Press any key/);
    await page.welcome('Containers').getByText('No containers yet.').waitFor();
    await page.screenshot('ended-light');
  });

  test('Follow Logs in Terminal', async () => {
    const { page } = session;
    await page.pressInTerminal('Enter');
    const connection = await session.helper().connect();
    const command = ['sh', '-c', 'trap exit TERM; i=0; while :; do i=$((i+1)); echo tick-$i; sleep 1; done'];
    await connection.request('container.run', { options: { image: 'busybox', name: 'ticker', command } });
    connection.close();
    expect(await page.contextMenu(page.treeRow('ticker', 'Containers'))).toContain('Restart');
    await page.chooseFromContextMenu(page.treeRow('ticker', 'Containers'), 'Follow Logs in Terminal');
    expect(await page.waitForTerminal(/tick-3/)).toContain('tick-1');
    await page.screenshot('logs-light');
  });

  test('Copy to Container and Show Changes', async () => {
    const { page } = session;
    const connection = await session.helper().connect();
    const script = 'echo more >> /etc/passwd; rm /etc/group; touch /root/ready; exec sleep 1000';
    await connection.request('container.run', { options: { image: 'busybox', name: 'changed', command: ['sh', '-c', script] } });
    await page.rowDescription(page.treeRow('changed', 'Containers')).getByText('running').waitFor();
    await page.chooseFromContextMenu(page.treeRow('changed', 'Containers'), 'Show Changes');
    await page.treeRow('ready').waitFor();
    await page.screenshot('changes-light');
    await page.treeRow('passwd').click();
    await page.tab('/etc/passwd (image ↔ changed)').waitFor();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('more');
    await page.screenshot('change-light');
    await page.openContainer('Strata');
    await page.chooseFromContextMenu(page.treeRow('changed', 'Containers'), 'Copy to Container…');
    await page.answerFileDialog('/etc/hostname', 'Copy');
    await page.page.getByText('Where to copy hostname to').waitFor();
    await page.screenshot('copy-light');
    await page.page.keyboard.press('Escape');
    await connection.request('container.remove', { container: 'changed', force: true });
    connection.close();
    await page.treeRow('changed', 'Containers').waitFor({ state: 'detached' });
    expect(await page.treeLabels('Containers')).toContain('ticker');
  });

  test('a long name leaves room for the figures, which say what is wrong', async () => {
    const { page } = session;
    const name = 'compose-project-webserver-frontend-1';
    const connection = await session.helper().connect();
    const limits = { cpuQuotaUs: 5000, cpuPeriodUs: 100_000 };
    await connection.request('container.run', {
      options: { image: 'busybox', name, command: ['sh', '-c', 'while :; do :; done'], limits },
    });
    const row = page.treeRow('compos…ntend-1', 'Cgroups');
    await page
      .rowDescription(row)
      .getByText(/^throttled · [\d.]+ % · /)
      .waitFor();
    await page.hoverUntil(row, name);
    await page.screenshot('cgroups-light', { withTooltip: true });
    await connection.request('container.remove', { container: name, force: true });
    connection.close();
    await row.waitFor({ state: 'detached' });
    expect(await page.treeLabels('Cgroups')).toContain('ticker');
  });

  test('a helper that goes away', async () => {
    const { page } = session;
    await session.helper().crash();
    await page.welcome('Containers').getByText('The Strata helper is not running').waitFor();
    await page.waitForTerminal(/The Strata helper went away/);
    await page.screenshot('not-running-light');
    expect(await page.treeLabels()).toEqual([]);
  });
});
