import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach } from 'vitest';
import { EventHistory, type HistoryBounds } from '../../../../helper/events/history.ts';
import { EventHub } from '../../../../helper/events/hub.ts';
import type { EventRecord } from '../../../../helper/protocol/index.ts';

export const epochOf = (digit: string): string => digit.repeat(16);
export const log = pino({ level: 'silent' });

export function record(seq: number, values: Partial<EventRecord> = {}): EventRecord {
  return {
    seq,
    epoch: epochOf('a'),
    time: '2026-01-01T00:00:00.000Z',
    type: 'container',
    action: 'start',
    actor: { id: '1'.repeat(32), name: 'web', image: 'busybox', attributes: {} },
    ...values,
  };
}

/** A directory that is gone after the test. */
export function useDirectory(): { readonly path: string } {
  let path = '';
  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'strata-events-'));
  });
  afterEach(() => rmSync(path, { recursive: true, force: true }));
  return {
    get path() {
      return path;
    },
  };
}

/** What a helper makes at its start, but for the domain. */
export async function startEvents(
  directory: string,
  { epoch, most, bounds }: { epoch: string; most?: number; bounds?: Partial<HistoryBounds> },
): Promise<{ hub: EventHub; history: EventHistory }> {
  const history = await EventHistory.open({ directory, log, ...(bounds === undefined ? {} : { bounds }) });
  const hub = new EventHub({ epoch, seq: history.lastSeq, ...(most === undefined ? {} : { most }) });
  hub.onRecord((told) => history.append(told));
  return { hub, history };
}

export async function readAll(history: EventHistory): Promise<EventRecord[]> {
  const all: EventRecord[] = [];
  for await (const records of history.read()) all.push(...records);
  return all;
}

/** When everything that was told has come to the disk, or could not. */
export async function settled({ hub, history }: { hub: EventHub; history: EventHistory }): Promise<void> {
  if (history.settledSeq === hub.seq) return;
  await new Promise<void>((resolve) => {
    const off = history.onSettled(() => {
      if (history.settledSeq < hub.seq) return;
      off();
      resolve();
    });
  });
}
