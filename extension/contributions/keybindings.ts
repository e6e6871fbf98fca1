import type { CommandId } from './commands.ts';
import { contextKeys, inLog, mayControl } from './context.ts';
import { views } from './views.ts';

interface Keybinding {
  readonly command: CommandId;
  readonly key: string;
  readonly args?: string;
  readonly when: string;
}

const onContainers = `focusedView == ${views.containers.id} && listFocus && !inputFocus && ${mayControl}`;
/** Nothing can be typed into a log, so letters are free; not for those who move by letters. */
const onLog = `editorTextFocus && ${inLog} && !vim.active && !neovim.init`;

export const keybindings: readonly Keybinding[] = [
  { command: 'strata.container.remove', key: 'delete', args: 'selection', when: onContainers },
  { command: 'strata.container.rename', key: 'f2', args: 'selection', when: onContainers },
  { command: 'strata.log.follow', key: 'e', when: `${onLog} && !${contextKeys.logFollows}` },
  { command: 'strata.log.unfollow', key: 'e', when: `${onLog} && ${contextKeys.logFollows}` },
  { command: 'strata.log.filter', key: 'f', when: onLog },
  { command: 'strata.log.sources', key: 's', when: onLog },
  { command: 'strata.log.range', key: 'r', when: onLog },
  { command: 'strata.log.times', key: 't', when: onLog },
  { command: 'strata.log.earlier', key: 'b', when: onLog },
];
