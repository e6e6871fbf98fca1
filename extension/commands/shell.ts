import * as vscode from 'vscode';
import type { ContainerSummary } from '../../helper/protocol/index.ts';
import { joinCommand, splitCommand } from '../model/commandLine.ts';
import type { ShellMemory } from '../model/shellMemory.ts';
import { parseShellProbe, SHELL_PROBE, type ShellChoice, type ShellProbe, shellChoiceWords } from '../model/shellProbe.ts';
import type { Services } from '../services.ts';
import { readSettings } from '../settings.ts';
import { captured } from '../terminals/captured.ts';
import { openTerminal } from '../terminals/open.ts';
import { attachPlan, execPlan } from '../terminals/sessions.ts';
import type { CommandHandlers } from './registry.ts';
import { runSteps, type Step } from './steps.ts';
import { isAwake, isRunning, type Targets } from './targets.ts';

type ShellCommands = Pick<
  CommandHandlers,
  'strata.container.exec' | 'strata.container.execAs' | 'strata.container.execCommand' | 'strata.container.attach'
>;

/** bash where there is one: the choice is made in the container, in the one round trip that starts it. */
const ANY_SHELL = ['/bin/sh', '-c', '[ -x /bin/bash ] && exec /bin/bash; exec /bin/sh'];

const PROBE_LIMITS = { timeoutMs: 5000, maxBytes: 64 * 1024 } as const;
const NOTHING: ShellProbe = { shells: [], users: [] };

export function shellCommands(services: Services, targets: Targets, memory: ShellMemory): ShellCommands {
  const { client } = services;
  return {
    'strata.container.exec': async (args) => {
      const container = await targets.container(args, 'Open shell', isAwake);
      if (container === undefined) return;
      const { shell } = readSettings();
      const command = shell === '' ? ANY_SHELL : splitCommand(shell);
      openTerminal(`${container.name}: shell`, 'terminal', execPlan(client, { container: container.id, command, isShell: true }));
    },
    'strata.container.execAs': async (args) => {
      const container = await targets.container(args, 'Open shell as', isAwake);
      if (container === undefined) return;
      const choice = await askForShell(services, container, memory.last(container.image));
      if (choice === undefined) return;
      memory.remember(container.image, choice);
      const { shell, ...as } = choice;
      const command = splitCommand(shell);
      const plan = execPlan(client, { container: container.id, command, isShell: true, ...as });
      openTerminal(`${container.name}: ${shellChoiceWords({ ...choice, shell: shell.replace(/^\S*\//, '') })}`, 'terminal', plan);
    },
    'strata.container.execCommand': async (args) => {
      const container = await targets.container(args, 'Execute command', isAwake);
      if (container === undefined) return;
      const line = await vscode.window.showInputBox({
        title: `Execute in ${container.name}`,
        prompt: 'Command and arguments; quotes as in a shell.',
        placeHolder: 'ps -ef',
        validateInput: commandProblem,
      });
      if (line === undefined) return;
      const command = splitCommand(line);
      openTerminal(
        `${container.name}: ${joinCommand(command).slice(0, 40)}`,
        'terminal',
        execPlan(client, { container: container.id, command, isShell: false }),
      );
    },
    'strata.container.attach': async (args) => {
      const container = await targets.container(args, 'Attach', isRunning);
      if (container !== undefined) openTerminal(container.name, 'terminal', attachPlan(client, container.id));
    },
  };
}

interface ShellState extends ShellChoice {
  /** The last choice, taken as it was. */
  readonly isAgain: boolean;
}

/** Which shell, as whom, and where; undefined when the user left. */
async function askForShell(
  { client, log }: Services,
  container: ContainerSummary,
  last: ShellChoice | undefined,
): Promise<ShellChoice | undefined> {
  // The boxes stand at once and fill when the container has answered; one without a shell of its own can still be told what to run.
  const probe = captured(client, { container: container.id, command: SHELL_PROBE }, PROBE_LIMITS).then(
    parseShellProbe,
    (error: unknown) => {
      log.warn(`look for shells in ${container.name}: ${String(error)}`);
      return NOTHING;
    },
  );
  const own = client.request('container.inspect', { container: container.id }).then(({ process }) => process);
  // Asked for ahead: a failure is told by the step that needs it.
  own.catch(() => {});
  const answer = await runSteps<ShellState>(
    `Open Shell in ${container.name}`,
    [shellStep(probe, last), userStep(probe, own), directoryStep(probe, own)],
    { shell: '', isAgain: false },
  );
  if (answer === undefined) return undefined;
  const { isAgain: _, ...choice } = answer;
  return choice;
}

function shellStep(probe: Promise<ShellProbe>, last: ShellChoice | undefined): Step<ShellState> {
  return {
    kind: 'pick',
    placeholder: 'Which shell? Or write a command',
    items: async () => {
      const { shells } = await probe;
      const again =
        last === undefined
          ? []
          : [{ label: `$(history) ${shellChoiceWords(last)}`, description: 'as last time', next: { ...last, isAgain: true } }];
      const items = shells.map((shell) => ({ label: `$(terminal) ${shell}`, next: { shell, isAgain: false } }));
      if (items.length > 0) return [...again, ...items];
      const guess = {
        label: '$(terminal) /bin/sh',
        description: 'no shell was found here: it may not be there',
        next: { shell: '/bin/sh', isAgain: false },
      };
      return [...again, guess];
    },
    typed: (text) =>
      commandProblem(text) === undefined
        ? { label: `$(terminal) ${text}`, description: 'as written', next: { shell: text, isAgain: false } }
        : undefined,
  };
}

type OwnProcess = Promise<{ readonly user: string; readonly cwd: string }>;

function userStep(probe: Promise<ShellProbe>, own: OwnProcess): Step<ShellState> {
  return {
    kind: 'pick',
    placeholder: 'As which user? Or write a name or a number, like 1000 or 1000:1000',
    skip: ({ isAgain }) => isAgain,
    items: async (state) => {
      const [{ users }, { user }] = await Promise.all([probe, own]);
      // "uid:gid", as the helper has found them out.
      const ownUser = users.find(({ uid }) => String(uid) === user.split(':')[0]);
      return [
        { label: `$(account) ${ownUser?.name ?? user}`, description: "the container's own", next: state },
        ...users
          .filter((other) => other !== ownUser)
          .map(({ name, uid, home }) => ({
            label: `$(account) ${name}`,
            description: `${uid}${home === '' ? '' : ` · ${home}`}`,
            next: { ...state, user: name },
          })),
      ];
    },
    typed: (text, state) =>
      /^[^\s:]+(:[^\s:]+)?$/.test(text)
        ? { label: `$(account) ${text}`, description: 'as written', next: { ...state, user: text } }
        : undefined,
  };
}

function directoryStep(probe: Promise<ShellProbe>, own: OwnProcess): Step<ShellState> {
  return {
    kind: 'pick',
    placeholder: 'In which directory? Or write a path',
    skip: ({ isAgain }) => isAgain,
    items: async (state) => {
      const [{ users }, { cwd }] = await Promise.all([probe, own]);
      const home = users.find(({ name }) => name === state.user)?.home ?? '';
      const others = [...new Set([home, '/', '/tmp'])].filter((path) => path.startsWith('/') && path !== cwd);
      return [
        { label: `$(folder) ${cwd}`, description: "the container's own", next: state },
        ...others.map((path) => ({
          label: `$(folder) ${path}`,
          description: path === home ? `home of ${state.user ?? ''}` : '',
          next: { ...state, workingDirectory: path },
        })),
      ];
    },
    typed: (text, state) =>
      text.startsWith('/')
        ? { label: `$(folder) ${text}`, description: 'as written', next: { ...state, workingDirectory: text } }
        : undefined,
  };
}

function commandProblem(line: string): string | undefined {
  try {
    return splitCommand(line).length === 0 ? 'Write a command.' : undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
