import * as fs from 'node:fs';

/**
 * What the containers of a crash matrix do. Each run leaves a line in a file of the container before anything else, so that
 * whether it ran can be seen without asking anybody.
 */
export type Body = 'sleeper' | 'listener' | 'brief';

const end: Readonly<Record<Body, string>> = {
  /** Ends by SIGKILL alone. */
  sleeper: 'exec sleep 1000',
  listener: 'trap "exit 43" TERM; sleep 1000 & wait',
  brief: 'exit 7',
};

/** The status that it ends with by itself, or when it is asked to. */
export const statusOf: Readonly<Record<Body, number | undefined>> = { sleeper: undefined, listener: 43, brief: 7 };

export function commandOf(body: Body): string[] {
  return ['sh', '-c', `echo run >> /runs; echo out; ${end[body]}`];
}

/** Of a container's own layer on the host. */
export function countRuns(upper: string): number {
  try {
    return fs.readFileSync(`${upper}/runs`, 'utf8').split('\n').length - 1;
  } catch {
    return 0;
  }
}
