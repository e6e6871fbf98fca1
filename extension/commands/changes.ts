import * as vscode from 'vscode';
import { shownPath } from '../model/changes.ts';
import { ChangeResource } from '../scm/changeResource.ts';
import type { ChangesControls } from '../scm/changesControls.ts';
import type { CommandHandlers } from './registry.ts';
import type { Targets } from './targets.ts';

type ChangeCommands = Pick<
  CommandHandlers,
  | 'strata.container.changes'
  | 'strata.changes.refresh'
  | 'strata.changes.close'
  | 'strata.changes.open'
  | 'strata.changes.openFile'
  | 'strata.changes.copyPath'
>;

export function changeCommands(targets: Targets, controls: ChangesControls): ChangeCommands {
  return {
    'strata.container.changes': async (args) => {
      const container = await targets.container(args, 'Show changes');
      if (container !== undefined) await controls.open(container);
    },
    'strata.changes.refresh': async ([control]) => controls.refresh(controls.containerOf(control)),
    'strata.changes.close': ([control]) => {
      const container = controls.containerOf(control);
      if (container !== undefined) controls.close(container);
    },
    'strata.changes.open': async (args) => {
      for (const row of rowsOf(args)) await row.open(controls.nameOf(row.container));
    },
    'strata.changes.openFile': async (args) => {
      for (const row of rowsOf(args)) await row.openFile();
    },
    'strata.changes.copyPath': async (args) => {
      await vscode.env.clipboard.writeText(
        rowsOf(args)
          .map(({ change }) => (change.pathHex === undefined ? change.path : shownPath(change.path)))
          .join('\n'),
      );
    },
  };
}

/** VS Code gives the rows that are selected, one argument each. */
function rowsOf(args: readonly unknown[]): readonly ChangeResource[] {
  return args.flat().filter((row) => row instanceof ChangeResource);
}
