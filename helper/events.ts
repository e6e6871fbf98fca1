import type { EventName, EventParams } from './protocol/index.ts';

/** Events that belong to the one ordered stream: those that carry `seq`. */
export type HubEventName = { [E in EventName]: EventParams<E> extends { seq: number } ? E : never }[EventName];
export type HubEventBody<E extends HubEventName> = Omit<EventParams<E>, 'seq'>;
export type HubListener = <E extends HubEventName>(event: E, params: EventParams<E>) => void;

/**
 * The one source of events. A snapshot taken in the same tick as `seq` was read, and then the events with a greater
 * `seq`, are the whole truth: publishing is synchronous, so no change can slip between.
 */
export class EventHub {
  readonly #listeners = new Set<HubListener>();
  #seq = 0;

  get seq(): number {
    return this.#seq;
  }

  publish<E extends HubEventName>(event: E, body: HubEventBody<E>): void {
    this.#seq += 1;
    // An Omit of a generic's member and that member do not add up to the generic for the compiler.
    const params = { ...body, seq: this.#seq } as unknown as EventParams<E>;
    for (const listener of this.#listeners) listener(event, params);
  }

  subscribe(listener: HubListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
