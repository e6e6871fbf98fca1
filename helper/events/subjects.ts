import { type ContainerSummary, type EventActor, type EventType, type Exit, type ImageSummary, shellStatus } from '../protocol/index.ts';

/** What an event is about, without what belongs to the action. */
export interface Subject extends Omit<EventActor, 'attributes'> {
  readonly type: EventType;
}

export type Attributes = Readonly<Record<string, string>>;

export function containerSubject({ id, name, image, labels }: ContainerSummary): Subject {
  return { type: 'container', id, name, image, ...(Object.keys(labels).length === 0 ? {} : { labels }) };
}

/** `reference`: the name that it is about, of those that it has or had. */
export function imageSubject({ id, references }: Pick<ImageSummary, 'id' | 'references'>, reference = references[0]): Subject {
  return { type: 'image', id, name: reference ?? '' };
}

export function exitAttributes({ reason, finishedAt, ...status }: Exit): Attributes {
  return { ...statusAttributes(status), reason, finishedAt };
}

/** Docker's exitCode, a shell's status, is left out where nobody saw the end. */
export function statusAttributes({ code, signal }: Pick<Exit, 'code' | 'signal'>): Attributes {
  return {
    ...(code === null && signal === null ? {} : { exitCode: String(shellStatus({ code, signal })) }),
    ...(signal === null ? {} : { signal }),
  };
}
