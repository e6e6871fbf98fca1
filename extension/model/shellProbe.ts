import { readableLine } from './log/logText.ts';

/** What a container says it has for somebody who wants to come in. */
export interface ShellProbe {
  /** Paths of the shells that can be run there. */
  readonly shells: readonly string[];
  readonly users: readonly PasswdUser[];
}

export interface PasswdUser {
  readonly name: string;
  readonly uid: number;
  readonly home: string;
}

/** Most that is offered: a list is for reading, and the container writes it. */
const MAX_USERS = 200;
const MAX_SHELLS = 20;

/** One round trip: which shells there are, and /etc/passwd. Its words are those that parseShellProbe reads. */
export const SHELL_PROBE = [
  '/bin/sh',
  '-c',
  [
    // Looked for by hand: what "command -v" finds may be a part of the shell that is asked.
    'IFS=:',
    'for name in bash zsh fish ash dash ksh sh; do',
    '  for place in $PATH /bin /usr/bin /usr/local/bin; do [ -x "$place/$name" ] && echo "shell $place/$name" && break; done',
    'done',
    'while IFS= read -r line || [ -n "$line" ]; do echo "user $line"; done < /etc/passwd',
  ].join('\n'),
] as const;

/** What the container wrote, which may be anything: lines that are not as they should be are left out. */
export function parseShellProbe(output: string): ShellProbe {
  const shells: string[] = [];
  const users: PasswdUser[] = [];
  for (const line of output.split('\n').map(readableLine)) {
    const shell = /^shell (\/\S+)$/.exec(line)?.[1];
    if (shell !== undefined && shells.length < MAX_SHELLS && !shells.includes(shell)) shells.push(shell);
    // passwd(5): name:password:uid:gid:comment:home:shell
    const [, name, uid, home] = /^user ([^:\s]+):[^:]*:(\d+):\d+:[^:]*:([^:]*):/.exec(line) ?? [];
    if (name !== undefined && uid !== undefined && users.length < MAX_USERS) users.push({ name, uid: Number(uid), home: home ?? '' });
  }
  return { shells, users };
}

/** How a shell was opened; absent: the container's own. */
export interface ShellChoice {
  /** A command line: "/bin/bash", "/bin/bash -l". */
  readonly shell: string;
  readonly user?: string;
  readonly workingDirectory?: string;
}

/** "/bin/bash as www-data in /srv" */
export function shellChoiceWords({ shell, user, workingDirectory }: ShellChoice): string {
  return [shell, user === undefined ? '' : `as ${user}`, workingDirectory === undefined ? '' : `in ${workingDirectory}`]
    .filter((part) => part !== '')
    .join(' ');
}
