export const contextKeys = {
  /** A HelperStateKind. */
  state: 'strata.state',
  /** The role that the helper gave: "observe" or "control". */
  role: 'strata.role',
  /** Whether "Start Helper" has a command to run: a setting, or a `stratad` that is installed. */
  canStartHelper: 'strata.canStartHelper',
  /** What the Layers view shows: "none", "container", "image", or "past" where layers above are left out. */
  layersOf: 'strata.layersOf',
  /** Of the log in the active editor: whether it stays at its end, shows only some lines, only some time, and is cut off in front. */
  logFollows: 'strata.log.follows',
  logFiltered: 'strata.log.filtered',
  logRanged: 'strata.log.ranged',
  logHasEarlier: 'strata.log.hasEarlier',
} as const;

/** Conditions of `when` clauses that several contributions share. */
export const inLog = 'resourceScheme == strata-log';
export const connected = `${contextKeys.state} == connected`;
export const mayControl = `${connected} && ${contextKeys.role} == control`;
export const mayOnlyLook = `${connected} && ${contextKeys.role} == observe`;
