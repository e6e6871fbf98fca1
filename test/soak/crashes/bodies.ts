import * as fs from 'node:fs';
import * as path from 'node:path';
import type { CreateOptions } from '../../../helper/protocol/index.ts';
import type { Random } from '../random.ts';

/**
 * What the containers of a crash matrix do. Each run leaves a line in a file of the container before anything else, so that
 * whether it ran can be seen without asking anybody.
 */
export type Body = 'sleeper' | 'listener' | 'brief';

/** What one is made to be beside its name. */
export interface Traits {
  readonly body: Body;
  /** It runs below an init, which hands on signals that a first process would not die of. */
  readonly init: boolean;
  readonly healthChecked: boolean;
}

const end: Readonly<Record<Body, string>> = {
  /** Ends by SIGKILL alone, unless there is an init. */
  sleeper: 'exec sleep 1000',
  listener: 'trap "exit 43" TERM; sleep 1000 & wait',
  brief: 'exit 7',
};

/** The status that it ends with by itself, or when it is asked to. */
export const statusOf: Readonly<Record<Body, number | undefined>> = { sleeper: undefined, listener: 43, brief: 7 };

/** Of an init whose command died of SIGTERM, before it could have a trap for it, too. */
export const statusOfTerm = 128 + 15;

export function chooseTraits(random: Random): Traits {
  return {
    body: random.pick<Body>(['sleeper', 'listener', 'brief', 'brief']),
    init: random.below(3) === 0,
    healthChecked: random.below(4) === 0,
  };
}

export function optionsOf({ body, init, healthChecked }: Traits): Pick<CreateOptions, 'command' | 'init' | 'healthcheck'> {
  return {
    command: ['sh', '-c', `echo run >> /runs; echo out; ${end[body]}`],
    ...(init ? { init } : {}),
    ...(healthChecked ? { healthcheck: { test: ['CMD', 'test', '-s', '/runs'], intervalMs: 150 } } : {}),
  };
}

/** Of a container's directory on the host. */
export function countRuns(directory: string): number {
  try {
    return fs.readFileSync(path.join(directory, 'upper/runs'), 'utf8').split('\n').length - 1;
  } catch {
    return 0;
  }
}
