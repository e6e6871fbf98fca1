import * as vscode from 'vscode';
import { type ContainerSummary, containerNameSchema, StrataError } from '../../helper/protocol/index.ts';
import { stateWords } from '../model/containerWords.ts';
import type { Services } from '../services.ts';
import { cancellable } from './cancellable.ts';
import type { CommandHandlers } from './registry.ts';
import { changeRestartPolicy } from './restartPolicy.ts';
import { isAwake, isPaused, isRestartable, isRunning, isStoppable, isStopped, type Targets } from './targets.ts';

const SIGNAL_CHOICES: readonly (readonly [string, string])[] = [
  ['SIGTERM', 'ask it to end'],
  ['SIGKILL', 'end it at once; it cannot clean up'],
  ['SIGINT', 'like Ctrl-C'],
  ['SIGHUP', 'many daemons read their configuration again'],
  ['SIGQUIT', 'end, often with a core dump or a stack trace'],
  ['SIGUSR1', "what it means is the program's choice"],
  ['SIGUSR2', "what it means is the program's choice"],
  ['SIGSTOP', 'halt all of it until SIGCONT'],
  ['SIGCONT', 'go on after SIGSTOP'],
];

type LifecycleCommands = Pick<
  CommandHandlers,
  | 'strata.container.start'
  | 'strata.container.stop'
  | 'strata.container.restart'
  | 'strata.container.restartPolicy'
  | 'strata.container.pause'
  | 'strata.container.resume'
  | 'strata.container.kill'
  | 'strata.container.remove'
  | 'strata.container.removeStopped'
  | 'strata.container.rename'
>;

export function lifecycleCommands(services: Services, targets: Targets): LifecycleCommands {
  const { client, store } = services;
  /** One failing does not keep the others from being done; each failure is told by itself. */
  const each = async (
    containers: readonly ContainerSummary[],
    action: string,
    act: (container: ContainerSummary) => Promise<unknown>,
  ): Promise<void> => {
    await Promise.all(containers.map((container) => services.errors.guard(`${action} ${container.name}`, () => act(container))));
  };
  const start = (container: ContainerSummary): Promise<unknown> => client.request('container.start', { container: container.id });
  const stop = (container: ContainerSummary): Promise<unknown> =>
    cancellable(`Stopping ${container.name}…`, (signal) => client.request('container.stop', { container: container.id }, { signal }));
  const restart = async (container: ContainerSummary): Promise<void> => {
    if (container.autoRemove) {
      throw new StrataError('INVALID_REQUEST', `container "${container.name}" is removed when it stops, with all that it wrote`, {
        hint: 'Stop it and run another one.',
      });
    }
    await cancellable(`Restarting ${container.name}…`, (signal) =>
      client.request('container.restart', { container: container.id }, { signal }),
    );
  };
  const pause = (container: ContainerSummary): Promise<unknown> => client.request('container.pause', { container: container.id });
  const resume = (container: ContainerSummary): Promise<unknown> => client.request('container.resume', { container: container.id });
  const remove = (container: ContainerSummary): Promise<unknown> =>
    client.request('container.remove', { container: container.id, force: container.state.kind === 'running' });

  return {
    'strata.container.start': async (args) => each(await targets.containers(args, 'Start', isStopped), 'Start', start),
    'strata.container.stop': async (args) => each(await targets.containers(args, 'Stop', isStoppable), 'Stop', stop),
    'strata.container.pause': async (args) => each(await targets.containers(args, 'Pause', isAwake), 'Pause', pause),
    'strata.container.resume': async (args) => each(await targets.containers(args, 'Resume', isPaused), 'Resume', resume),
    'strata.container.restartPolicy': async (args) => {
      const container = await targets.container(args, 'Change restart policy', (one) => !one.autoRemove);
      if (container !== undefined) await changeRestartPolicy(services, container);
    },
    'strata.container.restart': async (args) =>
      // In a question only those are offered that can be; of a selection each that cannot says so.
      each(await targets.containers(args, 'Restart', args.length === 0 ? isRestartable : isRunning), 'Restart', restart),
    'strata.container.kill': async (args) => {
      const containers = await targets.containers(args, 'Send signal', isRunning);
      if (containers.length === 0) return;
      const signal = await vscode.window.showQuickPick(
        SIGNAL_CHOICES.map(([label, description]) => ({ label, description })),
        { title: `Send a signal to ${names(containers)}`, placeHolder: 'Signal for the main process' },
      );
      if (signal !== undefined)
        await each(containers, `Send ${signal.label} to`, (container) =>
          client.request('container.kill', { container: container.id, signal: signal.label }),
        );
    },
    'strata.container.remove': async (args) => {
      const containers = await targets.containers(args, 'Remove');
      if (await confirmRemoval(containers)) await each(containers, 'Remove', remove);
    },
    'strata.container.removeStopped': async () => {
      const stopped = [...store.state.containers.values()].filter((container) => container.state.kind === 'exited');
      if (stopped.length === 0) void vscode.window.showInformationMessage('There are no stopped containers.');
      else if (await confirmRemoval(stopped)) await each(stopped, 'Remove', remove);
    },
    'strata.container.rename': async (args) => {
      const container = await targets.container(args, 'Rename');
      if (container === undefined) return;
      const name = await vscode.window.showInputBox({
        title: `Rename ${container.name}`,
        value: container.name,
        validateInput: (text) => containerNameSchema.safeParse(text).error?.issues[0]?.message,
      });
      if (name !== undefined && name !== container.name) await client.request('container.rename', { container: container.id, name });
    },
  };
}

function names(containers: readonly ContainerSummary[]): string {
  return containers.length === 1 ? (containers[0]?.name ?? '') : `${containers.length} containers`;
}

/** Names what is lost. Asked for each removal: what a container wrote exists nowhere else. */
async function confirmRemoval(containers: readonly ContainerSummary[]): Promise<boolean> {
  if (containers.length === 0) return false;
  const running = containers.filter(isRunning).length;
  const remove = running > 0 ? 'Stop and Remove' : 'Remove';
  const list =
    containers.length === 1 ? '' : `${containers.map((container) => `${container.name} (${stateWords(container)})`).join('\n')}\n\n`;
  const killed = running === 0 ? '' : ` ${containers.length === 1 ? 'It is' : `${running} of them are`} running and will be killed.`;
  const answer = await vscode.window.showWarningMessage(
    `Remove ${containers.length === 1 ? `container "${names(containers)}"` : names(containers)}?`,
    { modal: true, detail: `${list}Every file written inside (the upper layer) and the log are deleted for good.${killed}` },
    remove,
  );
  return answer === remove;
}
