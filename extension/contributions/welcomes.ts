import { JOIN_GROUP_COMMAND } from '../../helper/protocol/index.ts';
import type { CommandId } from './commands.ts';
import { connected, contextKeys, mayControl, mayOnlyLook } from './context.ts';
import type { ViewKey } from './views.ts';

const inState = (kind: string): string => `${contextKeys.state} == ${kind}`;
const link = (title: string, command: CommandId): string => `[${title}](command:${command})`;
const retry = link('Try Again', 'strata.refresh');
const startHelper = link('Start Helper', 'strata.helper.start');
const openSetting = (title: string, key: string): string =>
  `[${title}](command:workbench.action.openSettings?${encodeURIComponent(JSON.stringify([`strata.${key}`]))})`;
/** Where the helper comes from: no package installs one yet. */
export const START_FROM_CHECKOUT = 'npm start -- --no-ui';
const startFromCheckout = (why: string): string[] => [`${why} In the Strata checkout on this host, run:`, START_FROM_CHECKOUT];
export const UNSUPPORTED_HOST =
  'Containers run on Linux, and this window works on another system. Open one on a Linux host: with Remote-SSH, or WSL on Windows.';
const canStart = contextKeys.canStartHelper;

const notInstalled = 'No Strata helper was found on this host. It is the root daemon that runs the containers.';
const notRunning = 'The Strata helper is not running. Containers that were running still are.';
/** Where there is a way to start one and no trace of it: after a start of the host /run is empty. */
const notStarted = 'The Strata helper is not running on this host. It is the root daemon that runs the containers.';
const showLog = link('Show Log', 'strata.helper.showLog');
const socketSetting = openSetting('Socket Setting', 'socketPath');
const troubleLinks = `${showLog} · ${retry} · ${socketSetting}`;

export const welcomes: readonly { readonly view: ViewKey; readonly when: string; readonly lines: readonly string[] }[] = [
  { view: 'containers', when: inState('connecting'), lines: ['Connecting to the Strata helper…'] },
  {
    view: 'containers',
    when: `${inState('notInstalled')} && ${canStart}`,
    lines: [notStarted, startHelper, troubleLinks],
  },
  {
    view: 'containers',
    when: `${inState('notInstalled')} && !${canStart}`,
    lines: [...startFromCheckout(notInstalled), `Is it elsewhere? ${socketSetting} · ${retry} · ${showLog}`],
  },
  {
    view: 'containers',
    when: `${inState('notRunning')} && ${canStart}`,
    lines: [notRunning, startHelper, troubleLinks],
  },
  {
    view: 'containers',
    when: `${inState('notRunning')} && !${canStart}`,
    lines: [...startFromCheckout(notRunning), troubleLinks],
  },
  {
    view: 'containers',
    when: inState('notPermitted'),
    lines: [
      'Your user may not talk to the Strata helper. That takes the group "strata", which is as powerful as root:',
      JOIN_GROUP_COMMAND,
      `Then restart the helper and log in again. ${retry}`,
      'Over Remote-SSH that takes "Kill VS Code Server on Host" as well: it keeps the groups that it was started with.',
    ],
  },
  {
    view: 'containers',
    when: inState('incompatible'),
    lines: [
      'The helper speaks another version of the protocol than this extension. Update both to the same version.',
      `${showLog} · ${retry}`,
    ],
  },
  {
    view: 'containers',
    when: inState('tooLarge'),
    lines: [
      'The Strata helper runs, but it has more containers and images than it can list at once. Remove some by name:',
      'strata rm NAME',
      `${showLog} · ${retry}`,
    ],
  },
  {
    view: 'containers',
    when: inState('unsupportedHost'),
    lines: [UNSUPPORTED_HOST],
  },
  { view: 'containers', when: mayControl, lines: ['No containers yet.', link('Run Container…', 'strata.container.run')] },
  {
    view: 'containers',
    when: mayOnlyLook,
    lines: ['No containers yet. You may look at this helper but not change anything: that takes the group "strata".'],
  },
  { view: 'images', when: mayOnlyLook, lines: ['No images yet.'] },
  {
    view: 'images',
    when: mayControl,
    lines: [
      'No images yet. Pull one from a registry, load what "docker save" wrote, or import a root file system: a tar as "docker export" writes it, a directory, or an OCI image layout.',
      link('Pull Image…', 'strata.image.pull'),
      link('Load Images from File…', 'strata.image.load'),
      link('Import Image…', 'strata.image.import'),
    ],
  },
  { view: 'images', when: `!(${connected})`, lines: ['Images appear when the helper is connected.'] },
  {
    view: 'layers',
    when: `${connected} && ${contextKeys.layersOf} == none`,
    lines: ['Select a container or an image to see the layers of its file system.'],
  },
  { view: 'layers', when: `!(${connected})`, lines: ['Layers appear when the helper is connected.'] },
  {
    view: 'cgroups',
    when: connected,
    lines: ['Nothing is running. Running containers show what they use of cpu, memory and processes here.'],
  },
  { view: 'cgroups', when: `!(${connected})`, lines: ['Figures appear when the helper is connected.'] },
];
