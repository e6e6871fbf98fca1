import type { EventFilters, EventRecord } from '../protocol/index.ts';

export type Matches = (record: EventRecord) => boolean;

/** What a client wants to hear of (docs/events.md). Pure. */
export function matcher(filters: EventFilters = {}): Matches {
  const tests: readonly Matches[] = [
    ...any(filters.type, ({ type }, value) => type === value),
    ...any(filters.event, ({ action }, value) => action === value),
    ...any(filters.container, ({ type, actor }, value) => type === 'container' && (actor.name === value || actor.id.startsWith(value))),
    ...any(filters.image, isOfImage),
    ...(filters.label ?? []).map(
      (value): Matches =>
        (record) =>
          hasLabel(record, value),
    ),
  ];
  return (record) => tests.every((test) => test(record));
}

function any(values: readonly string[] | undefined, test: (record: EventRecord, value: string) => boolean): Matches[] {
  return values === undefined ? [] : [(record) => values.some((value) => test(record, value))];
}

function isOfImage({ type, actor }: EventRecord, value: string): boolean {
  if (type === 'container') return actor.image !== undefined && isReference(actor.image, value);
  if (type !== 'image') return false;
  return isReference(actor.name, value) || actor.id.startsWith(value) || actor.id.startsWith(`sha256:${value}`);
}

/** "busybox" is every tag of it. */
function isReference(reference: string, value: string): boolean {
  return reference === value || withoutTag(reference) === value || `${reference}:latest` === value;
}

function withoutTag(reference: string): string {
  const colon = reference.lastIndexOf(':');
  // Before a slash it is a registry's port.
  return colon > reference.lastIndexOf('/') ? reference.slice(0, colon) : reference;
}

function hasLabel({ actor: { labels = {} } }: EventRecord, value: string): boolean {
  const at = value.indexOf('=');
  const key = at === -1 ? value : value.slice(0, at);
  return Object.hasOwn(labels, key) && (at === -1 || labels[key] === value.slice(at + 1));
}
