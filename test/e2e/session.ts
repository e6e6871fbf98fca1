import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { HelperProcess, makePlace, type Place } from '../integration/support/helperProcess.ts';
import { removeCgroupParent } from '../integration/support/leaks.ts';
import { type RunningWorkbench, startWorkbench, type WorkbenchOptions } from '../support/workbench/start.ts';
import type { WorkbenchPage } from '../support/workbench/workbenchPage.ts';

/** What the tests of one file share: a place for a helper, and VS Code told to look there. */
export interface Session {
  readonly place: Place;
  readonly page: WorkbenchPage;
  startHelper(): Promise<HelperProcess>;
  helper(): HelperProcess;
}

/** Starts VS Code once for a file; the helper is started by the tests, for some are about its absence. */
export function useSession(options: Pick<WorkbenchOptions, 'theme' | 'uid' | 'settings' | 'workspaceSettings' | 'folder'> = {}): Session {
  const place = makePlace();
  let workbench: RunningWorkbench | undefined;
  let helper: HelperProcess | undefined;

  beforeAll(async () => {
    workbench = await startWorkbench({ ...options, settings: { ...options.settings, 'strata.socketPath': place.socketPath } });
    await workbench.page.openContainer('Strata');
    await workbench.page.parkMouse();
  });

  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await workbench?.page.screenshot(`failed-${task.name.replaceAll(/\W+/g, '-').slice(0, 60)}`);
  });

  afterAll(async () => {
    // Whatever fails, nothing of this file may run on: containers outlive their helper.
    try {
      await workbench?.stop();
    } finally {
      if (helper !== undefined) await removeEverything(helper);
      removeCgroupParent(place);
      rmSync(place.directory, { recursive: true, force: true });
    }
  });

  return {
    place,
    get page() {
      if (workbench === undefined) throw new Error('VS Code is started before the first test');
      return workbench.page;
    },
    async startHelper() {
      helper = await HelperProcess.start(place);
      return helper;
    },
    helper() {
      if (helper === undefined) throw new Error('no helper was started');
      return helper;
    },
  };
}

async function removeEverything(helper: HelperProcess): Promise<void> {
  const hasEnded = helper.child.exitCode !== null || helper.child.signalCode !== null;
  const last = hasEnded ? await HelperProcess.start(helper.place) : helper;
  const connection = await last.connect();
  const { containers } = await connection.request('container.list', { all: true });
  for (const { id } of containers) await connection.request('container.remove', { container: id, force: true });
  connection.close();
  await last.stop();
}
