import { describe, expect } from 'vitest';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('Open Shell As', () => {
  const session = useSession();

  test('asks which shell, as whom and where, and knows it the next time', async () => {
    const { page } = session;
    await session.startHelper();
    const connection = await session.helper().connect();
    const command = ['sleep', '1000'];
    await connection.request('container.run', { options: { image: 'busybox', name: 'one', command } });
    await connection.request('container.run', { options: { image: 'busybox', name: 'two', command } });
    connection.close();
    await page.rowDescription(page.treeRow('two', 'Containers')).getByText('running').waitFor();
    await page.chooseFromContextMenu(page.treeRow('one', 'Containers'), 'Open Shell As…');
    await page.quickInputTitle.getByText('Open Shell in one (1/3)').waitFor();
    await page.quickPickRows().filter({ hasText: '/bin/sh' }).first().waitFor();
    await page.screenshot('shell-as-shell-dark');
    await page.pick('/bin/ash');
    await page.quickPickRows().filter({ hasText: 'www-data' }).first().waitFor();
    await page.screenshot('shell-as-user-dark');
    await page.pick('www-data');
    await page.quickPickRows().filter({ hasText: 'home of www-data' }).first().waitFor();
    await page.quickInput.fill('/tmp');
    await page.quickPickRows().filter({ hasText: 'as written' }).first().waitFor();
    await page.screenshot('shell-as-directory-dark');
    await page.quickPickRows().filter({ hasText: 'as written' }).first().click();
    await page.waitForTerminal(/[#$] ?$/);
    await page.typeInTerminal('echo "$(id -un) in $(pwd)"\r');
    expect(await page.waitForTerminal(/^www-data in \/tmp$/m)).toContain('www-data');
    await page.screenshot('shell-as-dark');
    await page.typeInTerminal('exit\r');

    // Another container of the same image.
    await page.chooseFromContextMenu(page.treeRow('two', 'Containers'), 'Open Shell As…');
    await page.quickPickRows().filter({ hasText: 'as last time' }).first().waitFor();
    expect(await page.quickPickRows().first().textContent()).toContain('/bin/ash as www-data in /tmp');
    await page.page.keyboard.press('Enter');
    await page.waitForTerminal(/[#$] ?$/);
    await page.typeInTerminal('id -u\r');
    await page.waitForTerminal(/^33$/m);
  });

  test('what a person writes is taken, and what cannot be says so', async () => {
    const { page } = session;
    await page.runCommand('Strata: Open Shell As…');
    await page.pick('one');
    await page.quickPickRows().filter({ hasText: '/bin/sh' }).first().waitFor();
    await page.answer('/bin/sh -l');
    await page.quickInputTitle.getByText('(2/3)').waitFor();
    await page.quickPickRows().filter({ hasText: 'www-data' }).first().waitFor();
    await page.answer('4242:4242');
    await page.quickInputTitle.getByText('(3/3)').waitFor();
    await page.quickPickRows().first().waitFor();
    await page.answer('/nowhere');
    expect(await page.waitForTerminal(/Press any key/)).toMatch(/\/nowhere/);
    await page.screenshot('shell-as-refused-dark');
  });
});
