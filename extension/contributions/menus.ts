import type { CommandId } from './commands.ts';
import { contextKeys, inLog, mayControl } from './context.ts';
import { itemKinds, type ViewKey, views } from './views.ts';

const isContainer = 'viewItem =~ /^container /';
const isRunning = 'viewItem =~ /^container .*\\brunning\\b/';
const isStopped = 'viewItem =~ /^container .*\\b(created|exited)\\b/';
const isPaused = 'viewItem =~ /^container .*\\bpaused\\b/';
const isAwake = `${isRunning} && !(viewItem =~ /\\bpaused\\b/)`;
const isRestarting = 'viewItem =~ /^container .*\\brestarting\\b/';
const isRemovedAtItsEnd = 'viewItem =~ /^container .*\\bautoRemove\\b/';
const isRestartable = `${isRunning} && !(viewItem =~ /\\bautoRemove\\b/)`;
const isAttachable = 'viewItem =~ /^container .*\\bstdin\\b/ && viewItem =~ /\\brunning\\b/';
const isImage = 'viewItem =~ /^image\\b/';
const isNamedImage = 'viewItem =~ /^image named/';
const isRepository = 'viewItem =~ /^repository named/';
const isImages = 'viewItem =~ /^(image|repository)\\b/';
const isLayered = 'viewItem =~ /^image .*\\blayered\\b/';
const isOfHub = 'viewItem =~ /^(image|repository) named hub/';
const isLimitedFigure = `viewItem == ${itemKinds.limitedFigure}`;
const isMergedEntry = `viewItem =~ /^${itemKinds.mergedEntry}/ && ${contextKeys.layersOf} == container`;
const isMergedDirectory = `viewItem =~ /^(${itemKinds.merged}$|${itemKinds.mergedEntry} directory)/ && ${contextKeys.layersOf} == container`;
const isImageLayer = `viewItem == '${itemKinds.layer} image'`;
const hasHostPath = `viewItem =~ /^(layer|${itemKinds.mergedEntry})/`;

interface MenuItem {
  readonly command: CommandId;
  readonly when: string;
  readonly group: string;
}

const inView = (view: ViewKey): string => `view == ${views[view].id}`;

export const titleMenu: readonly MenuItem[] = [
  { command: 'strata.container.run', when: inView('containers'), group: 'navigation@1' },
  { command: 'strata.refresh', when: inView('containers'), group: 'navigation@9' },
  { command: 'strata.container.removeStopped', when: inView('containers'), group: '2_remove' },
  { command: 'strata.host.info', when: inView('containers'), group: '3_helper@1' },
  { command: 'strata.helper.showLog', when: inView('containers'), group: '3_helper@2' },
  { command: 'strata.image.pull', when: inView('images'), group: 'navigation@1' },
  { command: 'strata.refresh', when: inView('images'), group: 'navigation@9' },
  { command: 'strata.image.load', when: inView('images'), group: '1_bring@1' },
  { command: 'strata.image.import', when: inView('images'), group: '1_bring@2' },
  { command: 'strata.image.bootstrap', when: inView('images'), group: '1_bring@3' },
  { command: 'strata.image.prune', when: inView('images'), group: '2_remove' },
  { command: 'strata.image.usage', when: inView('images'), group: '3_look' },
  { command: 'strata.registry.logIn', when: inView('images'), group: '4_registry@1' },
  { command: 'strata.registry.logOut', when: inView('images'), group: '4_registry@2' },
  { command: 'strata.layers.refresh', when: `${inView('layers')} && ${contextKeys.layersOf} != none`, group: 'navigation@1' },
];

export const itemMenu: readonly MenuItem[] = [
  { command: 'strata.container.exec', when: `${isAwake} && ${inView('containers')}`, group: 'inline@1' },
  { command: 'strata.container.resume', when: `${isPaused} && ${inView('containers')}`, group: 'inline@1' },
  // Not on the container's row in Cgroups, whose figures need the width.
  { command: 'strata.container.limit', when: isLimitedFigure, group: 'inline@1' },
  { command: 'strata.container.stop', when: `${isRunning} && ${inView('containers')}`, group: 'inline@3' },
  { command: 'strata.container.stop', when: `${isRestarting} && ${inView('containers')}`, group: 'inline@0' },
  { command: 'strata.container.start', when: isStopped, group: 'inline@1' },
  { command: 'strata.container.remove', when: isStopped, group: 'inline@2' },

  { command: 'strata.container.start', when: isStopped, group: '1_run@1' },
  { command: 'strata.container.stop', when: isRunning, group: '1_run@2' },
  { command: 'strata.container.stop', when: isRestarting, group: '1_run@2' },
  { command: 'strata.container.pause', when: isAwake, group: '1_run@5' },
  { command: 'strata.container.resume', when: isPaused, group: '1_run@5' },
  { command: 'strata.container.restart', when: isRestartable, group: '1_run@3' },
  { command: 'strata.container.kill', when: isRunning, group: '1_run@4' },
  { command: 'strata.container.exec', when: isAwake, group: '2_inside@1' },
  { command: 'strata.container.execAs', when: isAwake, group: '2_inside@2' },
  { command: 'strata.container.execCommand', when: isAwake, group: '2_inside@3' },
  { command: 'strata.container.attach', when: isAttachable, group: '2_inside@4' },
  { command: 'strata.container.openLogs', when: isContainer, group: '3_look@1' },
  { command: 'strata.container.logs', when: isContainer, group: '3_look@2' },
  { command: 'strata.layers.show', when: isContainer, group: '3_look@3' },
  { command: 'strata.container.changes', when: isContainer, group: '3_look@4' },
  { command: 'strata.container.processes', when: isRunning, group: '3_look@5' },
  { command: 'strata.container.inspect', when: isContainer, group: '3_look@6' },
  { command: 'strata.container.limit', when: isContainer, group: '4_change@1' },
  { command: 'strata.container.restartPolicy', when: `${isContainer} && !(${isRemovedAtItsEnd})`, group: '4_change@2' },
  { command: 'strata.container.rename', when: isContainer, group: '4_change@3' },
  { command: 'strata.files.browse', when: isContainer, group: '4_files@0' },
  { command: 'strata.files.goTo', when: isContainer, group: '4_files@0' },
  { command: 'strata.container.copyTo', when: isContainer, group: '4_files@1' },
  { command: 'strata.container.copyFrom', when: isContainer, group: '4_files@2' },
  { command: 'strata.container.export', when: isContainer, group: '4_files@3' },
  { command: 'strata.container.commit', when: isContainer, group: '4_files@4' },
  { command: 'strata.container.copyName', when: isContainer, group: '5_copy@1' },
  { command: 'strata.container.copyId', when: isContainer, group: '5_copy@2' },
  { command: 'strata.container.remove', when: isContainer, group: '9_remove' },

  { command: 'strata.container.run', when: isImage, group: 'inline@1' },
  { command: 'strata.container.run', when: isImage, group: '1_run@1' },
  { command: 'strata.image.pull', when: `${isNamedImage} || ${isRepository}`, group: '2_registry@1' },
  { command: 'strata.image.push', when: isImage, group: '2_registry@2' },
  { command: 'strata.image.hub', when: isOfHub, group: '2_registry@3' },
  { command: 'strata.layers.show', when: isImage, group: '3_look@1' },
  { command: 'strata.files.browse', when: isImage, group: '3_look@1' },
  { command: 'strata.image.history', when: isImage, group: '3_look@2' },
  { command: 'strata.image.inspect', when: isImage, group: '3_look@3' },
  { command: 'strata.image.tag', when: isImage, group: '4_change@1' },
  { command: 'strata.image.squash', when: isLayered, group: '4_change@2' },
  { command: 'strata.image.save', when: isImages, group: '4_files@1' },
  { command: 'strata.image.copyName', when: isNamedImage, group: '5_copy@1' },
  { command: 'strata.image.copyId', when: isImage, group: '5_copy@2' },
  { command: 'strata.image.remove', when: isImages, group: '9_remove' },

  { command: 'strata.files.newFile', when: isMergedDirectory, group: '1_new@1' },
  { command: 'strata.files.newFolder', when: isMergedDirectory, group: '1_new@2' },
  { command: 'strata.files.rename', when: isMergedEntry, group: '7_modify@1' },
  { command: 'strata.files.delete', when: isMergedEntry, group: '7_modify@2' },
  { command: 'strata.container.copyTo', when: isMergedDirectory, group: '4_files@1' },
  { command: 'strata.container.copyFrom', when: isMergedEntry, group: '4_files@2' },
  { command: 'strata.files.browseAsOf', when: isImageLayer, group: 'inline@1' },
  { command: 'strata.files.browseAsOf', when: isImageLayer, group: '3_look@1' },
  { command: 'strata.layers.copyHostPath', when: hasHostPath, group: '5_copy' },
];

/** On files and folders of the host, which a remote window calls by another scheme. */
export const explorerMenu: readonly MenuItem[] = [
  { command: 'strata.container.copyTo', when: `resourceScheme =~ /^(file|vscode-remote)$/ && ${mayControl}`, group: '5_cutcopypaste@90' },
];

const inChanges = 'scmProvider == strata';

export const scmTitleMenu: readonly MenuItem[] = [
  { command: 'strata.container.commit', when: inChanges, group: 'navigation@1' },
  { command: 'strata.changes.refresh', when: inChanges, group: 'navigation@2' },
  { command: 'strata.container.commit', when: inChanges, group: '1_commit' },
  { command: 'strata.changes.refresh', when: inChanges, group: '2_changes@1' },
  { command: 'strata.changes.close', when: inChanges, group: '2_changes@2' },
];

export const scmResourceMenu: readonly MenuItem[] = [
  { command: 'strata.changes.openFile', when: `${inChanges} && scmResourceState =~ / file$/`, group: 'inline@1' },
  { command: 'strata.changes.open', when: `${inChanges} && scmResourceState =~ / file$/`, group: '1_open@1' },
  { command: 'strata.changes.openFile', when: `${inChanges} && scmResourceState =~ / file$/`, group: '1_open@2' },
  { command: 'strata.changes.copyPath', when: inChanges, group: '5_copy' },
];

/** Icons above a log. What is chosen has a filled icon where there is one. */
export const editorTitleMenu: readonly MenuItem[] = [
  { command: 'strata.log.follow', when: `${inLog} && !${contextKeys.logFollows}`, group: 'navigation@1' },
  { command: 'strata.log.unfollow', when: `${inLog} && ${contextKeys.logFollows}`, group: 'navigation@1' },
  { command: 'strata.log.filter', when: `${inLog} && !${contextKeys.logFiltered}`, group: 'navigation@2' },
  { command: 'strata.log.changeFilter', when: `${inLog} && ${contextKeys.logFiltered}`, group: 'navigation@2' },
  { command: 'strata.log.sources', when: inLog, group: 'navigation@3' },
  { command: 'strata.log.range', when: inLog, group: 'navigation@4' },
  { command: 'strata.log.times', when: inLog, group: 'navigation@5' },
  { command: 'strata.log.earlier', when: `${inLog} && ${contextKeys.logHasEarlier}`, group: 'navigation@6' },
];
