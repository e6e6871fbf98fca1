import { describe, expect, it } from 'vitest';
import { memberName } from '../../../helper/containers/copies.ts';
import { CopyGate, type CopyKind } from '../../../helper/containers/copyGate.ts';

describe('who may copy at the same time', () => {
  const together: readonly (readonly [CopyKind, CopyKind, boolean])[] = [
    ['running', 'running', true],
    ['reading', 'reading', true],
    ['writing', 'writing', false],
    ['reading', 'writing', false],
    ['writing', 'reading', false],
    // What is left of a run that has ended still has its upper mounted.
    ['running', 'reading', false],
    ['running', 'writing', false],
    ['changes', 'writing', true],
    ['writing', 'changes', true],
  ];
  it.each(together)('%s and %s', (first, second, may) => {
    const gate = new CopyGate();
    gate.tryEnter(first);
    expect(gate.tryEnter(second) !== undefined).toBe(may);
  });

  it('lets the next in when one has left', async () => {
    const gate = new CopyGate();
    await gate.whenLeft();
    const first = gate.tryEnter('writing');
    const left = gate.whenLeft();
    first?.leave();
    await left;
    expect(gate.isIdle).toBe(true);
    expect(gate.tryEnter('reading')).toBeDefined();
  });

  it('ends those who are in the way, and waits for them', async () => {
    const gate = new CopyGate();
    const copy = gate.tryEnter('running');
    const looking = gate.tryEnter('changes');
    let over = false;
    const ended = gate.end('container "web" was started', ['running']).then(() => {
      over = true;
    });
    expect(copy?.signal.reason).toMatchObject({ code: 'COPY_INTERRUPTED', message: 'the copy was ended: container "web" was started' });
    expect(looking?.signal.aborted).toBe(false);
    await Promise.resolve();
    expect(over).toBe(false);
    copy?.leave();
    copy?.leave();
    await ended;
  });
});

it('names an archive after the path', () => {
  expect(['/a', '/a/b/', '/', '/a/.', '/a/..', '//'].map(memberName)).toEqual(['a', 'b', '.', '.', '.', '.']);
});
