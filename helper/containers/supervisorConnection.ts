import { setTimeout as sleep } from 'node:timers/promises';
import { fromNative, hasCode } from '../native/errors.ts';
import { StrataError } from '../protocol/index.ts';
import type { Container } from './container.ts';
import { answered, silent } from './launcher.ts';
import { SupervisorClient } from './supervisorClient.ts';
import { supervisorAnswerMs } from './waiting.ts';

/** While the queue of a supervisor's socket is full. */
const connectAgainMs = 10;

/**
 * One more connection to the supervisor of a container, greeted. `signal`: who asks has given up, and gets none.
 *
 * The greeting goes first and alone: a supervisor that is stopped would take what comes with it for an order when it goes on.
 */
export async function connectTo(container: Container, signal: AbortSignal): Promise<SupervisorClient> {
  const client = await connect(container, signal);
  const keep = closeOnAbort(client, signal);
  try {
    await answered(container, client.hello());
    if (signal.aborted) throw givenUp();
    return client;
  } catch (error) {
    client.close();
    throw error;
  } finally {
    keep();
  }
}

/** Until what it returns is called: closes the connection when nobody waits for what comes on it any more. */
export function closeOnAbort(client: SupervisorClient, signal: AbortSignal): () => void {
  const close = (): void => client.close();
  if (signal.aborted) close();
  signal.addEventListener('abort', close, { once: true });
  const keep = (): void => signal.removeEventListener('abort', close);
  void client.closed.then(keep);
  return keep;
}

function givenUp(): StrataError {
  return new StrataError('CANCELLED', 'the request was given up');
}

async function connect(container: Container, signal: AbortSignal): Promise<SupervisorClient> {
  const { name } = container.record;
  try {
    return await connectSoon(container, signal);
  } catch (cause) {
    if (hasCode(cause, 'ENOENT') || hasCode(cause, 'ECONNREFUSED')) {
      throw new StrataError('CONTAINER_NOT_RUNNING', `container "${name}" is just ending`, { cause });
    }
    if (signal.aborted) throw givenUp();
    throw fromNative(cause, `speak to the supervisor of container "${name}"`);
  }
}

/** EAGAIN: it is there, and the queue of its socket is full, as many who ask at once can make it. */
async function connectSoon(container: Container, signal: AbortSignal): Promise<SupervisorClient> {
  for (const end = performance.now() + supervisorAnswerMs; performance.now() < end; await sleep(connectAgainMs, undefined, { signal })) {
    try {
      return await SupervisorClient.connect(container.paths.socket);
    } catch (error) {
      if (!hasCode(error, 'EAGAIN')) throw error;
    }
  }
  throw silent(container);
}
