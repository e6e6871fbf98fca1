import { join } from 'node:path';
import type { Frame, Locator, Page } from 'playwright-core';
import { expect } from 'vitest';

const escapeRegExp = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
const exactly = (text: string) => new RegExp(`^\\s*${escapeRegExp(text)}\\s*$`);

async function centerOf(element: Locator): Promise<{ readonly x: number; readonly y: number }> {
  const box = await element.boundingBox();
  if (box === null) throw new Error(`nothing to see of ${element}`);
  return { x: box.x + Math.min(box.width / 2, 60), y: box.y + box.height / 2 };
}

/**
 * The workbench as a person sees it: every method is something one can do or look at. Plain DOM selectors of VS Code
 * live here and nowhere else. Time limits are generous: two busy cores make everything three times slower.
 */
export class WorkbenchPage {
  readonly page: Page;
  readonly #screenshotsDir: string;

  constructor(page: Page, screenshotsDir: string) {
    this.page = page;
    this.#screenshotsDir = screenshotsDir;
  }

  /** Until the workbench is drawn. */
  async ready(timeout = 120_000): Promise<void> {
    await this.page.locator('.monaco-workbench .part.statusbar').waitFor({ timeout });
    await this.page.locator('.monaco-workbench .part.activitybar .action-item').first().waitFor({ timeout });
  }

  /** By the command, which keeps what is open; a reload of the page would not wait until that is stored. */
  async reloadWindow(): Promise<void> {
    const loaded = this.page.waitForEvent('load');
    await this.runCommand('Developer: Reload Window');
    await loaded;
    await this.ready();
  }

  /** Away from everything that would show a tooltip: the title bar between the search box and the layout buttons. */
  async parkMouse(): Promise<void> {
    await this.page.mouse.move(1150, 18);
  }

  /** Until the side bar loads nothing: a progress bar says so in each view that waits for its extension. */
  async idle(): Promise<void> {
    await expect.poll(() => this.page.locator('.part.sidebar .monaco-progress-container.active').count(), { timeout: 30_000 }).toBe(0);
    await expect.poll(() => this.page.locator('.part.activitybar .progress-badge:visible').count(), { timeout: 30_000 }).toBe(0);
  }

  /** Writes `<name>.png` to build/screenshots, for people to look at: no load under way, no tooltip but one that is wanted. */
  async screenshot(name: string, { withTooltip = false } = {}): Promise<void> {
    await this.idle();
    if (!withTooltip) {
      await expect.poll(() => this.#tooltips(), { timeout: 20_000, interval: 500 }).toBe(0);
    }
    await this.page.screenshot({ path: join(this.#screenshotsDir, `${name}.png`) });
  }

  /** How many are left when the mouse has moved away: a mouse that is put where it was already says nothing to them. */
  async #tooltips(): Promise<number> {
    await this.page.mouse.move(1100, 18);
    await this.parkMouse();
    return await this.page.locator('.workbench-hover:visible').count();
  }

  // ---- command palette, quick picks, input boxes ----

  get quickInput(): Locator {
    return this.page.locator('.quick-input-widget:visible input').first();
  }

  /** Runs a command by its title in the palette. */
  async runCommand(title: string): Promise<void> {
    await this.openPalette();
    await this.quickInput.fill(`>${title}`);
    await this.page.locator('.quick-input-list .monaco-list-row').filter({ hasText: title }).first().waitFor({ timeout: 30_000 });
    await this.page.keyboard.press('Enter');
  }

  /** A key press can get lost while the workbench moves its focus, so it is repeated. F1 works on every platform. */
  private async openPalette(attempts = 5): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.page.keyboard.press('F1');
      try {
        await this.quickInput.waitFor({ timeout: 3000 });
        return;
      } catch (error) {
        if (attempt === attempts) throw error;
      }
    }
  }

  quickPickRows(): Locator {
    return this.page.locator('.quick-input-widget:visible .quick-input-list .monaco-list-row');
  }

  /** Chooses the first row of the open quick pick that has this text. */
  async pick(text: string | RegExp): Promise<void> {
    await this.quickPickRows().filter({ hasText: text }).first().click();
  }

  /** Fills the open input box (or a quick pick's filter) and presses Enter. */
  async answer(text: string): Promise<void> {
    await this.quickInput.waitFor();
    await this.quickInput.fill(text);
    await this.page.keyboard.press('Enter');
  }

  /** What an input box says is wrong with the value. */
  get inputMessage(): Locator {
    return this.page.locator('.quick-input-widget:visible .quick-input-message');
  }

  /** Title above an open quick pick or input box. */
  get quickInputTitle(): Locator {
    return this.page.locator('.quick-input-widget:visible .quick-input-title');
  }

  /**
   * Fills the box of a file dialog, once it has read the folder that it starts from, and presses its button. The first press may only
   * take the dialog into a folder, so it is repeated until the dialog is gone.
   */
  async answerFileDialog(path: string, button: string, attempts = 4): Promise<void> {
    await this.quickPickRows().filter({ hasText: '..' }).first().waitFor();
    await expect.poll(() => this.quickInput.inputValue(), { timeout: 30_000 }).toMatch(/^\//);
    await this.quickInput.fill(path);
    const accept = this.page.locator('.quick-input-widget:visible').getByRole('button', { name: button, exact: true });
    for (let attempt = 1; ; attempt++) {
      await accept.click();
      try {
        await accept.waitFor({ state: 'hidden', timeout: 5000 });
        return;
      } catch (error) {
        if (attempt === attempts) throw error;
      }
    }
  }

  // ---- side bar ----

  /** Opens a view container from the activity bar. A click on an open one would close it, so it looks first and after. */
  async openContainer(title: string, attempts = 4): Promise<void> {
    const bar = this.page.locator('.part.activitybar .action-item');
    const item = bar.locator(`[aria-label^="${title}"]`).or(this.page.locator(`.part.activitybar .action-item[aria-label^="${title}"]`));
    const heading = this.page
      .locator('.part.sidebar .composite.title h2:visible, .part.sidebar .title-label:visible')
      .filter({ hasText: new RegExp(escapeRegExp(title), 'i') })
      .first();
    await item.first().waitFor();
    for (let attempt = 1; ; attempt++) {
      if (await heading.isVisible()) return;
      await item.first().click();
      try {
        await heading.waitFor({ timeout: 8000 });
        return;
      } catch (error) {
        if (attempt === attempts) throw error;
      }
    }
  }

  /** The pane of one view in the side bar, by the view's name. */
  view(name: string): Locator {
    const header = this.page.locator('.pane-header').filter({ has: this.page.locator('h3.title', { hasText: exactly(name) }) });
    return this.page.locator('.part.sidebar .pane').filter({ has: header });
  }

  /** Unfolds a view that is folded. */
  async openView(name: string): Promise<void> {
    const header = this.view(name).locator('.pane-header');
    await header.waitFor();
    if ((await header.getAttribute('aria-expanded')) === 'false') await header.click();
  }

  /** Rows of a view's tree, or of the whole side bar. */
  treeRows(view?: string): Locator {
    return (view === undefined ? this.page.locator('.part.sidebar') : this.view(view)).locator('.monaco-list-row');
  }

  /** The first row with exactly this label. */
  treeRow(label: string, view?: string): Locator {
    return this.treeRows(view)
      .filter({ has: this.page.locator('.label-name', { hasText: exactly(label) }) })
      .first();
  }

  /** The row that an image has under this name: its label is the tag alone. */
  imageRow(reference: string): Locator {
    return this.treeRows('Images')
      .and(this.page.locator(`[aria-label^="Image ${reference},"]`))
      .first();
  }

  async treeLabels(view?: string): Promise<string[]> {
    return this.treeRows(view).locator('.label-name').allTextContents();
  }

  /** The grey text after a row's label. */
  rowDescription(row: Locator): Locator {
    return row.locator('.label-description');
  }

  async expand(label: string, view?: string): Promise<void> {
    await this.expandRow(this.treeRow(label, view));
  }

  async expandRow(row: Locator): Promise<void> {
    await row.waitFor();
    if ((await row.getAttribute('aria-expanded')) !== 'true') await row.locator('.monaco-tl-twistie').click();
    await row.and(this.page.locator('[aria-expanded="true"]')).waitFor();
  }

  /** A group of the source control view, by its name. */
  changeGroup(name: string): Locator {
    const label = this.page.locator('.resource-group .name', { hasText: exactly(name) });
    return this.treeRows().filter({ has: label }).first();
  }

  /** How many rows a group of the source control view says it has. */
  async changeCount(group: string): Promise<string | null> {
    return await this.changeGroup(group).locator('.monaco-count-badge').textContent();
  }

  /** In the input of the source control view. */
  async typeMessage(text: string): Promise<void> {
    await this.page.locator('.scm-editor').first().click();
    await this.page.keyboard.type(text);
  }

  /** An icon that a row shows when the mouse is over it. */
  async clickInlineAction(row: Locator, title: string): Promise<void> {
    await row.hover();
    // A key binding stands behind the title: "Remove… (Delete)".
    await row.locator(`.action-label[aria-label^="${title}"]`).first().click();
  }

  /** An icon in the title of a view. */
  async clickViewAction(view: string, title: string): Promise<void> {
    const header = this.view(view).locator('.pane-header');
    await header.hover();
    await header.locator(`.action-label[aria-label^="${title}"]`).first().click();
  }

  /** Rests the mouse on a row until its tooltip says this. A row that is redrawn loses its tooltip, so it is tried again. */
  async hoverUntil(row: Locator, text: string, attempts = 6): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.parkMouse();
      await row.hover();
      try {
        await this.page.locator('.workbench-hover').getByText(text).first().waitFor({ timeout: 4000 });
        return;
      } catch (error) {
        if (attempt === attempts) throw error;
      }
    }
  }

  /**
   * An entry of a row's context menu. A menu ignores clicks in its first moments, so it is clicked until it is gone; and one that
   * goes before, because the tree below it is drawn anew, is opened again.
   */
  async chooseFromContextMenu(row: Locator, title: string, attempts = 6): Promise<void> {
    await this.idle();
    // The menu lives in a shadow root, which Playwright's selectors go through.
    const entry = this.page
      .locator('.monaco-menu .action-item')
      .filter({ has: this.page.locator('.action-label', { hasText: exactly(title) }) })
      .first();
    for (let attempt = 1; ; attempt++) {
      if (!(await entry.isVisible())) await row.click({ button: 'right' });
      try {
        await entry.click({ timeout: 4000 });
        await entry.waitFor({ state: 'hidden', timeout: 2000 });
        return;
      } catch (error) {
        if (attempt === attempts) throw error;
      }
    }
  }

  /** What a row's context menu offers. */
  async contextMenu(row: Locator): Promise<string[]> {
    await row.click({ button: 'right' });
    const labels = this.page.locator('.monaco-menu .action-label:not(.separator)');
    await labels.first().waitFor();
    const titles = await labels.allTextContents();
    await this.page.keyboard.press('Escape');
    await labels.first().waitFor({ state: 'detached' });
    return titles.map((title) => title.trim()).filter((title) => title !== '');
  }

  /**
   * Drags a row of the view container that is open onto a row of another one: over its icon, which opens it, as a person does. The
   * mouse is let go when the row shows that it takes what is dragged. `whileOver` is called before.
   */
  async dragToContainer(from: Locator, container: string, to: Locator, whileOver: () => Promise<void> = async () => {}): Promise<void> {
    const { mouse } = this.page;
    const start = await centerOf(from);
    await mouse.move(start.x, start.y);
    await mouse.down();
    // One move is no drag yet.
    await mouse.move(start.x + 5, start.y + 5, { steps: 3 });
    const icon = await centerOf(this.page.locator(`.part.activitybar .action-item [aria-label^="${container}"]`).first());
    await this.#hoverUntilSeen(icon, to);
    await this.idle();
    await this.#hoverUntilSeen(await centerOf(to), to.and(this.page.locator('.drop-target')));
    await whileOver();
    await mouse.up();
  }

  /** A mouse that stands still drags over nothing, so it trembles. */
  async #hoverUntilSeen({ x, y }: { readonly x: number; readonly y: number }, seen: Locator): Promise<void> {
    const isSeen = async (): Promise<boolean> => {
      await this.page.mouse.move(x - 2, y);
      await this.page.mouse.move(x, y);
      return await seen.isVisible();
    };
    await expect.poll(isSeen, { timeout: 30_000, interval: 200 }).toBe(true);
  }

  /** What a view shows instead of a tree. */
  welcome(view: string): Locator {
    return this.view(view).locator('.welcome-view-content');
  }

  // ---- messages ----

  /** A notification; drawn only outside VS Code's own test mode, so the workbench is started without it. */
  toast(text: string | RegExp): Locator {
    return this.page.locator('.notifications-toasts .notification-list-item-message').filter({ hasText: text }).first();
  }

  async clearToasts(): Promise<void> {
    await this.runCommand('Notifications: Clear All Notifications');
  }

  dialog(): Locator {
    return this.page.locator('.monaco-dialog-box');
  }

  async pressDialogButton(name: string): Promise<void> {
    await this.dialog().getByRole('button', { name }).click();
  }

  // ---- editors and output ----

  /** The visible text of the active editor; only the lines in view are in the DOM. */
  async editorText(): Promise<string> {
    const lines = await this.page.locator('.editor-group-container.active .monaco-editor .view-line').allTextContents();
    return lines.map((line) => line.replaceAll('\u00a0', ' ')).join('\n');
  }

  /** The lines in view of the active editor, from top to bottom; an editor that scrolls keeps them in another order. */
  async editorLines(): Promise<string[]> {
    const lines = await this.page.locator('.editor-group-container.active .monaco-editor .view-line').evaluateAll((elements) =>
      elements
        .map((element) => ({ top: element.getBoundingClientRect().top, text: element.textContent ?? '' }))
        .sort((a, b) => a.top - b.top)
        .map(({ text }) => text),
    );
    return lines.map((line) => line.replaceAll('\u00a0', ' ').trimEnd());
  }

  /** A key for the active editor, wherever the focus was. */
  async pressInEditor(key: string): Promise<void> {
    await this.page
      .locator('.editor-group-container.active .monaco-editor')
      .first()
      .click({ position: { x: 300, y: 10 } });
    await this.page.keyboard.press(key);
  }

  /** The same until it has shown an effect: a key can get lost while the focus moves. */
  async pressInEditorUntil(key: string, effect: Locator, attempts = 5): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.pressInEditor(key);
      try {
        await effect.waitFor({ timeout: 6000 });
        return;
      } catch (error) {
        if (attempt === attempts) throw error;
      }
    }
  }

  async scrollEditor(deltaY: number): Promise<void> {
    await this.page
      .locator('.editor-group-container.active .monaco-editor')
      .first()
      .hover({ position: { x: 300, y: 100 } });
    await this.page.mouse.wheel(0, deltaY);
  }

  /** An icon in the title of the active editor. */
  editorAction(title: string): Locator {
    return this.page.locator(`.editor-group-container.active .editor-actions .action-label[aria-label^="${title}"]`).first();
  }

  statusBarItem(text: string | RegExp): Locator {
    return this.page.locator('.part.statusbar .statusbar-item').filter({ hasText: text }).first();
  }

  tab(title: string | RegExp): Locator {
    return this.page.locator('.tabs-container .tab').filter({ hasText: title }).first();
  }

  // ---- terminals ----

  /** The text of the visible terminal. */
  async terminalText(): Promise<string> {
    const rows = await this.page.locator('.terminal-wrapper.active .xterm-rows > div').allTextContents();
    return rows
      .map((row) => row.replaceAll('\u00a0', ' ').trimEnd())
      .join('\n')
      .trimEnd();
  }

  /** Until the visible terminal shows it; resolves with the whole text. */
  async waitForTerminal(pattern: RegExp, timeout = 30_000): Promise<string> {
    let text = '';
    for (const end = Date.now() + timeout; Date.now() < end; await this.page.waitForTimeout(100)) {
      text = await this.terminalText();
      if (pattern.test(text)) return text;
    }
    throw new Error(`the terminal never showed ${pattern}; it shows:\n${text}`);
  }

  async typeInTerminal(text: string): Promise<void> {
    await this.page.locator('.terminal-wrapper.active .xterm-helper-textarea').first().focus();
    await this.page.keyboard.type(text);
  }

  async pressInTerminal(key: string): Promise<void> {
    await this.page.locator('.terminal-wrapper.active .xterm-helper-textarea').first().focus();
    await this.page.keyboard.press(key);
  }

  // ---- webviews ----

  /** The innermost frame of a webview, found by something that it holds. */
  async webviewFrame(selector: string, timeout = 40_000): Promise<Frame> {
    for (const end = Date.now() + timeout; Date.now() < end; await this.page.waitForTimeout(100)) {
      for (const frame of this.page.frames()) {
        // A frame may be replaced while it is asked.
        if (
          frame !== this.page.mainFrame() &&
          (await frame
            .locator(selector)
            .count()
            .catch(() => 0)) > 0
        )
          return frame;
      }
    }
    const addresses = this.page.frames().map((frame) => frame.url());
    throw new Error(`no webview frame holds ${selector}; frames: ${addresses.join(' | ')}`);
  }
}
