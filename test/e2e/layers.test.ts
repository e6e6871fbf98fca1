import { describe, expect } from 'vitest';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('layers', () => {
  const session = useSession();

  test('merged shows what the container sees, and which layer each file is from', async () => {
    const { page } = session;
    await session.startHelper();
    const connection = await session.helper().connect();
    const script = 'echo hello > /etc/motd; echo more >> /etc/passwd; rm /etc/group; exec sleep 1000';
    await connection.request('container.run', { options: { image: 'busybox', name: 'changed', command: ['sh', '-c', script] } });
    connection.close();
    await page.treeRow('changed', 'Containers').click();
    await page.expand('merged', 'Layers');
    const of = (label: string): Promise<string | null> => page.rowDescription(page.treeRow(label, 'Layers')).textContent();
    await page.treeRow('etc', 'Layers').waitFor();
    expect(await of('etc')).toBe('upper, init, layer 1');
    expect(await of('bin')).toBe('layer 1');
    await page.expand('etc', 'Layers');
    await page.treeRow('motd', 'Layers').waitFor();
    expect(await of('motd')).toBe('6 B · upper');
    expect(await of('hosts')).toMatch(/ B · init$/);
    expect(await of('shadow')).toMatch(/ B · layer 1$/);
    expect(await page.treeLabels('Layers')).not.toContain('group');
    await page.hoverUntil(page.treeRow('passwd', 'Layers'), 'the same name of layer 1');
    await page.screenshot('merged-dark', { withTooltip: true });
    await page.treeRow('passwd', 'Layers').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('more');
  });
});
