import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { ImageLayout, tarOf } from '../integration/support/imageLayout.ts';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium', 'tar'] });

const created = '2026-01-01T00:00:00Z';
const base = [
  { created, created_by: '/bin/sh -c #(nop) ADD file:rootfs in / ' },
  { created, created_by: '/bin/sh -c #(nop)  CMD ["sh"]', empty_layer: true },
];
const built = [
  ...base,
  { created, created_by: 'RUN /bin/sh -c make install # buildkit' },
  { created, created_by: 'ENV PORT=8080', empty_layer: true },
];

/** Two images of which one stands on the other, beside busybox. */
describe('the images view and its commands', () => {
  const session = useSession();
  const workspace = mkdtempSync(join(tmpdir(), 'strata-e2e-images-'));

  beforeAll(async () => {
    const layout = new ImageLayout(join(workspace, 'layout'));
    const below = tarOf(workspace, { 'bin/sh': '#!', 'usr/lib/base': Buffer.alloc(600_000, 'a') });
    const above = tarOf(workspace, { 'srv/app': Buffer.alloc(300_000, 'b') });
    layout.add('base', [below], { history: base });
    layout.add('app', [below, above], { history: built });
    await session.startHelper();
    const connection = await session.helper().connect();
    for (const [name, reference] of [
      ['base', 'registry.example.com/team/app:base'],
      ['app', 'registry.example.com/team/app:1.10'],
    ] as const) {
      const source = { kind: 'ociLayout', path: layout.directory, name } as const;
      await connection.request('image.import', { source, reference });
    }
    connection.close();
  });

  afterAll(() => rmSync(workspace, { recursive: true, force: true }));

  test('images stand by repository, with their layers and how they were made', async () => {
    const { page } = session;
    await page.imageRow('busybox:latest').waitFor();
    const labels = ['busybox', 'latest', 'registry.example.com/team/app', '1.10', 'base'];
    await expect.poll(() => page.treeLabels('Images'), { timeout: 30_000 }).toEqual(labels);
    const row = page.imageRow('registry.example.com/team/app:1.10');
    await page.expandRow(row);
    await page.treeRow('layer 2', 'Images').waitFor();
    expect((await page.treeLabels('Images')).slice(4, 6)).toEqual(['ENV', 'layer 2']);
    await page.rowDescription(page.treeRow('layer 2', 'Images')).getByText('293 KiB · RUN make install').waitFor();
    await page.rowDescription(page.treeRow('ENV', 'Images')).getByText('PORT=8080').waitFor();
    await page.hoverUntil(row, 'with other images');
    await page.screenshot('images-dark', { withTooltip: true });
    // A row of the history is one of its image.
    await page.treeRow('layer 2', 'Images').click();
    await page.view('Layers').locator('.pane-header').getByText('image registry.example.com/team/app:1.10').waitFor();
    await row.locator('.monaco-tl-twistie').click();
  });

  test('Tag Image gives one more name, and Remove takes it away', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.imageRow('busybox:latest'), 'Tag Image…');
    await page.page.getByText('One more name for it').waitFor();
    await page.quickInput.fill('registry.example.com/team/app:base');
    await page.inputMessage.getByText('is another image, which loses this name').waitFor();
    await page.quickInput.fill('busybox:');
    await page.inputMessage.getByText('The name goes on').waitFor();
    await page.answer('busybox:mine');
    await page.imageRow('busybox:mine').waitFor();
    await page.rowDescription(page.treeRow('busybox', 'Images')).getByText('2 tags').waitFor();
    await page.imageRow('busybox:mine').click();
    await page.page.keyboard.press('Delete');
    await page.dialog().getByText('Only the name goes: the image stays as busybox:latest.').waitFor();
    await page.screenshot('remove-name-dark');
    await page.pressDialogButton('Remove');
    await page.imageRow('busybox:mine').waitFor({ state: 'detached' });
    expect((await page.treeLabels('Images')).slice(0, 2)).toEqual(['busybox', 'latest']);
  });

  test('Prune Images says what it frees, and frees that', async () => {
    const { page } = session;
    const connection = await session.helper().connect();
    // The name goes to another image, and the one that had it has none.
    await connection.request('image.tag', { image: 'busybox:latest', reference: 'registry.example.com/team/app:1.10' });
    await page.treeRow('untagged', 'Images').waitFor();
    await page.runCommand('Strata: Prune Images');
    const untagged = page.quickPickRows().filter({ hasText: 'Images without a name' });
    await untagged.getByText(/^1 image, frees 29\d KiB$/).waitFor();
    await page.screenshot('prune-dark');
    await untagged.click();
    await page
      .dialog()
      .getByText(/^Remove 1 image and free 29\d KiB\?$/)
      .waitFor();
    await page.pressDialogButton('Remove');
    await page.treeRow('untagged', 'Images').waitFor({ state: 'detached' });
    const { images } = await connection.request('image.list', {});
    connection.close();
    expect(images).toHaveLength(2);
  });

  test('Save writes an archive, and Load brings its image back', async () => {
    const { page } = session;
    const archive = join(workspace, 'base.tar');
    const row = page.imageRow('registry.example.com/team/app:base');
    await page.chooseFromContextMenu(row, 'Save Image to File…');
    await page.answerFileDialog(archive, 'OK');
    await expect.poll(() => existsSync(archive), { timeout: 30_000 }).toBe(true);
    expect(execFileSync('tar', ['-tf', archive], { encoding: 'utf8' })).toContain('manifest.json');
    const connection = await session.helper().connect();
    await connection.request('image.remove', { image: 'registry.example.com/team/app:base' });
    connection.close();
    await row.waitFor({ state: 'detached' });
    await page.runCommand('Strata: Load Images from File');
    await page.answerFileDialog(archive, 'Load');
    await row.waitFor();
    await page.clearToasts();
  });

  test('Commit as Image makes an image of a container', async () => {
    const { page } = session;
    const connection = await session.helper().connect();
    const command = ['sh', '-c', 'echo hello > /etc/motd; exec sleep 1000'];
    await connection.request('container.run', { options: { image: 'busybox', name: 'web', command } });
    await page.rowDescription(page.treeRow('web', 'Containers')).getByText('running').waitFor();
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Commit as Image…');
    await page.page.getByText('Name of the image').first().waitFor();
    expect(await page.quickInput.inputValue()).toBe('busybox:web');
    await page.quickInput.fill('Busybox:web');
    await page.inputMessage.getByText('lower case').waitFor();
    await page.answer('busybox:web');
    await page.pick('Configuration');
    await page.page.getByText('Instructions of a Dockerfile').first().waitFor();
    await page.answer('ENV PORT=8080; CMD ["sleep", "9"]');
    await page.quickPickRows().filter({ hasText: 'ENV PORT=8080; CMD' }).waitFor();
    await page.screenshot('commit-dark');
    await page.pick('web as busybox:web');
    await page.imageRow('busybox:web').waitFor();
    const { config } = await connection.request('image.inspect', { image: 'busybox:web' });
    expect(config.config?.Cmd).toEqual(['sleep', '9']);
    expect(config.config?.Env).toContain('PORT=8080');
    await connection.request('container.remove', { container: 'web', force: true });
    connection.close();
    await page.treeRow('web', 'Containers').waitFor({ state: 'detached' });
    await page.clearToasts();
    // A command on a repository is one on all that it holds.
    await page.chooseFromContextMenu(page.treeRow('busybox', 'Images'), 'Remove Image…');
    await page.dialog().getByText('Remove 2 names of images?').waitFor();
    await page.pressDialogButton('Cancel');
  });

  test('Squash Image makes one layer of several', async () => {
    const { page } = session;
    const connection = await session.helper().connect();
    // Room for the rows of this test.
    for (const image of ['busybox:web', 'registry.example.com/team/app:1.10']) await connection.request('image.remove', { image });
    const source = { kind: 'ociLayout', path: join(workspace, 'layout'), name: 'app' } as const;
    await connection.request('image.import', { source, reference: 'registry.example.com/team/app:2' });
    await page.chooseFromContextMenu(page.imageRow('registry.example.com/team/app:2'), 'Squash Image…');
    await page.quickPickRows().filter({ hasText: 'All 2 layers become one' }).waitFor();
    await page.screenshot('squash-dark');
    await page.pick('All 2 layers become one');
    await page.page.getByText('Name of the image').first().waitFor();
    expect(await page.quickInput.inputValue()).toBe('registry.example.com/team/app:squashed');
    await page.answer('registry.example.com/team/app:flat');
    const row = page.imageRow('registry.example.com/team/app:flat');
    await row.waitFor();
    await page.rowDescription(row).getByText('879 KiB · 1 layer').waitFor();
    const { config } = await connection.request('image.inspect', { image: 'registry.example.com/team/app:flat' });
    for (const tag of ['2', 'flat']) await connection.request('image.remove', { image: `registry.example.com/team/app:${tag}` });
    connection.close();
    expect(config.rootfs.diff_ids).toHaveLength(1);
    await page.clearToasts();
  });

  test('Show Disk Usage and Show Image History', async () => {
    const { page } = session;
    await page.runCommand('Strata: Show Disk Usage');
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toMatch(/IMAGE +SIZE +SHARED +ITS OWN/);
    await page.screenshot('disk-usage-dark');
    await page.chooseFromContextMenu(page.imageRow('registry.example.com/team/app:base'), 'Show Image History');
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toMatch(/1 +586 KiB +.* ADD file:rootfs in \//);
  });
});
