import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect } from 'vitest';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium', 'tar'] });

describe('images', () => {
  const session = useSession();
  const archive = join(session.place.directory, 'Tiny RootFS.tar');

  beforeAll(async () => {
    const rootfs = join(session.place.directory, 'rootfs');
    mkdirSync(join(rootfs, 'etc'), { recursive: true });
    writeFileSync(join(rootfs, 'etc/motd'), 'imported from the side bar\n');
    // Larger than a stream's first window, so that credit has to come back.
    writeFileSync(join(rootfs, 'large'), Buffer.alloc(3 * 1024 * 1024, 'strata'));
    execFileSync('tar', ['-C', rootfs, '-cf', archive, '.']);
    await session.startHelper();
  });

  test('an archive is imported, browsed and removed', async () => {
    const { page } = session;
    await page.imageRow('busybox:latest').waitFor();
    await page.runCommand('Strata: Import Image');
    await page.pick('Root file system archive');
    await page.quickInputTitle.getByText('Import Image').waitFor();
    // The file dialog fills its box when it has read the folder it starts from, and lists another one as it is typed.
    await page.quickPickRows().filter({ hasText: '..' }).first().waitFor();
    await expect.poll(() => page.quickInput.inputValue(), { timeout: 30_000 }).toMatch(/workspace\/$/);
    await page.quickInput.fill(archive);
    await page.quickPickRows().filter({ hasText: 'Tiny RootFS.tar' }).click();
    await page.page.getByText('Name of the image').waitFor();
    expect(await page.quickInput.inputValue()).toBe('tiny-rootfs');
    await page.screenshot('import-name-dark');
    await page.page.keyboard.press('Enter');
    await page.toast('Imported tiny-rootfs:latest').waitFor();
    await page.clearToasts();

    await page.imageRow('tiny-rootfs:latest').click();
    await page.view('Layers').locator('.pane-header').getByText('image tiny-rootfs:latest').waitFor();
    await page.expand('layer 1', 'Layers');
    await page.expand('etc', 'Layers');
    await page.treeRow('motd', 'Layers').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('imported from the side bar');

    // The tab that a window comes back with is read before anybody looks at a view of Strata's, and before the helper has answered.
    await page.reloadWindow();
    await expect.poll(() => page.editorText(), { timeout: 60_000 }).toContain('imported from the side bar');
    await page.openContainer('Strata');
    await page.imageRow('tiny-rootfs:latest').waitFor();

    await page.chooseFromContextMenu(page.imageRow('tiny-rootfs:latest'), 'Remove Image…');
    await page.pressDialogButton('Remove');
    await page.imageRow('tiny-rootfs:latest').waitFor({ state: 'detached' });
    await expect.poll(() => page.treeLabels('Images'), { timeout: 30_000 }).toEqual(['busybox', 'latest']);
  });
});
