export interface CommandContribution {
  readonly title: string;
  readonly icon?: `$(${string})`;
  /** What must hold for the command to make sense; "control" is a connected helper that lets this user change things, "log" a log in the active editor. */
  readonly needs: 'nothing' | 'helper' | 'control' | 'log';
  /** "Strata" where it is left out. */
  readonly category?: string;
  /** Left out of the palette: it makes sense on an item only, or is there under another id. */
  readonly hidden?: true;
}

export const commands = {
  'strata.container.run': { title: 'Run Container…', icon: '$(add)', needs: 'control' },
  'strata.container.start': { title: 'Start', icon: '$(play)', needs: 'control' },
  'strata.container.stop': { title: 'Stop', icon: '$(debug-stop)', needs: 'control' },
  'strata.container.restart': { title: 'Restart', icon: '$(debug-restart)', needs: 'control' },
  'strata.container.pause': { title: 'Pause', icon: '$(debug-pause)', needs: 'control' },
  'strata.container.resume': { title: 'Resume', icon: '$(debug-continue)', needs: 'control' },
  'strata.container.restartPolicy': { title: 'Change Restart Policy…', needs: 'control' },
  'strata.container.kill': { title: 'Send Signal…', needs: 'control' },
  'strata.container.remove': { title: 'Remove…', icon: '$(trash)', needs: 'control' },
  'strata.container.removeStopped': { title: 'Remove All Stopped Containers…', icon: '$(clear-all)', needs: 'control' },
  'strata.container.rename': { title: 'Rename…', needs: 'control' },
  'strata.container.exec': { title: 'Open Shell', icon: '$(terminal)', needs: 'control' },
  'strata.container.execAs': { title: 'Open Shell As…', needs: 'control' },
  'strata.container.execCommand': { title: 'Execute Command…', needs: 'control' },
  'strata.container.attach': { title: 'Attach Terminal', needs: 'control' },
  'strata.container.openLogs': { title: 'Open Logs', icon: '$(output)', needs: 'helper' },
  'strata.container.logs': { title: 'Follow Logs in Terminal', needs: 'helper' },
  'strata.container.limit': { title: 'Change Limits…', icon: '$(dashboard)', needs: 'control' },
  'strata.container.inspect': { title: 'Inspect', icon: '$(json)', needs: 'helper' },
  'strata.container.processes': { title: 'Show Processes', needs: 'helper' },
  'strata.container.copyTo': { title: 'Copy to Container…', icon: '$(cloud-upload)', needs: 'control' },
  'strata.container.copyFrom': { title: 'Copy from Container…', icon: '$(desktop-download)', needs: 'control' },
  'strata.container.export': { title: 'Export Filesystem…', icon: '$(save-as)', needs: 'control' },
  'strata.container.changes': { title: 'Show Changes', icon: '$(diff)', needs: 'helper' },
  'strata.container.commit': { title: 'Commit as Image…', icon: '$(package)', needs: 'control' },
  'strata.container.copyId': { title: 'Copy Id', needs: 'helper', hidden: true },
  'strata.container.copyName': { title: 'Copy Name', needs: 'helper', hidden: true },
  'strata.log.follow': { title: 'Follow the End', icon: '$(arrow-circle-down)', needs: 'log', category: 'Strata Log' },
  'strata.log.unfollow': { title: 'Stop Following', icon: '$(debug-pause)', needs: 'log', category: 'Strata Log' },
  'strata.log.filter': { title: 'Filter Lines…', icon: '$(filter)', needs: 'log', category: 'Strata Log' },
  'strata.log.changeFilter': { title: 'Change Filter…', icon: '$(filter-filled)', needs: 'log', category: 'Strata Log', hidden: true },
  'strata.log.sources': { title: 'Choose Streams…', icon: '$(list-selection)', needs: 'log', category: 'Strata Log' },
  'strata.log.range': { title: 'Time Range…', icon: '$(history)', needs: 'log', category: 'Strata Log' },
  'strata.log.times': { title: 'Show or Hide Times', icon: '$(watch)', needs: 'log', category: 'Strata Log' },
  'strata.log.earlier': { title: 'Load Earlier Lines', icon: '$(arrow-circle-up)', needs: 'log', category: 'Strata Log' },
  'strata.log.menu': { title: 'Choose What to Show…', needs: 'log', category: 'Strata Log' },
  'strata.image.pull': { title: 'Pull Image…', icon: '$(cloud-download)', needs: 'control' },
  'strata.image.import': { title: 'Import Image…', icon: '$(folder-opened)', needs: 'control' },
  'strata.image.push': { title: 'Push Image…', icon: '$(cloud-upload)', needs: 'control' },
  'strata.image.tag': { title: 'Tag Image…', icon: '$(tag)', needs: 'control' },
  'strata.image.squash': { title: 'Squash Image…', icon: '$(fold)', needs: 'control' },
  'strata.image.save': { title: 'Save Image to File…', icon: '$(save-as)', needs: 'control' },
  'strata.image.load': { title: 'Load Images from File…', icon: '$(file-zip)', needs: 'control' },
  'strata.image.bootstrap': { title: 'New Debian Image…', needs: 'control' },
  'strata.image.remove': { title: 'Remove Image…', icon: '$(trash)', needs: 'control' },
  'strata.image.prune': { title: 'Prune Images…', icon: '$(clear-all)', needs: 'control' },
  'strata.image.history': { title: 'Show Image History', needs: 'helper' },
  'strata.image.usage': { title: 'Show Disk Usage', icon: '$(database)', needs: 'helper' },
  'strata.image.hub': { title: 'Open on Docker Hub', icon: '$(link-external)', needs: 'helper' },
  'strata.image.inspect': { title: 'Inspect Image', icon: '$(json)', needs: 'helper' },
  'strata.image.copyId': { title: 'Copy Image Id', needs: 'helper', hidden: true },
  'strata.image.copyName': { title: 'Copy Image Name', needs: 'helper', hidden: true },
  'strata.registry.logIn': { title: 'Log In to Registry…', needs: 'control' },
  'strata.registry.logOut': { title: 'Log Out of Registry…', needs: 'control' },
  'strata.files.browse': { title: 'Browse Files', icon: '$(files)', needs: 'helper' },
  'strata.files.browseAsOf': { title: 'Browse as of This Layer', icon: '$(history)', needs: 'helper', hidden: true },
  'strata.files.goTo': { title: 'Go to File in Container…', icon: '$(go-to-file)', needs: 'control' },
  'strata.files.newFile': { title: 'New File…', icon: '$(new-file)', needs: 'control', hidden: true },
  'strata.files.newFolder': { title: 'New Folder…', icon: '$(new-folder)', needs: 'control', hidden: true },
  'strata.files.rename': { title: 'Rename File…', needs: 'control', hidden: true },
  'strata.files.delete': { title: 'Delete…', needs: 'control', hidden: true },
  'strata.layers.show': { title: 'Show Layers', icon: '$(layers)', needs: 'helper' },
  'strata.layers.refresh': { title: 'Refresh Layers', icon: '$(refresh)', needs: 'helper' },
  'strata.layers.copyHostPath': { title: 'Copy Path on Host', needs: 'helper', hidden: true },
  'strata.refresh': { title: 'Refresh', icon: '$(refresh)', needs: 'nothing' },
  'strata.host.info': { title: 'Show Host Information', icon: '$(info)', needs: 'helper' },
  'strata.helper.start': { title: 'Start Helper', icon: '$(play)', needs: 'nothing' },
  'strata.helper.showLog': { title: 'Show Log', needs: 'nothing' },
} as const satisfies Record<`strata.${string}`, CommandContribution>;
export type CommandId = keyof typeof commands;

export const commandEntries = Object.entries(commands) as readonly (readonly [CommandId, CommandContribution])[]; // Object.entries loses the keys
