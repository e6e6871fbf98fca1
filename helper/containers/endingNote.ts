import * as z from 'zod';
import { signalName } from '../protocol/index.ts';

/**
 * Why a container was sent a signal: goes to its supervisor with the signal, and comes back in the record of its exit, maybe to
 * a later helper. `giveUp`: of a start that nobody waits for any more.
 */
const endingNoteSchema = z.looseObject({
  by: z.enum(['stop', 'restart', 'kill', 'remove', 'giveUp']),
  /** Name or number of who asked; absent: nobody in particular. */
  user: z.string().max(64).optional(),
  /** Of SIGKILL after a grace time: how long that was, and the signal that it began with. */
  graceMs: z.number().optional(),
  asked: z.int().optional(),
});
export type EndingNote = z.infer<typeof endingNoteSchema>;

export function encodeNote(note: EndingNote): string {
  return JSON.stringify(note);
}

/** Of a stop: it ends with SIGKILL where the grace time does not do. */
export type StopNote = EndingNote & { readonly asked: number; readonly graceMs: number };

/** Undefined where it is none of ours, or of a helper that is newer. */
export function decodeNote(text: string): EndingNote | undefined {
  try {
    return endingNoteSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

const deeds: Readonly<Record<EndingNote['by'], string>> = {
  stop: 'stopped',
  restart: 'restarted',
  kill: 'sent',
  remove: 'removed by force',
  giveUp: 'its start was given up',
};

/** "stopped by alice, and did not end within 10 s of SIGTERM". */
export function noteWords({ by, user, graceMs, asked }: EndingNote): string {
  const deed = user === undefined ? deeds[by] : `${deeds[by]} by ${user}`;
  if (graceMs === undefined || asked === undefined) return deed;
  if (graceMs === 0) return `${deed}, with no time to end`;
  return `${deed}, and did not end within ${graceMs / 1000} s of ${signalName(asked)}`;
}
