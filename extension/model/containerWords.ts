import { type ContainerSummary, type Exit, type Health, shellStatus } from '../../helper/protocol/index.ts';

/** How a container's row looks and reads. `oom` and `failed` are exits that call for attention; `restarting` has ended and is about to be started again. */
export type Appearance =
  | 'created'
  | 'running'
  | 'healthStarting'
  | 'healthy'
  | 'unhealthy'
  | 'paused'
  | 'restarting'
  | 'ended'
  | 'failed'
  | 'oom'
  | 'unknown';

export function appearanceOf(container: ContainerSummary): Appearance {
  switch (container.state.kind) {
    case 'created':
      return 'created';
    case 'running':
      return container.state.paused === true ? 'paused' : runningAppearance(container.health?.status);
    case 'exited': {
      const { exit, restartsAt } = container.state;
      if (restartsAt !== undefined) return 'restarting';
      if (exit.oomKilled) return 'oom';
      if (exit.code === null && exit.signal === null) return 'unknown';
      return exit.code === 0 ? 'ended' : 'failed';
    }
    default:
      return container.state satisfies never;
  }
}

function runningAppearance(health: Health['status'] | undefined): Appearance {
  return health === 'starting' ? 'healthStarting' : (health ?? 'running');
}

/** "running", "running · unhealthy", "paused", "restarting · exited (1)", "exited (0)", "killed (SIGKILL)", "out of memory", "ended, nobody saw how" */
export function stateWords(container: ContainerSummary): string {
  const { state } = container;
  if (state.kind === 'running' && state.paused === true) return 'paused';
  if (state.kind === 'running' && container.health !== undefined) return `running · ${healthWord(container.health.status)}`;
  if (state.kind !== 'exited') return state.kind;
  return state.restartsAt === undefined ? exitWords(state.exit) : `restarting · ${exitWords(state.exit)}`;
}

function healthWord(status: Health['status']): string {
  return status === 'starting' ? 'health starting' : status;
}

/** "unhealthy: its last checks failed"; undefined where nothing is checked. */
export function healthSentence({ state, health }: ContainerSummary): string | undefined {
  if (state.kind !== 'running' || health === undefined) return undefined;
  return healthSentences[health.status];
}

/** What stands at the end of a row, of two characters at most, and what it says. */
export interface Badge {
  readonly text: string;
  readonly words: string;
  readonly isBad: boolean;
}

/** Of its health where that is checked, else of its restarts; undefined where there is nothing to tell. */
export function badgeOf(container: ContainerSummary): Badge | undefined {
  const { state, health, restartCount } = container;
  if (state.kind === 'running' && health !== undefined) {
    const text = { starting: '…', healthy: '✓', unhealthy: '!' }[health.status];
    return { text, words: `health: ${healthSentences[health.status]}`, isBad: health.status === 'unhealthy' };
  }
  if (restartCount === 0) return undefined;
  const words = restartCount === 1 ? 'restarted once' : `restarted ${restartCount} times`;
  return { text: `↻${restartCount > 9 ? '+' : restartCount}`, words, isBad: state.kind === 'exited' };
}

/** "job is unhealthy", "web is restarting": what a person should look at. */
export function troubleOf(container: ContainerSummary): string | undefined {
  const appearance = appearanceOf(container);
  return appearance === 'unhealthy' || appearance === 'restarting' ? `${container.name} is ${appearance}` : undefined;
}

const healthSentences = { starting: 'not known yet', healthy: 'healthy', unhealthy: 'unhealthy: its last checks failed' } as const;

function exitWords(exit: Exit): string {
  if (exit.oomKilled) return 'out of memory';
  if (exit.signal !== null) return `killed (${exit.signal})`;
  return exit.code === null ? 'ended, status unknown' : `exited (${exit.code})`;
}

/** One sentence for a terminal's last line; the helper's reason where it says more than the number. */
export function exitSentence(exit: Exit): string {
  const reason = exit.reason === '' ? `status ${shellStatus(exit)}` : exit.reason;
  return exit.code === 0 ? 'exited with status 0' : reason;
}

/** "0123456789ab", as Docker shortens. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
