import { describe, expect } from 'vitest';
import { requires } from '../support/requires.ts';
import { type Session, useSession } from './session.ts';

const test = requires({ root: true, commands: ['chromium'] });

/** Five lines a second, each fifth of them on stderr. */
const TICKER =
  'trap exit TERM; i=0; while :; do i=$((i+1)); if [ $((i % 5)) = 0 ]; then echo "ERROR tick-$i" >&2; else echo "tick-$i"; fi; sleep 0.2; done';

for (const theme of ['dark', 'light'] as const) {
  describe(`logs as a document, ${theme}`, () => {
    const session = useSession({ theme, settings: { 'strata.logs.lines': 100 } });

    test('Open Logs shows them and follows', async () => {
      const { page } = session;
      await session.startHelper();
      await run(session, 'ticker', TICKER);
      await page.chooseFromContextMenu(page.treeRow('ticker', 'Containers'), 'Open Logs');
      await page.tab('ticker.log').waitFor();
      await page.statusBarItem('Strata Log').waitFor();
      await expect.poll(() => lastTick(session), { timeout: 30_000 }).toBeGreaterThan(6);
      const text = (await page.editorLines()).join('\n');
      expect(text).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} out tick-1$/m);
      expect(text).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} err ERROR tick-5$/m);
      await page.statusBarItem(/lines · following/).waitFor();
      await page.screenshot(`log-document-${theme}`);
    });

    test('a filter is tried while it is typed, and can be an expression', async () => {
      const { page } = session;
      await page.pressInEditor('f');
      await page.quickInput.waitFor();
      await page.quickInput.fill('/(/');
      await page.inputMessage.getByText('Invalid regular expression').waitFor();
      await page.quickInput.fill('!error');
      await expect.poll(() => page.editorLines().then((lines) => lines.join('\n')), { timeout: 30_000 }).not.toContain('ERROR');
      await page.answer('/tick-\\d*5$/');
      await expect.poll(() => ticks(session).then((all) => all.filter((tick) => tick % 10 !== 5)), { timeout: 30_000 }).toEqual([]);
      await page.statusBarItem('/tick-\\d*5$/').waitFor();
      await page.screenshot(`log-filter-${theme}`);
      await page.editorAction('Change Filter…').click();
      await page.answer('');
      await expect.poll(() => ticks(session).then((all) => all.some((tick) => tick % 5 === 1)), { timeout: 30_000 }).toBe(true);
      await page.editorAction('Filter Lines…').waitFor();
    });

    test('one of the streams, without times', async () => {
      const { page } = session;
      await page.pressInEditor('s');
      await page.pick(/^stderr$/);
      await expect.poll(() => ticks(session).then((all) => all.filter((tick) => tick % 5 !== 0)), { timeout: 30_000 }).toEqual([]);
      await page.pressInEditor('t');
      await expect.poll(() => page.editorLines().then(([first]) => first), { timeout: 30_000 }).toMatch(/^ERROR tick-\d+$/);
      await page.pressInEditor('t');
      await page.pressInEditor('s');
      await page.pick('stdout and stderr');
      await page.editorAction('Filter Lines…').waitFor();
      await expect.poll(() => ticks(session).then((all) => all.some((tick) => tick % 5 === 1)), { timeout: 30_000 }).toBe(true);
    });

    test('a time range; what is outside of it is not there', async () => {
      const { page } = session;
      await page.pressInEditor('r');
      await page.pick('From … To …');
      await page.answer('25:00');
      await page.inputMessage.getByText('Write a time').waitFor();
      await page.answer('1s');
      await page.quickInputTitle.getByText('(3/3)').waitFor();
      await page.answer('');
      await page.statusBarItem(/from \d{4}-/).waitFor();
      await expect.poll(() => ticks(session).then(([first]) => first ?? 0), { timeout: 30_000 }).toBeGreaterThan(1);
      await page.runCommand('Strata Log: Time Range…');
      await page.screenshot(`log-range-${theme}`);
      await page.pick('All of it');
      await page.statusBarItem(/lines · following/).waitFor();
    });
  });
}

describe('a log that goes on while it is read', () => {
  const session = useSession({ settings: { 'strata.logs.lines': 100 } });

  test('nothing moves while somebody looks at earlier lines, and the end is one key away', async () => {
    const { page } = session;
    await session.startHelper();
    await run(session, 'ticker', `for n in $(seq 300); do echo "early-$n"; done; ${TICKER}`);
    await open(session, 'ticker');
    await page.statusBarItem('100 lines · following').waitFor();
    await page.scrollEditor(-700);
    await page.statusBarItem('live, not following').waitFor();
    const before = await page.editorLines();
    await expect.poll(() => page.statusBarItem(/ lines/).textContent(), { timeout: 30_000 }).toMatch(/1[1-9]\d lines/);
    expect(await page.editorLines()).toEqual(before);
    await page.screenshot('log-scrolled-dark');
    await page.pressInEditorUntil('e', page.statusBarItem('100 lines · following'));
    await expect.poll(() => ticks(session).then((all) => isUnbroken(all) && all.length > 20), { timeout: 30_000 }).toBe(true);
  });

  test('earlier lines are brought, and what was the first line stays at the top', async () => {
    const { page } = session;
    await page.pressInEditorUntil('Control+Home', page.editorAction('Follow the End'));
    await expect.poll(() => page.editorLines().then(([line]) => line), { timeout: 30_000 }).toContain('earlier lines are not shown');
    const first = (await page.editorLines())[1];
    await page.editorAction('Load Earlier Lines').click();
    await page.statusBarItem(/2\d\d lines/).waitFor();
    await expect.poll(() => page.editorLines().then(([line]) => line), { timeout: 30_000 }).toBe(first);
    await page.pressInEditor('b');
    await page.statusBarItem(/3\d\d lines/).waitFor();
  });

  test("VS Code's own search finds in it", async () => {
    const { page } = session;
    const matches = page.page.locator('.find-widget.visible .matchesCount');
    await page.pressInEditor('Control+f');
    await page.page.locator('.find-widget.visible textarea').first().fill('ERROR tick-5');
    await expect.poll(() => matches.textContent(), { timeout: 30_000 }).toMatch(/of \d/);
    await page.page.keyboard.press('Escape');
    await page.pressInEditorUntil('Control+End', page.editorAction('Stop Following'));
    await page.statusBarItem('following').waitFor();
  });

  test('a helper that crashes and comes back: no line is left out, none comes twice', async () => {
    const { page } = session;
    await session.helper().crash();
    await page.statusBarItem('the helper is away').waitFor();
    await session.startHelper();
    await page.statusBarItem('lines · following').waitFor();
    const known = await lastTick(session);
    await expect.poll(() => lastTick(session), { timeout: 30_000 }).toBeGreaterThan(known + 5);
    await expect.poll(() => ticks(session), { timeout: 30_000 }).toSatisfy(isUnbroken);
  });

  test('how it ended stands at its end, and another start goes on below', async () => {
    const { page } = session;
    const text = (): Promise<string> => page.editorLines().then((lines) => lines.join('\n'));
    await run(session, 'again', 'echo begin; exit 3');
    await open(session, 'again');
    await page.statusBarItem('2 lines · ended').waitFor();
    await expect.poll(text, { timeout: 30_000 }).toMatch(/out begin\n\S+ \S+ ── the container exited with status 3 ──/);
    const connection = await session.helper().connect();
    await connection.request('container.start', { container: 'again' });
    await expect
      .poll(text, { timeout: 30_000 })
      .toMatch(/── the container was started ──\n.* out begin\n.*── the container exited with status 3 ──/);
    await page.screenshot('log-ended-dark');
    await connection.request('container.remove', { container: 'again' });
    connection.close();
    await page.treeRow('again', 'Containers').waitFor({ state: 'detached' });
    await page.pressInEditor('f');
    await page.answer('begin');
    await expect.poll(text, { timeout: 30_000 }).toMatch(/No such container|not found|no container/i);
    await page.screenshot('log-removed-dark');
  });

  test('a flood is held to what can be shown', async () => {
    const { page } = session;
    await run(session, 'flood', 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "tick-$i"; done');
    await page.rowDescription(page.treeRow('flood', 'Containers')).getByText('exited').waitFor();
    await open(session, 'flood');
    await page.statusBarItem('100 lines · ended').waitFor();
    await expect.poll(() => lastTick(session), { timeout: 30_000 }).toBe(20_000);
    await expect.poll(() => ticks(session), { timeout: 30_000 }).toSatisfy(isUnbroken);
  });

  test('one that never ends goes on as another document, before the undo history of the first is much', async () => {
    const { page } = session;
    await run(session, 'endless', 'trap exit TERM; i=0; while :; do i=$((i+1)); echo "tick-$i of a line that is somewhat longer"; done');
    await open(session, 'endless');
    await page.statusBarItem('100 lines · following').waitFor();
    await page.pressInEditorUntil('Control+End', page.statusBarItem(/^Ln 10\d/));
    await page.statusBarItem('Ln 1, Col 1').waitFor();
    await page.statusBarItem('100 lines · following').waitFor();
    const tabs = page.page.locator('.tabs-container .tab').filter({ hasText: 'endless.log' });
    await expect.poll(() => tabs.count(), { timeout: 30_000 }).toBe(1);
    const known = await lastTick(session);
    await expect.poll(() => lastTick(session), { timeout: 30_000 }).toBeGreaterThan(known);
    await expect.poll(() => ticks(session), { timeout: 30_000 }).toSatisfy(isUnbroken);
  });
});

async function open({ page }: Session, name: string): Promise<void> {
  await page.chooseFromContextMenu(page.treeRow(name, 'Containers'), 'Open Logs');
  await page.tab(`${name}.log`).waitFor();
}

function isUnbroken(all: readonly number[]): boolean {
  return all.length > 1 && all.every((tick, index) => tick === (all[0] ?? 0) + index);
}

async function run(session: Session, name: string, script: string): Promise<void> {
  const connection = await session.helper().connect();
  await connection.request('container.run', { options: { image: 'busybox', name, command: ['sh', '-c', script] } });
  connection.close();
  await session.page.treeRow(name, 'Containers').waitFor();
}

async function ticks({ page }: Session): Promise<number[]> {
  const text = (await page.editorLines()).join('\n');
  return [...text.matchAll(/tick-(\d+)/g)].map(([, tick]) => Number(tick));
}

async function lastTick(session: Session): Promise<number> {
  return (await ticks(session)).at(-1) ?? 0;
}
