import { describe, expect } from 'vitest';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('options of a new container', () => {
  const session = useSession();

  test('a form asks for what the plain way leaves out, and the row says how it fares', async () => {
    const { page } = session;
    await session.startHelper();
    await page.clickInlineAction(page.imageRow('busybox:latest'), 'Run Container…');
    await page.answer("sh -c 'test -f /broken && sleep 5; touch /broken; exit 3'");
    await page.pick('In the background');
    await page.pick('More Options…');
    const form = page.quickInput;
    const row = (label: string) => page.quickPickRows().filter({ hasText: label }).first();
    await row('Health check').getByText('as the image says').waitFor();

    await page.pick('Name');
    await form.fill('-job');
    await page.inputMessage.getByText('container name').waitFor();
    await page.answer('job');
    await row('Name').getByText('job').waitFor();
    await page.pick('Restart');
    await page.pick('On failure');
    await page.page.getByText('How many times').first().waitFor();
    await page.answer('5');
    await row('Restart').getByText('on failure, 5 times at most').waitFor();
    await page.pick('Health check');
    await page.pick('By a command…');
    await page.page.getByText('exit status 0 is healthy').first().waitFor();
    await page.answer('test -f /nowhere');
    await page.page.getByText('from one check to the next').first().waitFor();
    await page.answer('200ms');
    await row('Health check').getByText('test -f /nowhere').waitFor();
    await page.pick('First process');
    await page.pick("Strata's init");
    await row('First process').getByText("Strata's own").waitFor();
    await page.pick('Stop');
    await page.page.getByText('Signal that asks it to end').first().waitFor();
    await page.answer('SIGINT');
    await page.page.getByText('before it is killed').first().waitFor();
    await page.answer('3s');
    await row('Stop').getByText('SIGINT, killed after 3 s').waitFor();
    await page.pick('Log');
    await page.page.getByText('Size at which').first().waitFor();
    await page.answer('1m');
    await page.page.getByText('How many segments').first().waitFor();
    await page.answer('2');
    await row('Log').getByText('2 segments of 1 MiB').waitFor();
    await page.screenshot('run-options-dark');
    await page.pick('busybox:latest in the background');

    const words = page.rowDescription(page.treeRow('job', 'Containers'));
    await words.getByText('unhealthy · 1 restart').waitFor();
    // Its health at the end of the row, and how many need a look on the icon of the side bar.
    await page.treeRow('job', 'Containers').locator('.monaco-icon-label[class*="badge"]').first().waitFor();
    await page.page.locator('.part.activitybar .action-item').filter({ hasText: '1' }).first().waitFor();
    await page.hoverUntil(page.treeRow('job', 'Containers'), 'its last checks failed');
    await page.screenshot('unhealthy-dark', { withTooltip: true });
    const connection = await session.helper().connect();
    const { options } = await connection.request('container.inspect', { container: 'job' });
    connection.close();
    expect(options).toMatchObject({
      name: 'job',
      restartPolicy: { name: 'on-failure', maximumRetryCount: 5 },
      healthcheck: { test: ['CMD-SHELL', 'test -f /nowhere'], intervalMs: 200 },
      init: true,
      stopSignal: 'SIGINT',
      stopTimeoutMs: 3000,
      logMaxSize: 1024 ** 2,
      logMaxFiles: 2,
    });
  });
});
