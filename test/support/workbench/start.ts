import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inProject, vsixFile } from '../../../scripts/paths.mjs';
import { launchBrowser } from './browser.ts';
import { CodeServer, installVsix, removeDataDir } from './codeServer.ts';
import { type Theme, testSettings } from './settings.ts';
import { WorkbenchPage } from './workbenchPage.ts';

export interface WorkbenchOptions {
  readonly theme?: Theme;
  /** Server and extension host run as this user; root when left out. */
  readonly uid?: number;
  /** For the server, its extension host and terminals. */
  readonly env?: Readonly<Record<string, string>>;
  /** E.g. `strata.socketPath`. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** The folder that is opened; an empty one when left out. */
  readonly folder?: string;
  /** What that folder wants to set, in its .vscode. */
  readonly workspaceSettings?: Readonly<Record<string, unknown>>;
}

/** A real VS Code with the packed extension installed, in a browser of its own. */
export interface RunningWorkbench {
  readonly page: WorkbenchPage;
  /** Ends everything and removes its files; rejects when an extension host has died or the page left 127.0.0.1. */
  stop(): Promise<void>;
}

const screenshotsDir = inProject('build/screenshots');

export async function startWorkbench(options: WorkbenchOptions = {}): Promise<RunningWorkbench> {
  const { theme = 'dark', uid, env = {}, settings = {} } = options;
  const dataDir = mkdtempSync(join(tmpdir(), 'strata-workbench-'));
  chmodSync(dataDir, 0o755); // `uid` must reach what is given to it inside
  const folder = options.folder ?? join(dataDir, 'workspace');
  mkdirSync(join(folder, '.vscode'), { recursive: true });
  if (options.workspaceSettings) writeFileSync(join(folder, '.vscode/settings.json'), JSON.stringify(options.workspaceSettings));
  mkdirSync(screenshotsDir, { recursive: true });

  const cleanups: (() => Promise<void> | void)[] = [() => removeDataDir(dataDir)];
  const cleanUp = async () => {
    for (const step of cleanups.splice(0).reverse()) await step();
  };
  try {
    const serverOptions = { dataDir, env, settings: testSettings(theme, settings), ...(uid === undefined ? {} : { uid }) };
    installVsix(serverOptions, vsixFile);
    const server = await CodeServer.start(serverOptions);
    cleanups.push(() => server.stop());
    const browser = await launchBrowser();
    cleanups.push(() => browser.close());

    const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, colorScheme: theme });
    context.setDefaultTimeout(60_000);
    const page = await context.newPage();
    const strangers = new Set<string>();
    page.on('request', (request) => {
      const { protocol, hostname } = new URL(request.url());
      if (/^(https?|wss?):$/.test(protocol) && hostname !== '127.0.0.1') strangers.add(hostname);
    });
    const address = new URL(server.url);
    address.searchParams.set('folder', folder);
    // The workbench parses this as an array of pairs.
    address.searchParams.set(
      'payload',
      JSON.stringify([
        ['skipWelcome', 'true'],
        ['skipReleaseNotes', 'true'],
      ]),
    );
    await page.goto(address.href);
    const workbench = new WorkbenchPage(page, screenshotsDir);
    await workbench.ready();

    const stop = async () => {
      const complaints = [...server.extensionHostDeaths(), ...[...strangers].map((host) => `the page asked for ${host}`)];
      await cleanUp();
      if (complaints.length > 0) throw new Error(complaints.join('\n'));
    };
    return { page: workbench, stop };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}
