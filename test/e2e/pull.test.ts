import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { ImageLayout, tarOf } from '../integration/support/imageLayout.ts';
import { Registry } from '../integration/support/registry.ts';
import { requires } from '../support/requires.ts';
import { type Session, useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium', 'docker-registry', 'skopeo'] });

describe('images of registries', () => {
  const session = useSession();
  let workspace: string;
  let registry: Registry;
  let closed: Registry;

  beforeAll(async () => {
    workspace = mkdtempSync('/tmp/strata-e2e-pull-');
    const layout = new ImageLayout(join(workspace, 'layout'));
    layout.add('app', [tarOf(workspace, { 'etc/motd': 'from a registry\n' }), tarOf(workspace, { 'etc/more': 'more\n' })]);
    registry = await Registry.start(workspace);
    closed = await Registry.start(workspace, { login: ['me', 'secret'] });
    layout.add('secret', [tarOf(workspace, { 'etc/motd': 'for the team alone\n' })]);
    await registry.push(layout.directory, 'app', 'team/app:1');
    await closed.push(layout.directory, 'secret', 'team/app:1');
    await session.startHelper();
  });

  afterAll(async () => {
    for (const one of [registry, closed]) await one[Symbol.asyncDispose]();
    rmSync(workspace, { recursive: true });
  });

  test('Pull Image checks the name while it is written, and the image appears', async () => {
    const { page } = session;
    await page.imageRow('busybox:latest').waitFor();
    await page.clickViewAction('Images', 'Pull Image');
    await page.quickInput.fill('Team/App');
    await page.inputMessage.getByText('lower case').waitFor();
    await page.quickInput.fill(`${registry.host}/team/app:1`);
    await page.inputMessage.getByText(`${registry.host}/team/app:1 from ${registry.host}`).waitFor();
    await page.quickInput.fill('debian:12');
    await page.inputMessage.getByText('docker.io/library/debian:12: an official image of Docker Hub').waitFor();
    await page.screenshot('pull-name-dark');
    await page.answer(`${registry.host}/team/app:1`);
    await page.imageRow(`${registry.host}/team/app:1`).click();
    await page.expand('layer 1', 'Layers');
    await page.expand('etc', 'Layers');
    await page.treeRow('motd', 'Layers').click();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('from a registry');
  });

  test('Run takes the name of an image that is not here', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.imageRow(`${registry.host}/team/app:1`), 'Remove Image…');
    await page.pressDialogButton('Remove');
    await page.imageRow(`${registry.host}/team/app:1`).waitFor({ state: 'detached' });
    await page.runCommand('Strata: Run Container');
    await page.quickPickRows().filter({ hasText: 'busybox:latest' }).waitFor();
    await page.quickInput.fill(`${registry.host}/team/app:1`);
    await page.pick(`from ${registry.host}`);
    await page.page.getByText('empty: its own').first().waitFor();
    await page.imageRow(`${registry.host}/team/app:1`).waitFor();
    await page.page.keyboard.press('Escape');
    await page.quickInput.waitFor({ state: 'hidden' });
  });

  test('Push sends an image to its registry, under a name that is asked for', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.imageRow(`${registry.host}/team/app:1`), 'Push Image…');
    await page.page.getByText('Name in the registry').waitFor();
    expect(await page.quickInput.inputValue()).toBe(`${registry.host}/team/app:1`);
    await page.quickInput.fill('app:1');
    await page.inputMessage.getByText("docker.io/library/app:1 is Docker Hub's own").waitFor();
    await page.quickInput.fill(`${registry.host}/team/sent:2`);
    await page.inputMessage.getByText(`${registry.host}/team/sent:2 to ${registry.host}`).waitFor();
    await page.screenshot('push-name-dark');
    await page.page.keyboard.press('Enter');
    // One more name of the image, which is there as it came: by the same digest.
    await page.imageRow(`${registry.host}/team/sent:2`).waitFor();
    const digestOf = async (repository: string, tag: string): Promise<string | null> => {
      const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
      const answer = await fetch(`http://${registry.host}/v2/${repository}/manifests/${tag}`, { method: 'HEAD', headers });
      return answer.ok ? answer.headers.get('docker-content-digest') : null;
    };
    await expect.poll(() => digestOf('team/sent', '2'), { timeout: 30_000 }).not.toBeNull();
    expect(await digestOf('team/sent', '2')).toBe(await digestOf('team/app', '1'));
    await page.clearToasts();
  });

  test('a registry that asks who one is leads to a login, once', async () => {
    const { page } = session;
    const reference = `${closed.host}/team/app:1`;
    const row = page.imageRow(reference);
    await pull(session, reference);
    await page.toast('wants to know who you are').waitFor();
    await page.page.locator('.notifications-toasts').getByRole('button', { name: 'Log In…' }).first().click();
    await page.page.getByText('User name').first().waitFor();
    await page.answer('me');
    await page.page.getByText('Password or access token').first().waitFor();
    await page.answer('secret');
    await row.waitFor();
    const connection = await session.helper().connect();
    await connection.request('image.remove', { image: reference });
    connection.close();
    await row.waitFor({ state: 'detached' });
    // Known from now on: nobody is asked again.
    await pull(session, reference);
    await row.waitFor();
    expect(await page.quickInput.isVisible()).toBe(false);
  });
});

async function pull({ page }: Session, reference: string): Promise<void> {
  await page.runCommand('Strata: Pull Image');
  await page.page.getByText('Name of the image: debian:12 is').first().waitFor();
  await page.answer(reference);
}
