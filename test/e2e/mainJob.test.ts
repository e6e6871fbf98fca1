import { readFileSync } from 'node:fs';
import { describe, expect } from 'vitest';
import { shortName } from '../../extension/model/figures.ts';
import type { ContainerDetails } from '../../helper/protocol/index.ts';
import { requires } from '../support/requires.ts';
import { type Session, useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

/** The steps build on one another, as a person's do: after one that failed the rest would only repeat it. */
describe('the main job, from the side bar', () => {
  // A folder must have no say in what is run: were it heard, Open Shell would not give a shell.
  const session = useSession({ workspaceSettings: { 'strata.exec.shell': '/bin/false' } });
  let name = '';

  test('the views fill when the helper starts', async () => {
    const { page } = session;
    await page.welcome('Containers').getByText('helper').first().waitFor();
    await session.startHelper();
    await page.imageRow('busybox:latest').waitFor();
    await page.welcome('Containers').getByText('No containers yet.').waitFor();
    expect(await page.treeLabels('Images')).toEqual(['busybox', 'latest']);
    await page.screenshot('empty-dark');
  });

  test('Run asks for image, command, mode and limits, and the container appears', async () => {
    const { page } = session;
    await page.runCommand('Strata: Run Container');
    await page.quickPickRows().filter({ hasText: 'busybox:latest' }).waitFor();
    await page.screenshot('run-image-dark');
    await page.pick('busybox:latest');
    await page.quickInputTitle.getByText('(2/4)').waitFor();
    await page.answer("sh -c 'trap exit TERM; i=0; while :; do i=$((i+1)); echo tick-$i; sleep 1; done'");
    await page.pick('In the background');
    await page.quickPickRows().filter({ hasText: 'No limits' }).waitFor();
    await page.screenshot('run-limits-dark');
    await page.pick('Small');

    const row = page.treeRows('Containers').first();
    await page.rowDescription(row).getByText('running').waitFor();
    name = (await page.treeLabels('Containers'))[0] ?? '';
    expect(await page.rowDescription(row).textContent()).toContain('busybox');
    expect((await details(session, name)).limits).toMatchObject({ cpuQuotaUs: 50_000, memoryMaxBytes: 256 * 1024 ** 2, pidsMax: 100 });
  });

  test('its layers appear: upper, init, image', async () => {
    const { page } = session;
    await page.treeRow(name, 'Containers').click();
    await page.treeRow('layer 1', 'Layers').waitFor();
    expect(await page.treeLabels('Layers')).toEqual(['merged', 'upper', 'init', 'layer 1']);
    await page.view('Layers').locator('.pane-header').getByText(`container ${name}`).waitFor();
  });

  test('a file of a layer opens, read-only', async () => {
    const { page } = session;
    await page.expand('layer 1', 'Layers');
    await page.expand('etc', 'Layers');
    await page.treeRow('passwd', 'Layers').click();
    await page.tab('passwd').waitFor();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('root:x:0:0');
    await page.page.locator('.editor-group-container.active .monaco-editor .view-lines').click();
    await page.page.keyboard.type('x');
    await page.page.getByText('cannot be changed from here').first().waitFor();
    await page.screenshot('layers-dark');
    await page.page.keyboard.press('Escape');
  });

  test('Cgroups shows figures that move', async () => {
    const { page } = session;
    const description = page.rowDescription(page.treeRow(shortName(name), 'Cgroups'));
    await description.getByText(/^[\d.]+ % · [\d.]+ [KM]iB/).waitFor();
    await page.expand(shortName(name), 'Cgroups');
    await page.treeRow('CPU', 'Cgroups').waitFor();
    expect(await page.treeLabels('Cgroups')).toEqual(expect.arrayContaining([shortName(name), 'CPU', 'Throttled', 'Memory', 'Processes']));
    await page
      .rowDescription(page.treeRow('Processes', 'Cgroups'))
      .getByText(/^\d+ \/ 100$/)
      .waitFor();
    await page.screenshot('cgroups-dark');
  });

  test('Open Shell gives a shell inside: pid 1, typing, Ctrl-C, resize', async () => {
    const { page } = session;
    await page.clickInlineAction(page.treeRow(name, 'Containers'), 'Open Shell');
    await page.waitForTerminal(/[#$] $|[#$]$/);
    await page.typeInTerminal('ps\r');
    expect(await page.waitForTerminal(/\n\s*1 .*sh -c/)).toContain('trap exit TERM');
    await page.screenshot('overview-dark');
    await page.typeInTerminal('sleep 1000\r');
    await page.waitForTerminal(/sleep 1000/);
    await page.pressInTerminal('Control+C');
    await page.typeInTerminal('echo status-$?\r');
    await page.waitForTerminal(/^status-130$/m);
    await page.screenshot('shell-dark');
    const size = async (): Promise<string | undefined> => /^\d+ \d+$/m.exec(await page.terminalText())?.[0];
    await page.typeInTerminal('clear; stty size\r');
    await expect.poll(size, { timeout: 30_000 }).toBeDefined();
    const before = await size();
    await page.runCommand('View: Toggle Maximized Panel');
    // The workbench lays itself out, and tells the terminal, some time after the command: so it is asked until it is so.
    const sizeAnew = async (): Promise<string | undefined> => {
      await page.typeInTerminal('clear; stty size\r');
      return (await size()) ?? before;
    };
    await expect.poll(sizeAnew, { timeout: 30_000, interval: 500 }).not.toBe(before);
    await page.runCommand('View: Toggle Maximized Panel');
    await page.typeInTerminal('exit 3\r');
    await page.waitForTerminal(/Exited with status 3\. Press any key/);
    await page.pressInTerminal('Enter');
  });

  test('Change Limits refuses what cannot be and applies the rest at once', async () => {
    const { page } = session;
    await page.clickInlineAction(page.treeRow('Memory', 'Cgroups'), 'Change Limits…');
    await page.quickPickRows().filter({ hasText: '256 MiB' }).waitFor();
    await page.screenshot('limits-dark');
    await page.pick(/^Memory256 MiB/);
    await page.quickInputTitle.getByText('(2/2)').waitFor();
    await page.quickInput.fill('9');
    await page.inputMessage.getByText('Add a unit').waitFor();
    await page.screenshot('limit-refused-dark');
    await page.answer('64m');
    await page.toast(/Memory is 64 MiB now \(was 256 MiB\)/).waitFor();
    await page.clearToasts();
    const { cgroup, limits } = await details(session, name);
    expect(limits.memoryMaxBytes).toBe(64 * 1024 ** 2);
    expect(memoryLimitOfKernel(cgroup.path)).toBe(64 * 1024 ** 2);
    await page.rowDescription(page.treeRow('Memory', 'Cgroups')).getByText('/ 64 MiB').waitFor();
  });

  test('Follow Logs follows', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.treeRow(name, 'Containers'), 'Follow Logs in Terminal');
    const lastTick = (text: string): number =>
      Number(
        text
          .match(/tick-\d+/g)
          ?.at(-1)
          ?.slice('tick-'.length),
      );
    const first = lastTick(await page.waitForTerminal(/tick-\d+/));
    await expect.poll(async () => lastTick(await page.terminalText()), { timeout: 30_000 }).toBeGreaterThan(first + 1);
    await page.screenshot('logs-dark');
  });

  test('Inspect opens a read-only document', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.treeRow(name, 'Containers'), 'Inspect');
    await page.tab(`${name}.json`).waitFor();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('"name"');
    await page.screenshot('inspect-dark');
  });

  test('Show Processes shows what runs now, however often it is asked', async () => {
    const { page } = session;
    await page.chooseFromContextMenu(page.treeRow(name, 'Containers'), 'Show Processes');
    await page.tab(`${name}.processes.txt`).waitFor();
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toMatch(/HOST PID[\s\S]*trap exit TERM/);
    expect(await page.editorText()).not.toContain('sleep 4242');
    const connection = await session.helper().connect();
    const { stream } = await connection.request('container.exec', { container: name, command: ['sleep', '4242'] });
    await page.chooseFromContextMenu(page.treeRow(name, 'Containers'), 'Show Processes');
    await expect.poll(() => page.editorText(), { timeout: 30_000 }).toContain('sleep 4242');
    await page.screenshot('processes-dark');
    if (stream !== undefined) connection.stream(stream).close();
    connection.close();
  });

  test('a helper that crashes takes nothing along, and its successor is found', async () => {
    const { page } = session;
    await session.helper().crash();
    await page.waitForTerminal(/The Strata helper went away/);
    await session.startHelper();
    await page.rowDescription(page.treeRow(name, 'Containers')).getByText('running').waitFor();
    await page
      .rowDescription(page.treeRow(shortName(name), 'Cgroups'))
      .getByText(/\d % · /)
      .waitFor();
    const text = await page.waitForTerminal(/following again\.\s+tick-\d+\s+tick-/);
    expect(text).not.toContain('Press Enter');
    // What was written while no helper was there is in the log: nothing is left out, and nothing comes twice.
    const ticks = [...text.matchAll(/tick-(\d+)/g)].map(([, tick]) => Number(tick));
    expect(ticks).toEqual(ticks.map((_, index) => (ticks[0] ?? 0) + index));
  });

  test('Stop ends it, with the reason in its row', async () => {
    const { page } = session;
    await page.clickInlineAction(page.treeRow(name, 'Containers'), 'Stop');
    await page
      .rowDescription(page.treeRow(name, 'Containers'))
      .getByText(/exited|killed/)
      .waitFor();
    await page.waitForTerminal(/The container (exited|killed|was)|End of the log/);
    await page.welcome('Cgroups').getByText('Nothing is running').waitFor();
    expect((await details(session, name)).state.kind).toBe('exited');
  });

  test('Remove asks, and the row is gone', async () => {
    const { page } = session;
    await page.clickInlineAction(page.treeRow(name, 'Containers'), 'Remove…');
    await page.dialog().getByText(name).first().waitFor();
    await page.screenshot('remove-dark');
    await page.pressDialogButton('Remove');
    await page.treeRow(name, 'Containers').waitFor({ state: 'detached' });
    await page.welcome('Containers').getByText('No containers yet.').waitFor();
    await page.welcome('Layers').getByText('Select a container or an image').waitFor();
    expect(await page.treeLabels('Containers')).toEqual([]);
  });

  test('a key is about the row that the arrow keys went to', async () => {
    const { page } = session;
    const connection = await session.helper().connect();
    for (const made of ['lower', 'upper']) await connection.request('container.create', { options: { image: 'busybox', name: made } });
    await page.treeRow('lower', 'Containers').waitFor();
    await page.treeRow('upper', 'Containers').click();
    await page.page.keyboard.press('ArrowDown');
    await page.page.keyboard.press('Delete');
    await page.dialog().getByText('Remove container "lower"?').waitFor();
    await page.pressDialogButton('Cancel');
    for (const container of ['lower', 'upper']) await connection.request('container.remove', { container });
    connection.close();
    await page.treeRow('lower', 'Containers').waitFor({ state: 'detached' });
    await page.treeRow('upper', 'Containers').waitFor({ state: 'detached' });
    expect(await page.treeLabels('Containers')).toEqual([]);
  });

  test('out of memory is said in words', async () => {
    const { page } = session;
    const connection = await session.helper().connect();
    const command = ['sh', '-c', 'tail /dev/zero'];
    await connection.request('container.run', {
      options: { image: 'busybox', name: 'greedy', command, limits: { memoryMaxBytes: 16 * 1024 ** 2 } },
    });
    await page.rowDescription(page.treeRow('greedy', 'Containers')).getByText('out of memory').waitFor();
    await page.hoverUntil(page.treeRow('greedy', 'Containers'), 'out of memory: the kernel killed it at its limit of 16 MiB');
    await page.screenshot('out-of-memory-dark', { withTooltip: true });
    await connection.request('container.remove', { container: 'greedy' });
    connection.close();
    await page.treeRow('greedy', 'Containers').waitFor({ state: 'detached' });
    expect(await page.treeLabels('Containers')).toEqual([]);
  });
});

async function details(session: Session, container: string): Promise<ContainerDetails> {
  const connection = await session.helper().connect();
  try {
    return await connection.request('container.inspect', { container });
  } finally {
    connection.close();
  }
}

/** What the kernel has, whatever the helper says: v2's file, else v1's. */
function memoryLimitOfKernel(cgroup: string): number {
  const files = [`/sys/fs/cgroup${cgroup}/memory.max`, `/sys/fs/cgroup/memory${cgroup}/memory.limit_in_bytes`];
  for (const file of files) {
    try {
      return Number(readFileSync(file, 'utf8'));
    } catch {
      // The other cgroup version.
    }
  }
  throw new Error(`no memory limit found below ${cgroup}`);
}
