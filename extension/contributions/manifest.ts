/**
 * What the extension adds to VS Code, once: package.json's `contributes` is generated from this folder (`npm run generate`), and
 * the ids are types, so that a command without a handler or a view without a provider does not compile.
 */
import { commandEntries } from './commands.ts';
import { connected, inLog, mayControl } from './context.ts';
import { keybindings } from './keybindings.ts';
import { grammars, languageDefaults, languages } from './languages.ts';
import { editorTitleMenu, explorerMenu, itemMenu, scmResourceMenu, scmTitleMenu, titleMenu } from './menus.ts';
import { settings } from './settings.ts';
import { viewContainerId, views } from './views.ts';
import { welcomes } from './welcomes.ts';

const icon = 'media/strata.svg';
const enablement = { nothing: undefined, helper: connected, control: mayControl, log: inLog } as const;

/** package.json's `contributes`. */
export function manifestContributes(): Readonly<Record<string, unknown>> {
  return {
    viewsContainers: { activitybar: [{ id: viewContainerId, title: 'Strata', icon }] },
    views: {
      [viewContainerId]: Object.values(views).map(({ id, name, initialSize }) => ({
        id,
        name,
        icon,
        contextualTitle: 'Strata',
        initialSize,
      })),
    },
    viewsWelcome: welcomes.map(({ view, when, lines }) => ({ view: views[view].id, contents: lines.join('\n'), when })),
    commands: commandEntries.map(([command, { title, icon: commandIcon, needs, category = 'Strata' }]) => ({
      command,
      title,
      category,
      ...(commandIcon === undefined ? {} : { icon: commandIcon }),
      ...(enablement[needs] === undefined ? {} : { enablement: enablement[needs] }),
    })),
    menus: {
      commandPalette: commandEntries.flatMap(([command, { hidden, needs }]) => {
        if (hidden) return [{ command, when: 'false' }];
        return needs === 'log' ? [{ command, when: inLog }] : [];
      }),
      'view/title': titleMenu,
      'view/item/context': itemMenu,
      'editor/title': editorTitleMenu,
      'explorer/context': explorerMenu,
      'scm/title': scmTitleMenu,
      'scm/resourceState/context': scmResourceMenu,
    },
    keybindings,
    languages,
    grammars,
    configurationDefaults: languageDefaults,
    configuration: {
      title: 'Strata',
      properties: Object.fromEntries(Object.values(settings).map(({ key, schema }) => [`strata.${key}`, schema])),
    },
  };
}
