import type { CommandId } from './commands.ts';
import { contextKeys, inLog, mayControl } from './context.ts';
import { type ViewKey, views } from './views.ts';

/** What a key gives its command in place of a row: the view whose selected rows it is for. */
export const keyArguments = ['containers', 'images'] as const;
export type KeyArgument = (typeof keyArguments)[number];

export function isKeyArgument(value: unknown): value is KeyArgument {
  return keyArguments.some((argument) => argument === value);
}

interface Keybinding {
  readonly command: CommandId;
  readonly key: string;
  readonly args?: KeyArgument;
  readonly when: string;
}

const onList = (view: ViewKey): string => `focusedView == ${views[view].id} && listFocus && !inputFocus && ${mayControl}`;
/** Nothing can be typed into a log, so letters are free; not for those who move by letters. */
const onLog = `editorTextFocus && ${inLog} && !vim.active && !neovim.init`;

export const keybindings: readonly Keybinding[] = [
  { command: 'strata.container.remove', key: 'delete', args: 'containers', when: onList('containers') },
  { command: 'strata.container.rename', key: 'f2', args: 'containers', when: onList('containers') },
  { command: 'strata.image.remove', key: 'delete', args: 'images', when: onList('images') },
  { command: 'strata.image.tag', key: 'f2', args: 'images', when: onList('images') },
  { command: 'strata.log.follow', key: 'e', when: `${onLog} && !${contextKeys.logFollows}` },
  { command: 'strata.log.unfollow', key: 'e', when: `${onLog} && ${contextKeys.logFollows}` },
  { command: 'strata.log.filter', key: 'f', when: onLog },
  { command: 'strata.log.sources', key: 's', when: onLog },
  { command: 'strata.log.range', key: 'r', when: onLog },
  { command: 'strata.log.times', key: 't', when: onLog },
  { command: 'strata.log.earlier', key: 'b', when: onLog },
];
