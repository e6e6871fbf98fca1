import { chmodSync, mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { describe, expect } from 'vitest';
import { requires } from '../support/requires.ts';
import { useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

describe('what the side bar says without a helper', () => {
  const session = useSession();

  test('none was ever here', async () => {
    const { page } = session;
    await page.welcome('Containers').getByText('No Strata helper was found on this host').waitFor();
    // Nothing installs a helper: a button would only end in "command not found".
    await page.welcome('Containers').getByText('npm start -- --no-ui').waitFor();
    expect(await page.welcome('Containers').getByRole('button', { name: 'Start Helper' }).count()).toBe(0);
    await page.screenshot('not-installed-dark');
    expect(await page.treeLabels()).toEqual([]);
  });

  test('Start Helper says how, where there is nothing to start', async () => {
    const { page } = session;
    await page.runCommand('Strata: Start Helper');
    await page.toast('run "npm start -- --no-ui" in the Strata checkout on this host').waitFor();
    await page.screenshot('start-helper-dark');
    await page.clearToasts();
    expect(await page.terminalText()).toBe('');
  });

  test('it is not running', async () => {
    const { page, place } = session;
    mkdirSync(place.run, { recursive: true });
    await page.welcome('Containers').getByText('The Strata helper is not running').waitFor();
    await page.screenshot('not-running-dark');
    expect(await page.treeLabels()).toEqual([]);
  });

  test('something else listens there', async () => {
    const { page, place } = session;
    const stranger = await listen(
      createServer((_request, response) => response.writeHead(404).end()),
      place.socketPath,
    );
    await page.welcome('Containers').getByText('speaks another version').waitFor();
    await page.screenshot('incompatible-dark');
    await new Promise((resolve) => stranger.close(resolve));
    await page
      .welcome('Containers')
      .getByRole('button', { name: /Try Again/ })
      .or(page.welcome('Containers').getByText('Try Again'))
      .first()
      .click();
    await page.welcome('Containers').getByText('The Strata helper is not running').waitFor();
    expect(await page.treeLabels()).toEqual([]);
  });

  test('it starts, and nobody has to do anything', async () => {
    const { page } = session;
    await session.startHelper();
    await page.imageRow('busybox:latest').waitFor();
    expect(await page.treeLabels('Images')).toEqual(['busybox', 'latest']);
  });
});

describe('a user who may not talk to the helper', () => {
  const session = useSession({ uid: 65_534 });

  test('is told what to ask for', async () => {
    const { page, place } = session;
    chmodSync(place.directory, 0o755); // mkdtemp makes it the owner's alone, which is not what is tested
    await session.startHelper();
    await page.welcome('Containers').getByText('Your user may not talk to the Strata helper').waitFor();
    await page.welcome('Containers').getByText('sudo groupadd -f --system strata && sudo usermod -aG strata $USER').waitFor();
    await page.screenshot('not-permitted-dark');
    expect(await page.treeLabels()).toEqual([]);
  });

  test('may look, and only that, when the socket is opened to all', async () => {
    const { page, place } = session;
    chmodSync(place.socketPath, 0o666);
    await page.imageRow('busybox:latest').waitFor();
    await page.welcome('Containers').getByText('You may look at this helper').waitFor();
    expect(await page.welcome('Containers').getByText('Run Container').count()).toBe(0);
    expect(await page.treeLabels('Images')).toEqual(['busybox', 'latest']);
  });
});

function listen(server: Server, path: string): Promise<Server> {
  return new Promise((resolve) => server.listen(path, () => resolve(server)));
}
