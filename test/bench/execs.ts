// exec of `true` in a running container, of the runtimes' command lines and of what else is given.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandContender, type Contender } from './contenders.ts';
import { compareInTurn, printComparison } from './rounds.ts';

export interface RuntimeBundle {
  readonly name: string;
  readonly command: string;
  readonly wrapper: readonly string[];
  readonly bundle: string;
}

/** The wrapper's mount namespace has to be the same for `run` and `exec`: it is entered again through the process that keeps it. */
class RunningContainer {
  readonly id: string;
  readonly enter: readonly string[];
  readonly #keeper: ChildProcess | undefined;
  readonly #command: string;

  private constructor(id: string, command: string, keeper: ChildProcess | undefined) {
    this.id = id;
    this.#command = command;
    this.#keeper = keeper;
    this.enter = keeper?.pid === undefined ? [] : ['nsenter', '-t', String(keeper.pid), '-m'];
  }

  static async start({ name, command, wrapper, bundle }: RuntimeBundle): Promise<RunningContainer> {
    const [program, ...args] = wrapper;
    const keeper =
      program === undefined
        ? undefined
        : spawn(program, [...args, 'sh', '-c', 'echo ready; exec sleep 100000'], { stdio: ['ignore', 'pipe', 'inherit'] });
    if (keeper !== undefined) await new Promise((resolve) => keeper.stdout?.once('data', resolve));
    const container = new RunningContainer(`bench-exec-${name}-${process.pid}`, command, keeper);
    container.#call('run', '--detach', '--bundle', bundle, container.id);
    await sleep(100);
    return container;
  }

  stop(): void {
    this.#call('delete', '--force', this.id);
    this.#keeper?.kill('SIGKILL');
  }

  #call(...args: string[]): void {
    const [program = '', ...rest] = [...this.enter, this.#command, ...args];
    execFileSync(program, rest, { stdio: 'ignore' });
  }
}

export async function compareOciExecs(
  bundles: readonly RuntimeBundle[],
  timer: string,
  others: readonly Contender[],
  rounds: number,
): Promise<void> {
  const containers: RunningContainer[] = [];
  try {
    const contenders = [...others];
    for (const bundle of bundles) {
      const container = await RunningContainer.start(bundle);
      containers.push(container);
      const exec = [bundle.command, 'exec', container.id, '/bin/true'];
      contenders.push(new CommandContender(`${bundle.name} exec`, timer, exec, { wrapper: container.enter }));
    }
    const times = await compareInTurn(contenders, rounds, 15);
    printComparison(`exec of \`true\` in a running container, ${rounds} rounds, milliseconds`, contenders, times, ['nsenter', 'crun exec']);
    for (const contender of contenders) contender.close();
  } finally {
    for (const container of containers) container.stop();
  }
}
