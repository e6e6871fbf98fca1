import { describe, expect, it } from 'vitest';
import { parseEventFilters } from '../../../../helper/cli/commands/events.ts';
import { UsageError } from '../../../../helper/cli/values.ts';
import { matcher } from '../../../../helper/events/filters.ts';
import type { EventRecord } from '../../../../helper/protocol/index.ts';
import { record } from './samples.ts';

const id = '0123456789abcdef'.repeat(2);
const start = record(1, { actor: { id, name: 'web', image: 'reg:5000/shop', labels: { app: 'shop', tier: 'a=b' }, attributes: {} } });
const imported = record(2, {
  type: 'image',
  action: 'import',
  actor: { id: `sha256:${'c'.repeat(64)}`, name: 'reg:5000/shop:latest', attributes: {} },
});

function matching(...filters: string[]): EventRecord[] {
  return [start, imported].filter(matcher(parseEventFilters(filters)));
}

describe('filters', () => {
  it.each([
    [[], [start, imported]],
    [['type=container'], [start]],
    [
      ['type=container', 'type=image'],
      [start, imported],
    ],
    [['type=container', 'event=import'], []],
    [['event=start', 'event=die'], [start]],
    [['container=web'], [start]],
    [['container=we'], []],
    [['container=0123'], [start]],
    [['container=123'], []],
    [['image=reg:5000/shop'], [start, imported]],
    [['image=reg:5000/shop:latest'], [start, imported]],
    [['image=reg:5000/shop:2'], []],
    [['image=reg'], []],
    [['image=ccc'], [imported]],
    [['label=app'], [start]],
    [['label=app=shop', 'label=tier=a=b'], [start]],
    [['label=app=shop', 'label=tier=a'], []],
    [['label=constructor'], []],
  ])('%j', (filters, expected) => expect(matching(...filters)).toEqual(expected));

  it.each(['colour=red', 'type', 'type=', 'type=volume', '__proto__=x'])('refuses %s', (text) =>
    expect(() => parseEventFilters([text])).toThrow(UsageError),
  );
});
