import { randomBytes } from 'node:crypto';
import { type HealthResult, SIGNALS, StrataError } from '../protocol/index.ts';
import type { Slots } from '../slots.ts';
import type { Container } from './container.ts';
import { execProcess, healthSessionPrefix } from './execs.ts';
import type { HealthPlan } from './healthPlan.ts';
import { requireUnpaused } from './pauses.ts';
import type { SupervisorClient, SupervisorEvent } from './supervisorClient.ts';
import { closeOnAbort, connectTo } from './supervisorConnection.ts';
import { supervisorAnswerMs, within } from './waiting.ts';

/** As Docker keeps of each check. */
const maxOutputBytes = 4096;

/** That a check could not be begun for these is no fault of the container. */
const saysNothing: ReadonlySet<string> = new Set(['CONTAINER_PAUSED', 'CONTAINER_NOT_RUNNING', 'TOO_MANY_REQUESTS', 'CANCELLED']);

type Ended = Extract<SupervisorEvent, { event: 'execExited' }>;

interface Started {
  readonly client: SupervisorClient;
  readonly session: number;
  readonly ended: Promise<Ended>;
  readonly output: () => string;
}

export interface Checked {
  /** Undefined: it says nothing of the container, which is ending. */
  readonly result: HealthResult | undefined;
  /** Resolves when nothing of the check runs any more. */
  readonly gone: Promise<void>;
}

/**
 * One check: an exec session of its own, unlisted, whose output goes nowhere else. `slots` bounds how many are begun at once,
 * which is what costs; those that wait for their command hold none, so that a slow one keeps no other.
 */
export async function runCheck(
  container: Container,
  plan: HealthPlan,
  { slots, signal }: { readonly slots: Slots; readonly signal: AbortSignal },
): Promise<Checked> {
  const startedAt = new Date().toISOString();
  const resultOf = (exitCode: number | null, output: string): HealthResult => ({
    startedAt,
    finishedAt: new Date().toISOString(),
    exitCode,
    output,
  });
  let starting: Promise<Started> | undefined;
  let started: Started | undefined;
  try {
    started = await slots.run(() => {
      starting = container.whileExecStarts(() => start(container, plan, signal));
      return within(starting, supervisorAnswerMs);
    });
  } catch (error) {
    const isEnding = signal.aborted || container.state.kind !== 'running' || container.client === undefined;
    const says = error instanceof StrataError && !isEnding && !saysNothing.has(error.code);
    return { result: says ? resultOf(null, error.message) : undefined, gone: Promise.resolve() };
  }
  if (started === undefined) {
    const gone = starting?.then(end, () => {}) ?? Promise.resolve();
    return { result: resultOf(null, `it could not be begun within ${supervisorAnswerMs / 1000} s`), gone };
  }
  const { client, ended, output } = started;
  const exit = await inTime(container, Promise.race([ended, client.closed]), plan.timeoutMs);
  if (exit === 'late') {
    return { result: resultOf(null, `killed: it took longer than ${plan.timeoutMs / 1000} s\n${output()}`), gone: end(started) };
  }
  const says = exit !== undefined && (exit.signal !== SIGNALS.SIGKILL || (await goesOn(client)));
  client.close();
  return { result: says ? resultOf(exit.code ?? 128 + (exit.signal ?? 0), output()) : undefined, gone: Promise.resolve() };
}

/** With all that it began, as far as that stayed in its process group. */
async function end({ client, session, ended }: Started): Promise<void> {
  const kill = { session, signal: SIGNALS.SIGKILL, group: true };
  client.request('signalExec', kill, { doing: 'end a health check' }).catch(() => {}); // it has just ended
  await Promise.race([ended, client.closed]);
  client.close();
}

async function start(container: Container, plan: HealthPlan, signal: AbortSignal): Promise<Started> {
  requireUnpaused(container);
  const client = await connectTo(container, signal);
  closeOnAbort(client, signal);
  const output = new BoundedOutput();
  const ended = Promise.withResolvers<Ended>();
  let mine: number | undefined;
  client.onEvent((event) => {
    if (event.event === 'execExited' && event.session === mine) ended.resolve(event);
  });
  try {
    const { session } = await client.request(
      'exec',
      {
        id: `${healthSessionPrefix}${randomBytes(8).toString('hex')}`,
        process: execProcess(container, { container: container.id, command: [...plan.command] }),
        attachStdin: false,
      },
      {
        doing: `check the health of container "${container.record.name}"`,
        onResult: (result) => {
          mine = result.session;
          client.openSession(mine, { output: (_channel, bytes) => output.take(bytes), ended: () => {} });
        },
      },
    );
    return { client, session, ended: ended.promise, output: () => output.text() };
  } catch (error) {
    client.close();
    throw error;
  }
}

/** The time of a container that stands still does not count. */
async function inTime<T>(container: Container, value: Promise<T>, timeoutMs: number): Promise<T | 'late'> {
  const settled = value.then((result) => ({ result }));
  for (;;) {
    const found = await within(settled, timeoutMs);
    if (found !== undefined) return found.result;
    if (container.state.kind !== 'running' || container.state.paused !== true) return 'late';
  }
}

/** With a container its execs are killed; its supervisor answers nothing more. */
async function goesOn(client: SupervisorClient): Promise<boolean> {
  return await client.request('sessions', {}, { doing: 'look whether the container goes on' }).then(
    () => true,
    () => false,
  );
}

/** The beginning of what was written; the rest is read and forgotten. */
class BoundedOutput {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #isCut = false;

  take(bytes: Uint8Array): Promise<void> {
    const kept = bytes.subarray(0, maxOutputBytes - this.#bytes);
    this.#isCut ||= kept.byteLength < bytes.byteLength;
    this.#bytes += kept.byteLength;
    if (kept.byteLength > 0) this.#chunks.push(kept);
    return Promise.resolve();
  }

  text(): string {
    return `${Buffer.concat(this.#chunks).toString('utf8')}${this.#isCut ? '…' : ''}`;
  }
}
