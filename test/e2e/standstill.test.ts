import { describe, expect } from 'vitest';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('containers that stand still, and that are started again', () => {
  const session = useSession();

  test('Pause and Resume', async () => {
    const { page } = session;
    await session.startHelper();
    await page.imageRow('busybox:latest').waitFor();
    const connection = await session.helper().connect();
    await connection.request('container.run', { options: { image: 'busybox', name: 'worker', command: ['sleep', '1000'] } });
    connection.close();
    const row = page.treeRow('worker', 'Containers');
    await page.rowDescription(row).getByText('running').waitFor();
    await page.chooseFromContextMenu(row, 'Pause');
    await page.rowDescription(row).getByText('paused').waitFor();
    const offered = await page.contextMenu(row);
    expect(offered).toEqual(expect.arrayContaining(['Resume', 'Stop', 'Restart']));
    expect(offered).not.toContain('Pause');
    expect(offered.some((title) => title.startsWith('Open Shell'))).toBe(false);
    await page.screenshot('paused-dark');
    await page.clickInlineAction(row, 'Resume');
    await page.rowDescription(row).getByText('running').waitFor();
    expect(await page.contextMenu(row)).toContain('Pause');
  });

  test('Restart is one step, and keeps the container', async () => {
    const { page } = session;
    const row = page.treeRow('worker', 'Containers');
    const pid = async (): Promise<number | undefined> => {
      const connection = await session.helper().connect();
      const { state } = await connection.request('container.inspect', { container: 'worker' });
      connection.close();
      return state.kind === 'running' ? state.pid : undefined;
    };
    const before = await pid();
    await page.chooseFromContextMenu(row, 'Restart');
    await expect.poll(pid, { timeout: 30_000 }).not.toBe(before);
    await page.rowDescription(row).getByText('running').waitFor();
  });

  test('Change Restart Policy asks when, and how often', async () => {
    const { page } = session;
    const row = page.treeRow('worker', 'Containers');
    await page.chooseFromContextMenu(row, 'Change Restart Policy…');
    await page.quickPickRows().filter({ hasText: 'Never' }).getByText('as it is now').waitFor();
    await page.screenshot('restart-policy-dark');
    await page.pick('On failure');
    await page.quickInput.fill('often');
    await page.inputMessage.getByText('Write how many times').waitFor();
    await page.answer('3');
    await page.hoverUntil(row, '0 so far · on failure, 3 times at most');
    await page.screenshot('restart-policy-tooltip-dark', { withTooltip: true });
  });

  test('one that its policy starts again says so, and can be stopped', async () => {
    const { page } = session;
    const connection = await session.helper().connect();
    const restartPolicy = { name: 'always' } as const;
    await connection.request('container.run', { options: { image: 'busybox', name: 'crasher', command: ['false'], restartPolicy } });
    connection.close();
    const row = page.treeRow('crasher', 'Containers');
    // The waits double: after some restarts there is time to look.
    await page
      .rowDescription(row)
      .getByText(/^restarting · exited \(1\) · [4-9] restarts/)
      .waitFor();
    await page.screenshot('restarting-dark');
    await page.chooseFromContextMenu(row, 'Stop');
    await page
      .rowDescription(row)
      .getByText(/^exited \(1\)/)
      .waitFor();
  });
});
