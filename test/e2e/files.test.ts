import { describe, expect } from 'vitest';
import type { Connection } from '../../helper/wire/connection.ts';
import { collect } from '../integration/support/strata.ts';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('files', () => {
  const session = useSession({ settings: { 'files.autoSave': 'off' } });

  async function connected<T>(use: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await session.helper().connect();
    try {
      return await use(connection);
    } finally {
      connection.close();
    }
  }

  /** What a command in the container says. */
  function inside(command: readonly string[]): Promise<string> {
    return connected(async (connection) => {
      const { stream } = await connection.request('container.exec', { container: 'web', command: [...command] });
      if (stream === undefined) throw new Error('the session has no stream');
      return (await collect(connection.stream(stream))).stdout;
    });
  }

  test('a file of a running container is opened from merged, changed and saved back into it', async () => {
    const { page } = session;
    await session.startHelper();
    const script = 'echo "greeting = hello" > /etc/app.conf; chown 7:8 /etc/app.conf; chmod 640 /etc/app.conf; exec sleep 1000';
    await connected((connection) =>
      connection.request('container.run', { options: { image: 'busybox', name: 'web', command: ['sh', '-c', script] } }),
    );
    await page.rowDescription(page.treeRow('web', 'Containers')).getByText('running').waitFor();
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Browse Files');
    await page.expand('etc', 'Layers');
    await page.treeRow('app.conf', 'Layers').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('greeting = hello');
    await page.pressInEditor('Control+End');
    await page.page.keyboard.type('farewell = bye');
    await page.tab('app.conf').and(page.page.locator('.dirty')).waitFor();
    expect(await inside(['cat', '/etc/app.conf'])).toBe('greeting = hello\n');
    await page.page.keyboard.press('Control+s');
    await page.tab('app.conf').and(page.page.locator(':not(.dirty)')).waitFor();
    await expect.poll(() => inside(['cat', '/etc/app.conf']), { timeout: 30_000 }).toBe('greeting = hello\nfarewell = bye');
    expect(await inside(['stat', '-c', '%a %u %g', '/etc/app.conf'])).toBe('640 7 8\n');
    await page.screenshot('file-edited-dark');
  });

  test('a path is typed, and its file opens', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Go to File in Container…');
    await page.quickPickRows().filter({ hasText: '/etc' }).first().waitFor();
    await page.quickInput.fill('/etc/');
    await page.quickPickRows().filter({ hasText: '/etc/hosts' }).first().waitFor();
    await page.screenshot('go-to-file-dark');
    await page.quickInput.fill('/etc/hosts');
    await expect.poll(() => page.quickPickRows().count(), { timeout: 30_000 }).toBe(1);
    await page.page.keyboard.press('Enter');
    await page.tab('hosts').waitFor();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('localhost');
  });

  test('files are made, renamed and deleted', async () => {
    const { page } = session;
    await page.clickViewAction('Layers', 'Collapse All');
    await page.expand('merged', 'Layers');
    await page.chooseFromContextMenu(page.treeRow('home', 'Layers'), 'New File…');
    await page.answer('notes.txt');
    await page.tab('notes.txt').waitFor();
    await page.chooseFromContextMenu(page.treeRow('home', 'Layers'), 'New Folder…');
    await page.answer('made');
    await expect.poll(() => inside(['ls', '/home']), { timeout: 30_000 }).toBe('made\nnotes.txt\n');
    await page.expand('home', 'Layers');
    await page.chooseFromContextMenu(page.treeRow('notes.txt', 'Layers'), 'Rename File…');
    await page.answer('made');
    await page.toast("rename '/home/notes.txt'").waitFor();
    await page.clearToasts();
    await page.chooseFromContextMenu(page.treeRow('notes.txt', 'Layers'), 'Rename File…');
    await page.answer('todo.txt');
    await page.treeRow('todo.txt', 'Layers').waitFor();
    expect(await inside(['ls', '/home'])).toBe('made\ntodo.txt\n');
    await page.tab('todo.txt').waitFor();
    await page.chooseFromContextMenu(page.treeRow('made', 'Layers'), 'Delete…');
    await page.dialog().getByText('Delete "/home/made" in web?').waitFor();
    await page.screenshot('delete-file-dark');
    await page.pressDialogButton('Delete');
    await expect.poll(() => inside(['ls', '/home']), { timeout: 30_000 }).toBe('todo.txt\n');
  });

  test('as of a layer of the image nothing of the container is there, and nothing can be changed', async () => {
    const { page } = session;
    await page.clickViewAction('Layers', 'Collapse All');
    await page.treeRow('layer 1', 'Layers').waitFor();
    await page.clickInlineAction(page.treeRow('layer 1', 'Layers'), 'Browse as of This Layer');
    await expect.poll(() => page.view('Layers').locator('.pane-header').textContent(), { timeout: 30_000 }).toContain('as of layer 1');
    await page.expand('etc', 'Layers');
    await page.treeRow('passwd', 'Layers').waitFor();
    expect(await page.treeLabels('Layers')).not.toContain('app.conf');
    expect(await page.rowDescription(page.treeRow('passwd', 'Layers')).textContent()).toMatch(/ · layer 1$/);
    await page.treeRow('passwd', 'Layers').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('root:');
    await page.pressInEditorUntil('x', page.page.getByText('An image never changes').first());
    await page.screenshot('as-of-layer-dark');
  });
});
