import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect } from 'vitest';
import { ContainerArchive } from '../../helper/wire/containerArchive.ts';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('copying', () => {
  const folder = mkdtempSync(join(tmpdir(), 'strata-copied-'));
  mkdirSync(join(folder, 'out'));
  writeFileSync(join(folder, 'hello.txt'), 'hello from the host\n');
  const session = useSession({ folder });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function sizeIn(path: string): Promise<number | undefined> {
    const connection = await session.helper().connect();
    try {
      return (await new ContainerArchive(connection, 'web').stat(path, false)).sizeBytes;
    } catch {
      return undefined;
    } finally {
      connection.close();
    }
  }

  /** Fills the box of a file dialog, once it has read the folder that it starts from. */
  async function fileDialog(path: string, button: string): Promise<void> {
    const { page } = session;
    await page.quickPickRows().filter({ hasText: '..' }).first().waitFor();
    await expect.poll(() => page.quickInput.inputValue(), { timeout: 30_000 }).toMatch(/\/$/);
    await page.quickInput.fill(path);
    const accept = page.page.locator('.quick-input-widget:visible').getByRole('button', { name: button, exact: true });
    // The first click may only take the dialog into a folder.
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      await accept.click();
      const closed = accept.waitFor({ state: 'hidden', timeout: 5000 });
      if (
        await closed.then(
          () => true,
          () => false,
        )
      )
        return;
    }
    throw new Error(`the dialog does not take ${path}`);
  }

  test('files go into a container by its menu, and show as changes', async () => {
    const { page } = session;
    await session.startHelper();
    const connection = await session.helper().connect();
    const script = 'echo more >> /etc/passwd; rm /etc/group; exec sleep 1000';
    await connection.request('container.run', { options: { image: 'busybox', name: 'web', command: ['sh', '-c', script] } });
    connection.close();
    await page.rowDescription(page.treeRow('web', 'Containers')).getByText('running').waitFor();
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Copy to Container…');
    await fileDialog(join(folder, 'hello.txt'), 'Copy');
    await page.page.getByText('Where to copy hello.txt to').waitFor();
    expect(await page.quickInput.inputValue()).toBe('/');
    await page.answer('/root');
    await page.toast('Copied hello.txt (20 B) to /root in web.').waitFor();
    expect(await sizeIn('/root/hello.txt')).toBe(20);
    await page.clearToasts();

    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Show Changes');
    await page.quickPickRows().filter({ hasText: '/root/hello.txt' }).first().waitFor();
    await page.quickInputTitle.getByText('Changes of web: 1 added, 3 changed, 1 deleted').waitFor();
    await page.screenshot('changes-dark');
    await page.pick('/root/hello.txt');
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('hello from the host');
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Show Changes');
    await page.pick('/etc/passwd');
    await page.tab('/etc/passwd (image ↔ web)').waitFor();
    await page.screenshot('change-dark');
  });

  test('files come out of it', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Copy from Container…');
    await page.page.getByText('What to copy').waitFor();
    await page.answer('/root/hello.txt');
    await fileDialog(join(folder, 'out'), 'Copy Here');
    await page.toast('Copied /root/hello.txt (20 B) from web').waitFor();
    expect(readFileSync(join(folder, 'out/hello.txt'), 'utf8')).toBe('hello from the host\n');
  });
});
