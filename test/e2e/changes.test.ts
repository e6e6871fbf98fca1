import { describe, expect } from 'vitest';
import type { Connection } from '../../helper/wire/connection.ts';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('the changes of a container', () => {
  const session = useSession();
  let connection: Connection;

  async function sh(script: string): Promise<void> {
    await connection.request('container.exec', { container: 'web', command: ['sh', '-c', script], detach: true });
  }

  test('are groups in the source control view, with counts and words', async () => {
    const { page } = session;
    await session.startHelper();
    connection = await session.helper().connect();
    const script =
      'echo more >> /etc/passwd; rm /etc/group; echo new > /etc/motd; chmod 711 /root; chmod 600 /etc/shadow; chmod 640 /etc/shadow; exec sleep 1000';
    await connection.request('container.run', { options: { image: 'busybox', name: 'web', command: ['sh', '-c', script] } });
    await page.rowDescription(page.treeRow('web', 'Containers')).getByText('running').waitFor();
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Show Changes');
    await page.changeGroup('Added').waitFor();
    await expect.poll(() => page.changeCount('Added'), { timeout: 30_000 }).toBe('1');
    expect(await page.changeCount('Modified')).toBe('1');
    expect(await page.changeCount('Metadata Only')).toBe('1');
    expect(await page.changeCount('Deleted')).toBe('1');
    expect(await page.treeRow('passwd').getAttribute('aria-label')).toContain('Modified, and another time');
    expect(await page.treeRow('root').getAttribute('aria-label')).toContain('Metadata only: another mode, the same content');
    expect(
      await page
        .treeRow('group')
        .locator('.label-name')
        .evaluate((name) => getComputedStyle(name.closest('.strike-through .label-name') ?? name).textDecorationLine),
    ).toContain('line-through');
    await page.screenshot('changes-dark');
  });

  test('open beside what is below', async () => {
    const { page } = session;
    await page.treeRow('passwd').click();
    await page.tab('/etc/passwd (image ↔ web)').waitFor();
    await expect.poll(() => page.page.locator('.monaco-diff-editor .line-insert').count(), { timeout: 30_000 }).toBeGreaterThan(0);
    await page.screenshot('change-dark');
    await page.treeRow('motd').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('new');
    await page.treeRow('group').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('root');
    // A file that is open by itself shows in its margin what changed.
    await page.clickInlineAction(page.treeRow('passwd'), 'Open File');
    await page.tab(/^passwd/).waitFor();
    await page.page.locator('.editor-instance .dirty-diff-added').first().waitFor();
    // It is the container's own, and what is saved is a change of it.
    await page.pressInEditor('Control+End');
    await page.page.keyboard.type('mine');
    await page.page.keyboard.press('Control+s');
    await page
      .tab(/^passwd/)
      .and(page.page.locator(':not(.dirty)'))
      .waitFor();
    await expect.poll(() => page.page.locator('.editor-instance .dirty-diff-added').count()).toBeGreaterThan(0);
    await page.screenshot('change-gutter-dark');
  });

  test('follow what the container writes', async () => {
    const { page } = session;
    await sh('echo live > /etc/live');
    const begun = performance.now();
    await page.treeRow('live').waitFor();
    const tookMs = performance.now() - begun;
    expect(await page.changeCount('Added')).toBe('2');
    expect(tookMs).toBeLessThan(3000);
    await sh('rm /etc/live');
    await page.treeRow('live').waitFor({ state: 'detached' });
    // What an editor shows of it, too.
    await sh('echo again >> /etc/passwd');
    await page.treeRow('passwd').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('again');
    await page.runCommand('Preferences: Toggle between Light/Dark Themes');
    await page.screenshot('changes-light');
  });

  test('are committed with the message that was written', async () => {
    const { page } = session;
    await page.typeMessage('as changed');
    await page.page.keyboard.press('Control+Enter');
    await page.answer('changed:1');
    await page.quickPickRows().filter({ hasText: 'as changed' }).first().waitFor();
    await page.pick('web as changed:1');
    await page.toast(/Committed web as changed:1/).waitFor();
    await page.clearToasts();
    const { entries } = await connection.request('image.history', { image: 'changed:1' });
    expect(entries.some(({ comment }) => comment === 'as changed')).toBe(true);
  });

  test('may be many, and go away with the container', async () => {
    const { page } = session;
    await sh('mkdir /many && cd /many && seq 1 12000 | xargs touch');
    await page.changeGroup('Added (5,000 of 12,002)').waitFor();
    await page.toast('tells all').waitFor();
    await page.clearToasts();
    await page.screenshot('changes-many-light');
    await connection.request('container.remove', { container: 'web', force: true });
    await page.changeGroup('Modified').waitFor({ state: 'detached' });
    connection.close();
  });
});
