import { type EventParams, StrataError } from '../protocol/index.ts';
import type { Connection } from '../wire/connection.ts';

/** Events that may come before somebody knows the id to wait for are kept from the beginning. */
export class Exits {
  readonly #containers = new Map<string, EventParams<'container.exited'>['exit']>();
  readonly #execs = new Map<string, EventParams<'exec.exited'>>();
  readonly #connection: Connection;
  #changed = Promise.withResolvers<void>();

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.onEvent((event, params) => {
      // The event's name tells which parameters these are; the generic of the listener does not narrow.
      if (event === 'container.exited')
        this.#note(this.#containers, (params as EventParams<'container.exited'>).id, (params as EventParams<'container.exited'>).exit);
      if (event === 'exec.exited')
        this.#note(this.#execs, (params as EventParams<'exec.exited'>).exec, params as EventParams<'exec.exited'>);
    });
  }

  async ofContainer(id: string): Promise<EventParams<'container.exited'>['exit']> {
    return await this.#wait(this.#containers, id);
  }

  async ofExec(id: string): Promise<EventParams<'exec.exited'>> {
    return await this.#wait(this.#execs, id);
  }

  #note<T>(map: Map<string, T>, id: string, value: T): void {
    map.set(id, value);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #wait<T>(map: ReadonlyMap<string, T>, id: string): Promise<T> {
    const gone = this.#connection.closed.then(() => {
      throw new StrataError('CONNECTION_CLOSED', 'the helper has gone; the container goes on');
    });
    for (;;) {
      const value = map.get(id);
      if (value !== undefined) return value;
      await Promise.race([this.#changed.promise, gone]);
    }
  }
}
