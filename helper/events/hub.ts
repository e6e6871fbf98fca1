import type { ContainerSummary, EventName, EventParams, EventPosition, EventRecord, Exit } from '../protocol/index.ts';
import { type Attributes, containerSubject, exitAttributes, imageSubject, type Subject } from './subjects.ts';

/** Messages that tell how the state changed: those that carry `seq`. */
export type HubEventName = { [E in EventName]: EventParams<E> extends { seq: number } ? E : never }[EventName];
export type HubEventBody<E extends HubEventName> = Omit<EventParams<E>, 'seq'>;
export type HubListener = <E extends HubEventName>(event: E, params: EventParams<E>) => void;
export type HubMessage = { [E in HubEventName]: { readonly event: E; readonly params: EventParams<E> } }[HubEventName];

/** What a message is called in the stream; what is absent the message tells by itself. */
export interface Happening {
  readonly action?: string;
  readonly subject?: Subject;
  readonly attributes?: Attributes;
}

export interface HeldEvent {
  readonly record: EventRecord;
  /** Absent: it changed no state that clients show. */
  readonly message: HubMessage | undefined;
}

/** So many stay in memory for who reconnects. */
export const heldEvents = 2048;

/**
 * The one source of events. Each has the next number and is told as a record, and where it changed state as a message, too.
 *
 * Invariants: publishing is synchronous, so a snapshot taken in the same tick as `seq` was read, and then the messages with a
 * greater `seq`, are the whole truth; the events that are held have no gap between them, and the last is number `seq`.
 */
export class EventHub {
  readonly epoch: string;
  readonly #most: number;
  readonly #listeners = new Set<HubListener>();
  readonly #recorders = new Set<(record: EventRecord) => void>();
  readonly #held: HeldEvent[] = [];
  #seq: number;

  /** `seq`: of the last event of the helper before. */
  constructor({ epoch, seq, most = heldEvents }: { epoch: string; seq: number; most?: number }) {
    this.epoch = epoch;
    this.#seq = seq;
    this.#most = most;
  }

  get seq(): number {
    return this.#seq;
  }

  get position(): EventPosition {
    return { epoch: this.epoch, seq: this.#seq };
  }

  /** Number of the first event that is held, or would be. */
  get firstHeld(): number {
    return this.#seq - this.#held.length + 1;
  }

  /** Something changed the state; what it was is on disk by now. */
  publish<E extends HubEventName>(event: E, body: HubEventBody<E>, happening: Happening = {}): void {
    // An Omit of a generic's member and that member do not add up to the generic for the compiler, nor do the pairs to the union.
    const params = { ...body, seq: this.#seq + 1 } as unknown as EventParams<E>;
    const message = { event, params } as unknown as HubMessage;
    const told = { ...usual(message), ...happening };
    this.#add(message, told.subject, told.action, told.attributes);
    for (const listener of this.#listeners) listener(event, params);
  }

  /** Something happened that changed no state which clients show. */
  note(subject: Subject, action: string, attributes: Attributes = {}): void {
    this.#add(undefined, subject, action, attributes);
  }

  /** Of an exit that was found: those that this helper saw are published. */
  noteExit(container: ContainerSummary, exit: Exit): void {
    if (exit.oomKilled) this.note(containerSubject(container), 'oom');
    this.note(containerSubject(container), 'die', exitAttributes(exit));
  }

  subscribe(listener: HubListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Called for every event, before anybody else is told. */
  onRecord(recorder: (record: EventRecord) => void): () => void {
    this.#recorders.add(recorder);
    return () => this.#recorders.delete(recorder);
  }

  /** The events after this one, `most` at a time; undefined where they are not all held, or it has not been yet. */
  after(seq: number, most = Number.POSITIVE_INFINITY): readonly HeldEvent[] | undefined {
    const index = seq + 1 - this.firstHeld;
    if (index < 0 || seq > this.#seq) return undefined;
    return this.#held.slice(index, index + most);
  }

  #add(message: HubMessage | undefined, { type, ...actor }: Subject, action: string, attributes: Attributes = {}): void {
    this.#seq += 1;
    const record: EventRecord = {
      seq: this.#seq,
      epoch: this.epoch,
      time: new Date().toISOString(),
      type,
      action,
      actor: { ...actor, attributes },
    };
    this.#held.push({ record, message });
    if (this.#held.length > this.#most) this.#held.shift();
    for (const recorder of this.#recorders) recorder(record);
  }
}

/** What a message says without further words. */
function usual(message: HubMessage): { action: string; subject: Subject; attributes?: Attributes } {
  switch (message.event) {
    case 'container.changed':
      return { action: 'update', subject: containerSubject(message.params.container) };
    case 'container.exited':
      return { action: 'die', subject: containerSubject(message.params.container), attributes: exitAttributes(message.params.exit) };
    case 'container.removed':
      return { action: 'destroy', subject: { type: 'container', id: message.params.id, name: '' } };
    case 'image.changed':
      return { action: 'tag', subject: imageSubject(message.params.image) };
    case 'image.removed':
      return { action: 'delete', subject: { type: 'image', id: message.params.id, name: '' } };
    default:
      return message satisfies never;
  }
}
