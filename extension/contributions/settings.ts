/**
 * No scope that a workspace can write: a repository must not choose which root daemon is spoken to, or what is run on the
 * host or in a container. "machine" is the host's, "application" the person's, in remote windows too.
 */
export const settings = {
  socketPath: {
    key: 'socketPath',
    schema: {
      type: 'string',
      default: '',
      scope: 'machine',
      markdownDescription: 'Unix socket of the Strata helper on the host. Empty: `/run/strata/strata.sock`.',
    },
  },
  startCommand: {
    key: 'helper.startCommand',
    schema: {
      type: 'string',
      default: '',
      scope: 'machine',
      markdownDescription:
        'Command line that starts the helper, run in a terminal by *Strata: Start Helper*. `npm start` sets it. Empty: `sudo stratad` where a `stratad` is on the `PATH`, with the socket of `#strata.socketPath#`.',
    },
  },
  shell: {
    key: 'exec.shell',
    schema: {
      type: 'string',
      default: '',
      scope: 'machine',
      markdownDescription: 'Shell that *Open Shell* runs in a container. Empty: `bash` where the container has it, else `sh`.',
    },
  },
  logTail: {
    key: 'logs.tail',
    schema: {
      type: 'integer',
      default: 1000,
      minimum: 0,
      maximum: 1_000_000,
      scope: 'application',
      markdownDescription: 'How many of the last lines *Follow Logs in Terminal* shows before it follows.',
    },
  },
  logLines: {
    key: 'logs.lines',
    schema: {
      type: 'integer',
      default: 5000,
      minimum: 100,
      maximum: 200_000,
      scope: 'application',
      markdownDescription:
        'How many lines *Open Logs* reads and holds; older ones are dropped as new ones come. *Load Earlier Lines* brings as many more.',
    },
  },
  logTimes: {
    key: 'logs.times',
    schema: {
      type: 'boolean',
      default: true,
      scope: 'application',
      markdownDescription: 'Whether *Open Logs* begins each line with its time.',
    },
  },
  statsInterval: {
    key: 'cgroups.interval',
    schema: {
      type: 'number',
      default: 1,
      minimum: 0.5,
      maximum: 60,
      scope: 'application',
      markdownDescription: 'Seconds between two readings in the Cgroups view. Nothing is read while the view is hidden.',
    },
  },
} as const;
