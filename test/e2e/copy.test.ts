import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect } from 'vitest';
import { ContainerArchive } from '../../helper/wire/containerArchive.ts';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium', 'tar'] });

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

  test('files go into a container by its menu', async () => {
    const { page } = session;
    await session.startHelper();
    const connection = await session.helper().connect();
    const script = 'rm /etc/group; exec sleep 1000';
    await connection.request('container.run', { options: { image: 'busybox', name: 'web', command: ['sh', '-c', script] } });
    connection.close();
    await page.rowDescription(page.treeRow('web', 'Containers')).getByText('running').waitFor();
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Copy to Container…');
    await page.answerFileDialog(join(folder, 'hello.txt'), 'Copy');
    await page.page.getByText('Where to copy hello.txt to').waitFor();
    expect(await page.quickInput.inputValue()).toBe('/');
    await page.answer('/root');
    await expect.poll(() => sizeIn('/root/hello.txt'), { timeout: 30_000 }).toBe(20);
    await page.clearToasts();
  });

  test('files come out of it', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Copy from Container…');
    await page.page.getByText('What to copy').waitFor();
    await page.answer('/root/hello.txt');
    await page.answerFileDialog(join(folder, 'out'), 'Copy Here');
    await expect.poll(() => textOf(join(folder, 'out/hello.txt')), { timeout: 30_000 }).toBe('hello from the host\n');
    await page.clearToasts();
  });

  test('a file of the explorer is dropped on a directory of merged', async () => {
    const { page } = session;
    await page.treeRow('web', 'Containers').click();
    await page.expand('merged', 'Layers');
    await page.treeRow('home', 'Layers').waitFor();
    await page.openContainer('Explorer');
    const file = page.treeRow('hello.txt');
    await file.waitFor();
    await page.dragToContainer(file, 'Strata', page.treeRow('home', 'Layers'), () => page.screenshot('drop-dark', { withTooltip: true }));
    await expect.poll(() => sizeIn('/home/hello.txt'), { timeout: 30_000 }).toBe(20);
    // What came in is seen without being asked for.
    await page.expand('home', 'Layers');
    await page.treeRow('hello.txt', 'Layers').waitFor();
    expect(await page.rowDescription(page.treeRow('hello.txt', 'Layers')).textContent()).toBe('20 B · upper');
    await page.clearToasts();
  });

  test('its file system goes into an archive', async () => {
    const { page } = session;
    const archive = join(folder, 'out/all.tar');
    await page.chooseFromContextMenu(page.treeRow('web', 'Containers'), 'Export Filesystem…');
    await page.answerFileDialog(archive, 'OK');
    await expect.poll(() => existsSync(archive), { timeout: 30_000 }).toBe(true);
    const names = execFileSync('tar', ['-tf', archive], { encoding: 'utf8' }).split('\n');
    expect(names).toEqual(expect.arrayContaining(['./root/hello.txt', './home/hello.txt']));
    expect(names).not.toContain('./etc/group');
  });
});

function textOf(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
