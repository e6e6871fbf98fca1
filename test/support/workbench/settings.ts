/** Quiet, deterministic and readable by a driver that looks at the DOM. */
const quiet = {
  'workbench.startupEditor': 'none',
  'workbench.tips.enabled': false,
  'workbench.welcomePage.walkthroughs.openOnInstall': false,
  'workbench.enableExperiments': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.reduceMotion': 'on',
  'workbench.list.smoothScrolling': false,
  'workbench.editor.useModal': 'off', // trust, settings and extension editors as ordinary tabs
  'security.workspace.trust.enabled': false,
  'telemetry.telemetryLevel': 'off',
  'update.showReleaseNotes': false,
  'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false,
  'extensions.ignoreRecommendations': true,
  'chat.disableAIFeatures': true,
  'git.enabled': false,
  'git.openRepositoryInParentFolders': 'never',
  'terminal.integrated.gpuAcceleration': 'off', // the DOM renderer: the terminal's text is in .xterm-rows
  'terminal.integrated.shellIntegration.enabled': false,
  'terminal.integrated.suggest.enabled': false,
  'remote.autoForwardPorts': false,
};

export type Theme = 'dark' | 'light';
const themeNames: Record<Theme, string> = { dark: 'Default Dark Modern', light: 'Default Light Modern' };

export function testSettings(theme: Theme, more: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return { ...quiet, 'workbench.colorTheme': themeNames[theme], ...more };
}
